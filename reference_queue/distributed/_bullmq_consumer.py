"""Takes messages from BullMQ's partitions, has them delivered, and stores their outcomes."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from reference_queue._steps import FATAL
from reference_queue.distributed._bullmq_port import BLOCK, LeaseLost
from reference_queue.distributed._tasks import begin, end
from reference_queue.distributed.errors import EngineLost, EngineRefused

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from reference_queue.distributed._bullmq_port import Job, Port
    from reference_queue.distributed.engine import Deliver

__all__ = ["Consumer"]

_BATCH = 32
"""So many messages of a partition are handled in a row before other instances get a chance to take it over."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to reach a server that is lost; doubled from the first to the longest."""

_log = logging.getLogger("reference_queue")


class _Hand:
    """A partition that this instance works on, and the message that it has of it."""

    __slots__ = ("again", "delivery", "job", "lost", "renewed")

    def __init__(self) -> None:
        self.job: Job | None = None
        self.delivery: asyncio.Task[str] | None = None
        self.renewed = 0.0
        """When the lease of the job was asked for last, of what the server has granted."""
        self.lost = False
        """Whether it is known that the lease of the job is lost."""
        self.again = False
        """Whether there may be more to do than was seen."""


class Consumer:
    """Delivers, one message at a time of each partition.

    Its tasks: one that looks for work, one that renews leases, one for each partition in hand, and one for each
    delivery. Nothing but `stop` and the end of the loop ends them.
    """

    def __init__(self, port: Port, deliver: Deliver, most: int, lease: float) -> None:
        self._port = port
        self._deliver = deliver
        self._lease = lease
        self._period = min(BLOCK, lease / 4)
        """Seconds between two looks at all partitions: what a lost hint costs."""
        self._token = uuid4().hex
        self._free = most
        self._room = asyncio.Event()
        self._room.set()
        self._hands: dict[int, _Hand] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        """Set when outcomes that cannot be stored at once are to be dropped."""
        self._looking = self._start(self._look(), "look for messages")
        self._renewing = self._start(self._renew(), "renew leases")

    def _start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = begin(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self, *, cancel: bool) -> None:
        """Take nothing new; return when what is in hand has ended and all tasks with it."""
        self._stopping.set()
        if cancel:
            self._hurry.set()
            for hand in self._hands.values():
                if hand.delivery is not None:
                    hand.delivery.cancel()
        await end([self._looking])
        while left := [task for task in self._tasks if task is not self._renewing]:
            await asyncio.wait(left)
        await end([self._renewing])

    # -- looking for work --------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Begin with the partitions that have work, as BullMQ marks them; look at all of them every period.

        The marks alone are not enough: an instance may take one and die, or take one for a partition that another
        instance is just about to leave.
        """
        swept, first, pause = 0.0, 0, _FIRST_PAUSE
        while True:
            await self._room.wait()  # nothing is taken from the server that nobody here can handle
            try:
                if pause > _FIRST_PAUSE:
                    await self._port.prepare()  # for a server that came back without its data, order would be lost too
                    pause = _FIRST_PAUSE
                if self._now() - swept >= self._period:
                    swept = self._now()
                    await self._sweep()
                    continue
                marked = await self._port.marked(first, self._period)
                if marked is not None:
                    self._begin(marked)
                    first = (marked + 1) % self._port.partitions  # the server looks at them in the order given
            except Exception as error:  # noqa: BLE001 - whatever it is: without this task nothing is ever handled here
                if pause == _FIRST_PAUSE:
                    _log.warning("No messages are taken until the server is as it should be: %r", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _sweep(self) -> None:
        lengths = await self._port.lengths()
        for partition, (waiting, active) in enumerate(lengths):
            if active and partition not in self._hands:
                await self._port.revive(partition, self._period)
            elif waiting and not active:
                self._begin(partition)

    def _begin(self, partition: int) -> None:
        """Work on a partition, unless it is in hand (then look once more in the end) or all hands are full."""
        hand = self._hands.get(partition)
        if hand is not None:
            hand.again = True
        elif self._free and not self._stopping.is_set():
            self._free -= 1
            if not self._free:
                self._room.clear()
            hand = self._hands[partition] = _Hand()
            self._start(self._work(partition, hand), f"partition {partition}")

    # -- working -----------------------------------------------------------------------------------------

    async def _work(self, partition: int, hand: _Hand) -> None:
        """Handle the messages of a partition until there is none, or others are to get their chance."""
        try:
            more = await self._handle_some(partition, hand)
        except (EngineLost, EngineRefused) as error:
            _log.info("Partition %d is left: %s", partition, error)
            more = False  # the next sweep that succeeds begins it again
        finally:
            del self._hands[partition]
            self._free += 1
            self._room.set()
        if more:
            with suppress(EngineLost, EngineRefused):
                # Not earlier: this instance would take its own hint, and have the partition in hand still.
                await self._port.mark(partition)

    async def _handle_some(self, partition: int, hand: _Hand) -> bool:
        """Handle messages of a partition; return whether there may be more."""
        left = _BATCH
        while left > 0 and not self._stopping.is_set():
            hand.again = False
            hand.renewed = self._now()
            job = await self._port.next_job(partition, self._token)
            if job is None and not hand.again:
                return False
            while job is not None:
                left -= 1
                job = await self._handle(hand, job, fetch_next=left > 0)
        return True

    async def _handle(self, hand: _Hand, job: Job, *, fetch_next: bool) -> Job | None:
        """Deliver a message and store its outcome; return the next message, if there is one."""
        hand.lost = False
        hand.job = job
        try:
            text: str | None = None
            if job.given_up:
                told = "Job %r of partition %d was given up after %d deliveries that ended without an outcome"
                _log.error(told, job.job_id, job.partition, job.deaths)
            else:
                text = await self._delivered(hand, job)
                if text is None:
                    return None
            return await self._finish(hand, job, text, fetch_next=fetch_next)
        except LeaseLost as error:
            _log.warning(
                "The lease of job %r of partition %d was lost before its outcome was stored; it is delivered again "
                "(%s). If the server was not lost, look for what blocks the event loop for longer than the lease of "
                "%g s, or allow a longer one.",
                job.job_id,
                job.partition,
                error,
                self._lease,
            )
            return None
        finally:
            hand.job = None

    async def _delivered(self, hand: _Hand, job: Job) -> str | None:
        """Return the outcome, or None if the delivery ended without one."""
        if not self._stopping.is_set():
            delivery: asyncio.Task[str] = self._start(self._on_lease(hand, job), f"delivery of {job.job_id}")
            hand.delivery = delivery
            try:
                await asyncio.wait([delivery])
            finally:
                hand.delivery = None
            error = None if delivery.cancelled() else delivery.exception()
            if not delivery.cancelled() and error is None:
                return delivery.result()
            if error is not None and not isinstance(error, (LeaseLost, *FATAL)):
                told = {"message": f"The delivery of {job.job_id} failed, and is made again", "exception": error}
                delivery.get_loop().call_exception_handler(told)
            if not self._hurry.is_set():
                # The lease is lost, or the handler has taken its own delivery down: as if it had its process. It is
                # not given back, for then it would come again at once and for ever; its lease runs out.
                return None
        if not hand.lost:
            await self._port.give_back(job, self._token)
        return None

    async def _on_lease(self, hand: _Hand, job: Job) -> str:
        """Deliver, unless the process was stopped between the server's grant and now for so long that it is void."""
        if self._now() - hand.renewed >= self._lease:
            hand.lost = True
            raise LeaseLost
        return await self._deliver(job.partition, job.envelope, job.attempt)

    async def _finish(self, hand: _Hand, job: Job, text: str | None, *, fetch_next: bool) -> Job | None:
        """Store the outcome (None: the message is given up), however long the server is lost."""
        pause = _FIRST_PAUSE
        while True:
            if hand.lost:
                raise LeaseLost("not renewed in time")
            more = fetch_next and not self._stopping.is_set()
            asked = self._now()
            try:
                if text is None:
                    following = await self._port.bury(job, self._token, fetch_next=more)
                else:
                    following = await self._port.finish(job, self._token, text, fetch_next=more)
            except (EngineLost, EngineRefused):
                if self._hurry.is_set():
                    raise
                await self._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                hand.renewed = asked
                return following

    async def _pause(self, seconds: float) -> None:
        """Wait, but not when it is urgent."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    # -- leases ------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        """Renew the leases of what is in hand; cancel a delivery whose lease is lost, or may be."""
        while True:
            await asyncio.sleep(self._lease / 4)
            await asyncio.gather(*map(self._renew_one, self._hands.values()))

    async def _renew_one(self, hand: _Hand) -> None:
        job = hand.job
        if job is not None and not hand.lost and not await self._renewed(hand, job) and hand.job is job:
            hand.lost = True
            if hand.delivery is not None:
                hand.delivery.cancel()

    async def _renewed(self, hand: _Hand, job: Job) -> bool:
        """Renew one lease; return False if it is lost.

        When the server has not answered for as long as the lease lasts, another instance may have the message.
        """
        asked = self._now()
        if asked - hand.renewed >= self._lease:
            return False
        try:
            async with asyncio.timeout(self._lease / 4):
                kept = await self._port.extend(job, self._token)
        except (EngineLost, EngineRefused, TimeoutError):
            return self._now() - hand.renewed < self._lease
        except Exception:  # noqa: BLE001 - whatever it is: it must not end the renewal of this lease and of all others
            _log.exception("The lease of job %r could not be renewed; that is tried again", job.job_id)
            return self._now() - hand.renewed < self._lease
        if kept and hand.job is job:
            hand.renewed = asked
        return kept

    def _now(self) -> float:
        return self._looking.get_loop().time()
