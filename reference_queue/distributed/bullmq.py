"""An engine over Redis or Valkey: BullMQ's queues, shared with whatever else speaks BullMQ.

pip install 'pytest-taskleak[redis]'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_queue._check import check_count, check_duration
from reference_queue.distributed._bullmq_consumer import Consumer
from reference_queue.distributed._bullmq_outcomes import Outcomes
from reference_queue.distributed._bullmq_port import Limits, Port
from reference_queue.distributed.errors import NotOpen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference_queue.distributed.engine import Counts, Deliver, Envelope, Settled

__all__ = ["BullMQEngine"]

_SHORTEST_LEASE = 0.5


class BullMQEngine:
    """A server of Redis' kind as the engine of a `DistributedQueue`; see `Engine` for what it guarantees.

    A partition is a BullMQ queue with a global concurrency of 1, a message is a job whose id is made from the message
    id. An instance has at most 8 connections for commands and one each that waits for messages and for outcomes,
    whatever the number of partitions.

    The server is one, with replicas or without; a cluster would spread the keys of a partition over its nodes.

    What is stored survives a crash of the server as far as the server is set up to: with ``appendonly yes``, and
    ``appendfsync always`` if not even the last second may be lost. ``maxmemory-policy`` must be ``noeviction``.

    Args:
        url: where the server is, such as ``redis://user:password@host:6379/0``, ``rediss://`` or ``unix://``.
        prefix: what the keys on the server begin with.
        lease: seconds after which a message is taken from an instance that has not been heard of. It is how long a
            partition stands still at most when its worker is killed, give or take a second, and how long a handler
            may block the event loop; it is renewed while the loop runs. At least 0.5.
        deliveries: the most deliveries of a message that end with the silence of an instance; then it is given up.
        remember: seconds for which a settled message is kept, so that its id is known and its outcome can be had.
        remember_most: how many settled messages are kept at most, over all partitions and in equal parts; older ones
            are forgotten first.
        dead_most: the same for messages that were given up, which are kept as failed jobs.

    Raises:
        TypeError, ValueError: an argument is not of the kind described; the text says which and what is.
    """

    def __init__(  # noqa: PLR0913 - every option is a keyword with a default
        self,
        url: str = "redis://localhost:6379",
        *,
        prefix: str = "bull",
        lease: float = 5.0,
        deliveries: int = 3,
        remember: float = 3600.0,
        remember_most: int = 50_000,
        dead_most: int = 10_000,
    ) -> None:
        for name, seconds in (("lease", lease), ("remember", remember)):
            check_duration(name, seconds)
        if lease < _SHORTEST_LEASE:
            raise ValueError(f"lease={lease!r} is too short. Give seconds of at least {_SHORTEST_LEASE}.")
        for name, count in (("deliveries", deliveries), ("remember_most", remember_most), ("dead_most", dead_most)):
            check_count(name, count)
        self._url = url
        self._prefix = prefix
        self._limits = Limits(lease, deliveries, remember, remember_most, dead_most)
        self._port: Port | None = None
        self._outcomes: Outcomes | None = None
        self._consumer: Consumer | None = None

    async def open(self, name: str, partitions: int, settled: Settled) -> None:
        """Connect, and set the partitions up; see `Engine.open`."""
        port = Port(self._url, self._prefix, name, partitions, self._limits)
        try:
            await port.prepare()
        except BaseException:  # a cancellation, too, must not leave connections behind; it is raised on
            await port.aclose()
            raise
        self._port = port
        self._outcomes = Outcomes(port, settled)

    async def send(self, partition: int, envelopes: Sequence[Envelope]) -> None:
        """Store messages behind all others; see `Engine.send`."""
        port, outcomes = self._opened()
        awaited = [envelope.message_id for envelope in envelopes if envelope.reply]
        if awaited:
            await outcomes.watch(partition, awaited)
        await port.add(partition, envelopes)
        outcomes.stored(awaited)

    def forget(self, message_id: str) -> None:
        """Let go of a message; see `Engine.forget`."""
        if self._outcomes is not None:
            self._outcomes.forget(message_id)

    async def consume(self, deliver: Deliver, most: int) -> None:
        """Begin to deliver; see `Engine.consume`."""
        port, _ = self._opened()
        self._consumer = Consumer(port, deliver, most, self._limits.lease)

    async def stop(self, *, cancel: bool = False) -> None:
        """Deliver nothing new and wait for what runs; see `Engine.stop`."""
        if self._consumer is not None:
            await self._consumer.stop(cancel=cancel)

    async def counts(self) -> Counts:
        """Return what the server holds; see `Engine.counts`."""
        port, _ = self._opened()
        return await port.counts()

    async def aclose(self) -> None:
        """Stop, disconnect, and leave nothing; see `Engine.aclose`."""
        await self.stop(cancel=True)
        outcomes, self._outcomes = self._outcomes, None
        if outcomes is not None:
            await outcomes.aclose()
        port, self._port = self._port, None
        if port is not None:
            await port.aclose()

    def _opened(self) -> tuple[Port, Outcomes]:
        if self._port is None or self._outcomes is None:
            raise NotOpen("The engine is not open. A DistributedQueue opens its engine; enter the queue first.")
        return self._port, self._outcomes
