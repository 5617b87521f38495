"""A message queue per chat, in process, that cannot leak.

    >>> import asyncio
    >>> from reference_queue import MessageQueue
    >>> async def shout(message: str) -> str:
    ...     return message.upper()
    >>> async def main() -> str:
    ...     async with MessageQueue(shout) as queue:
    ...         return await queue.enqueue("chat 1", "hello")
    >>> asyncio.run(main())
    'HELLO'

Messages of one chat are handled in order, one at a time; chats run side by side. See `MessageQueue` for what it
guarantees, `MemoryStats` for what it shows, and `QueueError` for what can go wrong.
"""

from reference_queue.breaker import BreakerState, MemoryBreaker
from reference_queue.errors import (
    CalledFromHandler,
    CloseTimeout,
    DeadlineExceeded,
    ExecutorClosed,
    HandlerNotAwaitable,
    HandlerTimeout,
    InterpretersUnavailable,
    LoopEnded,
    MemoryFull,
    MemoryUnknown,
    MessageDropped,
    NotSendable,
    QueueClosed,
    QueueError,
    QueueFull,
    ReentrantEnqueue,
    WorkerDied,
    WorkerNotStarted,
    WrongLoop,
)
from reference_queue.memory import Meter, Reading
from reference_queue.monitor import Monitor
from reference_queue.observer import Observer
from reference_queue.queue import CloseMode, MessageQueue, Policy
from reference_queue.stats import MemoryStats

__all__ = [
    "BreakerState",
    "CalledFromHandler",
    "CloseMode",
    "CloseTimeout",
    "DeadlineExceeded",
    "ExecutorClosed",
    "HandlerNotAwaitable",
    "HandlerTimeout",
    "InterpretersUnavailable",
    "LoopEnded",
    "MemoryBreaker",
    "MemoryFull",
    "MemoryStats",
    "MemoryUnknown",
    "MessageDropped",
    "MessageQueue",
    "Meter",
    "Monitor",
    "NotSendable",
    "Observer",
    "Policy",
    "QueueClosed",
    "QueueError",
    "QueueFull",
    "Reading",
    "ReentrantEnqueue",
    "WorkerDied",
    "WorkerNotStarted",
    "WrongLoop",
]
