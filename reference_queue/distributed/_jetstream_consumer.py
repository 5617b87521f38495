"""Takes messages from JetStream's consumers, has them delivered, and stores their outcomes."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from reference_queue._steps import FATAL
from reference_queue.distributed import outcome
from reference_queue.distributed._jetstream_link import TOO_LARGE, Refused
from reference_queue.distributed._jetstream_pulls import Pulls
from reference_queue.distributed._jetstream_store import Record, key_of
from reference_queue.distributed._tasks import begin
from reference_queue.distributed.engine import Envelope
from reference_queue.distributed.errors import EngineLost, EngineRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from nats.aio.msg import Msg

    from reference_queue.distributed._jetstream_link import Link
    from reference_queue.distributed._jetstream_store import Store
    from reference_queue.distributed.engine import Deliver

__all__ = ["Consumer"]

_PAUSE = 0.5
"""Seconds between attempts to store an outcome that the server refuses."""

_LONGEST_NAME = 200
"""So many characters of a message id are logged."""

_log = logging.getLogger("reference_queue")


class _LeaseLost(Exception):  # noqa: N818 - a fact, and the business of this module alone
    """Another instance has the message, or may have it."""


class _Dropped(Exception):  # noqa: N818 - the same
    """What could not be stored at once is given up, for the close is urgent."""


class _Hand:
    """A message that this instance has in hand."""

    __slots__ = ("delivery", "envelope", "key", "lock", "lost", "message", "partition", "record", "renewed", "renewing")

    def __init__(self, partition: int, message: Msg, envelope: Envelope) -> None:
        self.partition = partition
        self.message = message
        self.envelope = envelope
        self.key = key_of(envelope.message_id)
        self.record: Record | None = None
        """What this instance has written last; None as long as the message is not its own."""
        self.renewed = 0.0
        """When that was sent: from then on counts the lease, here earlier than on the server."""
        self.renewing = False
        self.lost = False
        """Whether the lease is lost, or may be."""
        self.delivery: asyncio.Task[str] | None = None
        self.lock = asyncio.Lock()


class Consumer:
    """Delivers, one message at a time of each partition.

    Its tasks: one that renews leases, one for each message in hand and one for its delivery. Nothing but `stop` and
    the end of the loop ends the first.

    Args:
        store: the streams.
        linked: returns the link to the server, and waits until there is one.
        deliver, most: see `Engine.consume`.
    """

    def __init__(self, store: Store, linked: Callable[[], Awaitable[Link]], deliver: Deliver, most: int) -> None:
        self._store = store
        self._linked = linked
        self._deliver = deliver
        self._lease = store.limits.lease
        self._hands: dict[int, _Hand] = {}
        self._pulls = Pulls(store, self._hands, most, self._taken, self._start)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        """Set when outcomes that cannot be stored at once are to be dropped."""
        self._renewer = self._start(self._renew(), "renew leases")

    def _start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = begin(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def attach(self, link: Link) -> None:
        """Ask for messages over a new link.

        Raises:
            EngineLost, EngineRefused: it is lost already, or the server does not want to.
        """
        if not self._stopping.is_set():
            await self._pulls.attach(link)

    async def stop(self, *, cancel: bool) -> None:
        """Take nothing new; return when what is in hand has ended and all tasks with it."""
        self._stopping.set()
        if cancel:
            self._hurry.set()
            for hand in self._hands.values():
                if hand.delivery is not None:
                    hand.delivery.cancel()
        # In a task: cut short, it would leave messages with an instance that does not take them any more.
        self._start(self._pulls.end(), "end pulls")
        while left := {task for task in self._tasks if task is not self._renewer}:
            await asyncio.wait(left)
        self._renewer.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _taken(self, partition: int, message: Msg) -> None:
        """Begin with a message that has come."""
        try:
            envelope = Envelope.from_json(message.data.decode())
        except (ValueError, KeyError, TypeError):
            _log.exception("A message in partition %d of queue %r cannot be read", partition, self._store.name)
            with suppress(EngineLost):
                await self._pulls.publish(message.reply, b"+ACK")
            await self._pulls.next(partition)
            return
        hand = self._hands.get(partition)
        if hand is None:
            hand = self._hands[partition] = _Hand(partition, message, envelope)
            self._start(self._work(hand), f"partition {partition}")
        elif hand.envelope.message_id == envelope.message_id:
            hand.message = message  # the server has forgotten that it gave it to this very instance
        else:
            with suppress(EngineLost):
                await self._pulls.publish(message.reply, b"-NAK")

    # -- working -----------------------------------------------------------------------------------------

    async def _work(self, hand: _Hand) -> None:
        try:
            await self._handle(hand)
        except _LeaseLost:
            _log.warning(
                "The lease of message %r of partition %d was lost before its outcome was stored; it is delivered "
                "again. Look for what blocks the event loop for longer than the lease of %g s, or allow a longer one.",
                hand.envelope.message_id[:_LONGEST_NAME],
                hand.partition,
                self._lease,
            )
        except (EngineLost, EngineRefused, _Dropped) as error:
            _log.info("Partition %d is left: %r", hand.partition, error)
        finally:
            del self._hands[hand.partition]
            await self._pulls.next(hand.partition)

    async def _handle(self, hand: _Hand) -> None:
        settled = await self._take(hand)
        if settled is None:
            settled = await self._delivered(hand)
            if settled is None:
                return
            settled = await self._settle(hand, settled)
        link = await self._link_now()
        sender = self._store.sender_of(hand.message)
        if sender:
            with suppress(Refused):
                await link.publish(f"{sender}.{hand.key}", settled.encode())
        await link.publish(hand.message.reply, b"+ACK")

    async def _take(self, hand: _Hand) -> str | None:
        """Make the message this instance's own; return its outcome if it has one already."""
        link = await self._link_now()
        loop = asyncio.get_running_loop()
        wanted = Record("held", uuid4().hex, 1, 1, self._lease)
        on = 0
        seen: tuple[int, float] = (0, 0.0)
        while True:
            sent = loop.time()
            hand.record = await self._store.write(link, hand.key, wanted, on)
            if hand.record is not None:
                hand.renewed = sent
                return None
            found = await self._store.read(link, hand.key)
            if found is None:
                on, wanted = 0, replace(wanted, attempt=1, deliveries=1)
                continue
            if found.state == "done":
                return found.outcome
            if found.sequence != seen[0]:
                seen = (found.sequence, loop.time())
            if found.state == "held":
                age = max(await self._store.now(link) - found.written, loop.time() - seen[1])
                if age < found.lease:
                    await self._wait_for_lease(link, hand, found.lease - age)
                    on = 0  # not ours to write on: look again
                    continue
                if found.deliveries >= self._store.limits.deliveries:
                    return await self._give_up(link, hand, found)
            on = found.sequence
            counted = found.deliveries + (found.state == "held")
            wanted = replace(wanted, attempt=found.attempt + 1, deliveries=counted)

    async def _wait_for_lease(self, link: Link, hand: _Hand, seconds: float) -> None:
        """Wait for the end of the lease of another instance, which may be at work; keep the message meanwhile."""
        await link.publish(hand.message.reply, b"+WPI")
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds + 0.001, self._lease / 4)):
                await self._stopping.wait()
        if self._stopping.is_set():
            await link.publish(hand.message.reply, b"-NAK")
            raise _Dropped

    async def _give_up(self, link: Link, hand: _Hand, found: Record) -> str:
        dead = outcome.dead(found.deliveries)
        await self._store.bury(link, hand.key, hand.message.data)
        buried = replace(found, state="done", outcome=dead)
        if await self._store.write(link, hand.key, buried, found.sequence) is None:
            raise _LeaseLost  # it was not silent after all
        return dead

    async def _delivered(self, hand: _Hand) -> str | None:
        """Return the outcome, or None if the delivery ended without one."""
        record = hand.record
        assert record is not None  # noqa: S101 - `_take` has written it
        if not self._stopping.is_set():
            delivery: asyncio.Task[str] = self._start(self._deliver_now(hand, record), f"delivery of {hand.key}")
            hand.delivery = delivery
            await asyncio.wait([delivery])
            hand.delivery = None
            error = None if delivery.cancelled() else delivery.exception()
            if isinstance(error, _LeaseLost):
                raise error
            if not delivery.cancelled() and error is None:
                return delivery.result()
            if error is not None and not isinstance(error, FATAL):
                told = {"message": f"The delivery of {hand.key} failed, and is made again", "exception": error}
                delivery.get_loop().call_exception_handler(told)
            if hand.lost:
                raise _LeaseLost
            if not self._hurry.is_set():
                # The handler has taken its own delivery down: as if it had its process. It is not given back, for
                # then it would come again at once and for ever; its lease runs out.
                hand.record = None
                return None
        await self._write(hand, replace(record, state="back"))
        await (await self._link_now()).publish(hand.message.reply, b"-NAK")
        return None

    async def _deliver_now(self, hand: _Hand, record: Record) -> str:
        """Deliver, unless the process was stopped since it took the message, for so long that another may have it."""
        if asyncio.get_running_loop().time() - hand.renewed >= self._lease:
            raise _LeaseLost
        return await self._deliver(hand.partition, hand.envelope, record.attempt)

    async def _settle(self, hand: _Hand, text: str) -> str:
        """Store the outcome, however long the server is lost; return what is stored."""
        record = hand.record
        assert record is not None  # noqa: S101 - as above
        while True:
            try:
                await self._write(hand, replace(record, state="done", outcome=text))
            except Refused as refused:
                if refused.code == TOO_LARGE:  # it would be handled again and again for the size of its result
                    text = outcome.failure(EngineRefused(f"The outcome cannot be stored: {refused}"))
                    continue
                if self._hurry.is_set():
                    raise
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE):
                        await self._hurry.wait()
            else:
                return text

    async def _write(self, hand: _Hand, record: Record) -> None:
        """Write the record of a message in hand; again after a lost link, for as long as it takes.

        Raises:
            _LeaseLost: another instance has written it meanwhile.
            _Dropped: the server is lost, and the close is urgent.
            Refused: the server does not want to.
        """
        loop = asyncio.get_running_loop()
        async with hand.lock:
            while True:
                link = await self._link_now()
                on = hand.record
                if hand.lost or on is None:
                    raise _LeaseLost
                if record.state == "held" and on.state != "held":
                    return  # a renewal that comes after the outcome must not take its place
                sent = loop.time()
                try:
                    written = await self._store.write(link, hand.key, record, on.sequence)
                    if written is None:
                        found = await self._store.read(link, hand.key)
                        if found is None or found.holder != on.holder:
                            raise _LeaseLost
                        hand.record = found
                        if found.state != record.state or found.state == "held":
                            continue  # its own: the answer to an earlier writing was lost with the link
                        written = found
                except EngineLost:
                    continue
                hand.record, hand.renewed = written, sent
                return

    async def _link_now(self) -> Link:
        """Return a link, as soon as there is one; raise if it is urgent and there is none."""
        link = self._pulls.link
        if link is not None and not link.lost.done():
            return link
        waits = [asyncio.ensure_future(self._linked()), asyncio.ensure_future(self._hurry.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if waits[0].done():
                return await self._linked()
            raise _Dropped
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)

    # -- leases ------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        """Renew the leases of what is in hand, cancel what has lost its own, and ask again where no answer came."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._lease / 6)
            now = loop.time()
            for hand in tuple(self._hands.values()):
                if hand.record is None or hand.lost or hand.delivery is None:
                    continue
                if now - hand.renewed >= self._lease:
                    self._lose(hand)
                elif now - hand.renewed >= self._lease / 3 and not hand.renewing:
                    hand.renewing = True
                    self._start(self._renew_one(hand), f"renew {hand.key}")
            try:
                await self._pulls.again()
            except Exception:  # noqa: BLE001 - whatever it is: it must not end the renewal of leases
                _log.exception("Partitions of which nothing is heard could not be asked again")

    async def _renew_one(self, hand: _Hand) -> None:
        try:
            if hand.record is not None and hand.record.state == "held":
                await self._write(hand, hand.record)
                await self._pulls.publish(hand.message.reply, b"+WPI")
        except _LeaseLost:
            self._lose(hand)
        except (_Dropped, EngineLost, EngineRefused):
            pass  # if it goes on like this, the lease runs out
        except Exception:  # noqa: BLE001 - the same, of whatever nobody has thought of
            _log.exception("The lease of message %s could not be renewed; that is tried again", hand.key)
        finally:
            hand.renewing = False

    def _lose(self, hand: _Hand) -> None:
        hand.lost = True
        if hand.delivery is not None:
            hand.delivery.cancel()
