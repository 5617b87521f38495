"""An engine over NATS JetStream.

pip install 'pytest-taskleak[nats]'
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from reference_queue._check import check_count, check_duration
from reference_queue.distributed._jetstream_consumer import Consumer
from reference_queue.distributed._jetstream_link import Link
from reference_queue.distributed._jetstream_outcomes import Outcomes
from reference_queue.distributed._jetstream_store import Limits, Store, key_of
from reference_queue.distributed._tasks import begin
from reference_queue.distributed.errors import EngineLost, EngineRefused, MessageTooLarge, NotOpen, PartitionMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reference_queue.distributed.engine import Counts, Deliver, Envelope, Settled

__all__ = ["JetStreamEngine"]

_SHORTEST_LEASE = 0.5

_CONNECT_IN = 5.0
"""Seconds for a server to let a client in."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to reach a server that is lost; doubled from the first to the longest."""

_HEADERS = 256
"""Bytes of a message for its headers."""

T = TypeVar("T")

_log = logging.getLogger("reference_queue")


class JetStreamEngine:
    """A NATS server with JetStream as the engine of a `DistributedQueue`; see `Engine` for what it guarantees.

    A queue is two streams: one of messages, with a subject and a consumer for each partition, and one of records, which
    say who has a message and what became of it. An instance has one connection, whatever the number of partitions.

    What is stored survives the end of the server's process. With ``sync_interval: always`` in the ``jetstream`` block
    of its configuration (2.10 and newer) it survives that of the machine, too.

    A message id is known for as long as its message is queued, and for `remember` seconds after it was sent or
    settled, whichever is later. A server that runs out of storage in the middle of what one instance sends at once may
    have stored some of the messages that it refused; sent again with their ids, they are not handled twice.

    Args:
        servers: where the server is, or those of a cluster, such as ``nats://user:password@host:4222`` or ``tls://``.
        lease: seconds after which a message is taken from an instance that has not been heard of. It is how long a
            partition stands still at most when its worker is killed, give or take a second, and how long a handler
            may block the event loop; it is renewed while the loop runs. At least 0.5.
        deliveries: the most deliveries of a message that end with the silence of an instance; then it is given up.
        remember: seconds for which the outcome of a message can be had, its id is known, and a message that was given
            up is kept. At least twice the lease. Fixed by the instance that makes the streams.
        options: for nats-py's ``connect``, such as ``user_credentials`` or ``tls``.

    Raises:
        TypeError, ValueError: an argument is not of the kind described; the text says which and what is.
    """

    def __init__(
        self,
        servers: str | Sequence[str] = "nats://localhost:4222",
        *,
        lease: float = 5.0,
        deliveries: int = 3,
        remember: float = 3600.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        check_duration("lease", lease)
        check_duration("remember", remember)
        for name, seconds, least in (("lease", lease, _SHORTEST_LEASE), ("remember", remember, 2 * lease)):
            if seconds < least:
                raise ValueError(f"{name}={seconds!r} is too short. Give seconds of at least {least:g}.")
        check_count("deliveries", deliveries)
        self._servers = [servers] if isinstance(servers, str) else list(servers)
        self._options = dict(options or {})
        self._limits = Limits(lease, deliveries, remember)
        self._store: Store | None = None
        self._link: Link | None = None
        self._linked = asyncio.Event()
        """Set while the link is there, and whoever uses it has been told of it."""
        self._why = EngineLost("The NATS server is lost.")
        self._keeper: asyncio.Task[None] | None = None
        self._outcomes: Outcomes | None = None
        self._consumer: Consumer | None = None

    async def open(self, name: str, partitions: int, settled: Settled) -> None:
        """Connect, and make the streams; see `Engine.open`."""
        store = Store(name, partitions, self._limits)
        outcomes = Outcomes(store, self._link_now, settled)
        connecting = begin(self._connect(store, outcomes), "connect")
        try:
            link = await connecting
        except asyncio.CancelledError:
            if connecting.done() and not connecting.cancelled() and connecting.exception() is None:
                await connecting.result().aclose()  # the cancellation came in the very step in which it was there
            raise
        self._store, self._outcomes, self._link = store, outcomes, link
        self._linked.set()
        self._keeper = begin(self._keep(link, store, outcomes), "keep connected")

    async def send(self, partition: int, envelopes: Sequence[Envelope]) -> None:
        """Store messages behind all others; see `Engine.send`."""
        store, outcomes = self._opened()
        link = self._link_if_any()
        packets = [(key_of(each.message_id), each.to_json().encode()) for each in envelopes]
        largest = max(len(packet) for _, packet in packets)
        if largest > link.max_payload - _HEADERS:
            raise MessageTooLarge(
                f"A message of {largest} bytes is more than the NATS server takes (max_payload={link.max_payload}, "
                f"of which headers take up to {_HEADERS}). Send less, or let the server take more."
            )
        for (key, _), envelope in zip(packets, envelopes, strict=True):
            if envelope.reply:
                outcomes.watch(key, envelope.message_id)
        answers = await store.send(link, partition, packets, outcomes.sender)
        for (key, _), stored in zip(packets, answers, strict=True):
            if not isinstance(stored, BaseException):
                outcomes.stored(key, stored["seq"], known=stored.get("duplicate", False))
        for error in answers:
            if isinstance(error, BaseException):
                raise error

    def forget(self, message_id: str) -> None:
        """Let go of a message; see `Engine.forget`."""
        if self._outcomes is not None:
            self._outcomes.forget(key_of(message_id))

    async def consume(self, deliver: Deliver, most: int) -> None:
        """Begin to deliver; see `Engine.consume`."""
        store, _ = self._opened()
        self._consumer = Consumer(store, self._link_now, deliver, most)
        link = self._link
        if link is not None:
            try:
                await begin(self._consumer.attach(link), "ask for messages")
            except EngineLost:
                pass  # the next link is attached by `_keep`
            except EngineRefused as error:
                link.fail(str(error))

    async def stop(self, *, cancel: bool = False) -> None:
        """Deliver nothing new and wait for what runs; see `Engine.stop`."""
        if self._consumer is not None:
            await self._consumer.stop(cancel=cancel)

    async def counts(self) -> Counts:
        """Return what the server holds; see `Engine.counts`."""
        store, _ = self._opened()
        return await store.counts(self._link_if_any())

    async def aclose(self) -> None:
        """Stop, disconnect, and leave nothing; see `Engine.aclose`."""
        await self.stop(cancel=True)
        if self._outcomes is not None:
            await self._outcomes.aclose()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        link, self._link = self._link, None
        if link is not None:  # the keeper had not begun, and so has not closed it
            self._linked.clear()
            self._why = _closed()
            await link.aclose()

    # -- the link ----------------------------------------------------------------------------------------

    async def _connect(self, store: Store, outcomes: Outcomes) -> Link:
        link = Link()
        try:
            await link.open(self._servers, self._options, _CONNECT_IN)
            await store.prepare(link)
            await outcomes.attach(link)
            if self._consumer is not None:
                await self._consumer.attach(link)
        except BaseException as error:  # a cancellation, too, must not leave the connection behind; it is raised on
            await link.aclose()
            if isinstance(error, EngineLost) and link.forbidden is not None:
                raise EngineRefused(link.forbidden) from None
            raise
        return link

    async def _keep(self, link: Link, store: Store, outcomes: Outcomes) -> None:
        """Make a new link whenever one is lost; close the last one in the end."""
        try:
            while True:
                await asyncio.shield(link.lost)
                self._linked.clear()
                self._link, self._why = None, link.lost.result()
                _log.warning("%s Another connection is made as soon as it is back.", self._why)
                await link.aclose()
                link = await self._again(store, outcomes)
                self._link = link
                self._linked.set()
        finally:
            self._linked.clear()
            self._link, self._why = None, _closed()
            await link.aclose()

    async def _again(self, store: Store, outcomes: Outcomes) -> Link:
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._connect(store, outcomes)
            except (EngineLost, EngineRefused, PartitionMismatch) as error:
                if str(error) != str(self._why):
                    _log.warning("%s It is tried again.", error)
                self._why = EngineLost(str(error))
            except Exception as error:  # noqa: BLE001 - without this task there is never a connection again
                _log.exception("No connection could be made; that is tried again")
                self._why = EngineLost(f"No connection could be made: {error!r}.")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _link_now(self) -> Link:
        """Return the link; wait until there is one that is not lost."""
        while True:
            link = self._link
            if link is not None and not link.lost.done():
                return link
            if link is not None:
                self._linked.clear()
            await self._linked.wait()

    def _link_if_any(self) -> Link:
        if self._link is None or self._link.lost.done():
            raise EngineLost(str(self._why))
        return self._link

    def _opened(self) -> tuple[Store, Outcomes]:
        if self._store is None or self._outcomes is None:
            raise NotOpen("The engine is not open. A DistributedQueue opens its engine; enter the queue first.")
        return self._store, self._outcomes


def _closed() -> EngineLost:
    return EngineLost("The engine is closed.")
