"""Asks JetStream's consumers for messages: of each partition for one, and not while this instance is busy with it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from reference_queue.distributed.errors import EngineLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine

    from nats.aio.msg import Msg

    from reference_queue.distributed._jetstream_link import Link
    from reference_queue.distributed._jetstream_store import Store

__all__ = ["Pulls"]

_LONGER = 0.5
"""Seconds for which the server is asked to wait for a message, beside the lease; then it is asked again.

Not for much longer: a server that was killed may come back with a delivery of a message that is not there any more.
When the lease of that is over it is dropped, but who waits for the next message is thought of only at the next request.
"""

_LATE = 5.0
"""Seconds that the server's word of that may take; then it is not waited for."""

_TRY = 0.25
"""Seconds for which room is kept for the next message of a partition that is known to have one."""


class Pulls:
    """Asks for messages as long as there is room.

    Messages for which there is none, since they came at the same time, are given back; their partitions are asked
    again in turn, each when there is room for its message.

    Args:
        store: the streams.
        busy: the partitions that this instance works on.
        most: how many these may be.
        taken: called with each message for which there is room.
        start: makes a task.
    """

    def __init__(
        self,
        store: Store,
        busy: Collection[int],
        most: int,
        taken: Callable[[int, Msg], Awaitable[None]],
        start: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self.link: Link | None = None
        """What is asked over; the last one, if it is lost."""
        self._store = store
        self._busy = busy
        self._most = most
        self._taken = taken
        self._start = start
        self._wait = store.limits.lease + _LONGER
        self._inbox = f"_INBOX.{uuid4().hex}"
        self._end_listening: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._ended = False
        self._asked: dict[int, float] = {}
        """The partitions of which a message has been asked for, and when."""
        self._tried: dict[int, asyncio.TimerHandle] = {}
        """Those among them for whose message room is kept, for a moment."""
        self._more: deque[int] = deque()
        """The partitions that have a message for which there was no room; each at most once."""

    async def attach(self, link: Link) -> None:
        """Ask over a new link.

        Raises:
            EngineLost, EngineRefused: it is lost already, or the server does not want to.
        """
        await self._store.prepare_consumers(link)
        end_listening = await link.listen(f"{self._inbox}.*", self._heard)
        self.link, self._end_listening = link, end_listening
        self._forget()
        for partition in range(self._store.partitions):
            if partition not in self._busy:
                await self._ask(partition)

    async def end(self) -> None:
        """Ask for nothing more; return when all that is on its way has come, and has been given back."""
        self._ended = True
        self._forget()
        end_listening, self._end_listening = self._end_listening, None
        if end_listening is not None:
            await end_listening()

    async def next(self, partition: int) -> None:
        """Ask again, now that a partition is not busy any more: first those that had to wait for room."""
        if not self._more:
            await self._ask(partition)
            return
        if partition not in self._more:
            self._more.append(partition)
        await self._fill()

    async def again(self) -> None:
        """Ask again where no answer came; to be called now and then."""
        now = asyncio.get_running_loop().time()
        for partition, since in tuple(self._asked.items()):
            if now - since > self._wait + _LATE:
                self._asked.pop(partition, None)
                await self._ask(partition)

    async def publish(self, subject: str, payload: bytes) -> None:
        """Send without an answer.

        Raises:
            EngineLost: the link is lost.
        """
        if self.link is None:
            raise EngineLost("The NATS server is lost.")
        await self.link.publish(subject, payload)

    async def _ask(self, partition: int) -> None:
        if self.link is not None and not self._ended and partition not in self._asked:
            self._asked[partition] = asyncio.get_running_loop().time()
            with suppress(EngineLost):  # over the next link everything is asked for anew
                await self._store.pull(self.link, partition, f"{self._inbox}.{partition}", self._wait)

    async def _heard(self, message: Msg) -> None:
        """Take a message, or give it back; or learn that there was none."""
        partition = int(message.subject.rsplit(".", 1)[1])
        timer = self._tried.pop(partition, None)
        if timer is not None:
            timer.cancel()
        if message.subject.startswith(self._inbox):
            headers = message.headers or {}
            await self._none(partition, headers.get("Status", ""), headers.get("Description", ""))
            return
        self._asked.pop(partition, None)
        if not self._ended and (partition in self._busy or len(self._busy) < self._most):
            await self._taken(partition, message)
            return
        if not self._ended and partition not in self._more:
            self._more.append(partition)
        with suppress(EngineLost):
            await self.publish(message.reply, b"-NAK")

    async def _none(self, partition: int, status: str, description: str) -> None:
        """Ask again: at once after the time that was asked for, else when the answer is overdue."""
        if status == "408":
            self._asked.pop(partition, None)
            await self._ask(partition)
        elif (status in ("404", "503") or "Deleted" in description) and self.link is not None:
            self.link.fail(f"it knows partition {partition} of queue {self._store.name!r} no more")
        else:
            self._asked[partition] = asyncio.get_running_loop().time() - self._wait

    async def _fill(self) -> None:
        """Ask partitions that had to wait, as far as there is room."""
        loop = asyncio.get_running_loop()
        while self._more and len(self._busy) + len(self._tried) < self._most and not self._ended:
            partition = self._more.popleft()
            if partition not in self._busy:
                self._tried[partition] = loop.call_later(_TRY, self._try_others, partition)
                await self._ask(partition)

    def _try_others(self, partition: int) -> None:
        self._tried.pop(partition, None)
        if self._more:
            self._start(self._fill(), "ask for messages")

    def _forget(self) -> None:
        for timer in self._tried.values():
            timer.cancel()
        self._tried.clear()
        self._asked.clear()
        self._more.clear()
