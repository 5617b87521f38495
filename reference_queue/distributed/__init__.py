"""The queue over several processes and machines, with the API and the promises of `MessageQueue`.

A server keeps the messages; an `Engine` is that server as one instance sees it. `reference_queue.distributed.bullmq`
has one for Redis and Valkey (``pip install 'pytest-taskleak[redis]'``), `reference_queue.distributed.jetstream` one for
NATS JetStream (``pip install 'pytest-taskleak[nats]'``).

    from reference_queue.distributed import DistributedQueue
    from reference_queue.distributed.bullmq import BullMQEngine

    async with DistributedQueue(BullMQEngine("redis://localhost"), handler, name="bot") as queue:
        answer = await queue.enqueue("chat 1", {"text": "hello"})
"""

from reference_queue.distributed._deliveries import Delivery, current_delivery
from reference_queue.distributed.engine import Counts, Deliver, Engine, Envelope, Settled
from reference_queue.distributed.errors import (
    EngineLost,
    EngineRefused,
    HandlerFailed,
    MessageDead,
    MessageTooLarge,
    NotOpen,
    OutcomeLost,
    PartitionMismatch,
)
from reference_queue.distributed.queue import DistributedQueue
from reference_queue.distributed.stats import InstanceStats

__all__ = [
    "Counts",
    "Deliver",
    "Delivery",
    "DistributedQueue",
    "Engine",
    "EngineLost",
    "EngineRefused",
    "Envelope",
    "HandlerFailed",
    "InstanceStats",
    "MessageDead",
    "MessageTooLarge",
    "NotOpen",
    "OutcomeLost",
    "PartitionMismatch",
    "Settled",
    "current_delivery",
]
