"""Learns the outcomes of messages from BullMQ's events, and from what is stored where an event may have been missed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from reference_queue.distributed._tasks import begin, end

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reference_queue.distributed._bullmq_port import Port
    from reference_queue.distributed.engine import Settled

__all__ = ["Outcomes"]

_PERIOD = 2.0
"""Seconds between two looks at what is stored for a message: how late an outcome comes whose event was missed."""

_MOST_AT_ONCE = 500
"""So many messages are looked at in one go, once a second."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to reach a server that is lost; doubled from the first to the longest."""

_log = logging.getLogger("reference_queue")


class _Watched:
    """A message whose outcome is waited for."""

    __slots__ = ("looked", "partition", "stored")

    def __init__(self, partition: int, now: float) -> None:
        self.partition = partition
        self.stored = False
        """Whether it is known to be on the server: what is not stored yet must not be taken for forgotten."""
        self.looked = now
        """When the server was asked last; 0 for as soon as possible."""


class Outcomes:
    """Tells the outcomes of the messages that are watched.

    One task reads the events of all partitions, while anything is watched and for a moment after that. It begins at
    a known event, before the first message is sent: BullMQ's `QueueEvents` begins at "now", whenever that is on the
    server, and misses the outcome of a message that is handled sooner.

    Events are trimmed on the server, and lost with a connection. So what is stored with a message is the truth, and
    it is looked at now and then.
    """

    def __init__(self, port: Port, settled: Settled) -> None:
        self._port = port
        self._settled = settled
        self._watched: dict[str, _Watched] = {}
        self._after: dict[int, str] | None = None
        """The last event of each partition that was read; None while nobody reads."""
        self._beginning = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    async def watch(self, partition: int, message_ids: Iterable[str]) -> None:
        """Tell the outcomes of these messages from now on; to be called before they are sent."""
        now = asyncio.get_running_loop().time()
        for message_id in message_ids:
            self._watched.setdefault(message_id, _Watched(partition, now))
        async with self._beginning:
            if self._after is None:
                self._after = await self._port.last_events()
                self._reading = begin(self._read(self._after), "read outcomes")

    def stored(self, message_ids: Iterable[str]) -> None:
        """Learn that these messages are on the server."""
        for message_id in message_ids:
            watched = self._watched.get(message_id)
            if watched is not None:
                watched.stored = True

    def forget(self, message_id: str) -> None:
        """Do not tell the outcome of this message any more."""
        self._watched.pop(message_id, None)

    async def aclose(self) -> None:
        """Tell nothing any more, and return when no task is left."""
        self._watched.clear()
        if self._reading is not None:
            await end([self._reading])

    async def _read(self, after: dict[int, str]) -> None:
        pause = _FIRST_PAUSE
        compared = 0.0
        loop = asyncio.get_running_loop()
        while True:
            try:
                some = doubtful = False
                for message_id, text in await self._port.events(after):
                    some = True
                    doubtful |= text is None and message_id in self._watched
                    self._told(message_id, text)
                if not some and not self._watched:
                    self._after = None  # in one step with the look: whoever watches from now on begins anew
                    return
                if doubtful or not some or loop.time() - compared >= _PERIOD / 2:
                    compared = loop.time()
                    await self._compare(compared)
                pause = _FIRST_PAUSE
            except Exception as error:  # noqa: BLE001 - whatever it is: without this task nobody learns of any outcome
                if pause == _FIRST_PAUSE:
                    _log.warning("Outcomes are waited for until the server is as it should be: %r", error)
                for watched in self._watched.values():
                    watched.looked = 0.0
                compared = 0.0
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _told(self, message_id: str, text: str | None) -> None:
        watched = self._watched.get(message_id)
        if watched is None:
            return
        if text is None:  # it was known when it was sent: perhaps its outcome is, too
            watched.stored = True
            watched.looked = 0.0
        else:
            del self._watched[message_id]
            self._settled(message_id, text)

    async def _compare(self, now: float) -> None:
        """Look at what is stored for the messages that have not been looked at for a while."""
        due: dict[str, int] = {}
        for message_id, watched in self._watched.items():
            if watched.stored and now - watched.looked >= _PERIOD:
                watched.looked = now
                due[message_id] = watched.partition
                if len(due) == _MOST_AT_ONCE:
                    break
        if due:
            for message_id, text in (await self._port.outcomes(due)).items():
                self._told(message_id, text)
