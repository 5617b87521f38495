"""Learns the outcomes of messages: from whoever stores them, and from what is stored where that was missed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from uuid import uuid4

from reference_queue.distributed import outcome
from reference_queue.distributed._tasks import begin
from reference_queue.distributed.errors import EngineLost, EngineRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.msg import Msg

    from reference_queue.distributed._jetstream_link import Link
    from reference_queue.distributed._jetstream_store import Store
    from reference_queue.distributed.engine import Settled

__all__ = ["Outcomes"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two looks at what is stored; doubled from the first to the longest."""

_MOST_AT_ONCE = 64
"""So many messages are looked at side by side."""

_log = logging.getLogger("reference_queue")


class _Watched:
    """A message whose outcome is waited for."""

    __slots__ = ("known", "message_id", "sequence")

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self.sequence = 0
        """Of the message in its stream; 0 until it is known to be stored."""
        self.known = False
        """Whether it was stored already: then another instance may be the one that is told."""


class Outcomes:
    """Tells the outcomes of the messages that are watched.

    Whoever stores an outcome publishes it under the subject that the sender of the message listens to, and takes the
    message off after that: so an outcome that is not published yet is published by the next one to get the message.
    It can be missed only by a sender that has lost its link, or that sent a message which another had sent before.
    Those look at what is stored.
    """

    def __init__(self, store: Store, linked: Callable[[], Awaitable[Link]], settled: Settled) -> None:
        self._store = store
        self._linked = linked
        self._settled = settled
        self.sender = f"_INBOX.{uuid4().hex}"
        """The subject that this instance listens to."""
        self._watched: dict[str, _Watched] = {}
        self._unsure: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    async def attach(self, link: Link) -> None:
        """Listen on a new link, and look at what was missed between it and the one before."""
        await link.listen(f"{self.sender}.*", self._told)
        self._look_at({key for key, watched in self._watched.items() if watched.sequence})

    def watch(self, key: str, message_id: str) -> None:
        """Tell the outcome of this message from now on; to be called before it is sent."""
        self._watched.setdefault(key, _Watched(message_id))

    def stored(self, key: str, sequence: int, *, known: bool) -> None:
        """Learn where a message is stored, and whether it was before."""
        watched = self._watched.get(key)
        if watched is not None:
            watched.sequence = sequence
            if known:
                watched.known = True
                self._look_at({key})

    def forget(self, key: str) -> None:
        """Do not tell the outcome of this message any more."""
        self._watched.pop(key, None)

    async def aclose(self) -> None:
        """Tell nothing any more, and return when no task is left."""
        self._watched.clear()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _told(self, message: Msg) -> None:
        self._settle(message.subject.rsplit(".", 1)[1], message.data.decode())

    def _settle(self, key: str, text: str) -> None:
        watched = self._watched.pop(key, None)
        if watched is not None:
            self._settled(watched.message_id, text)

    def _look_at(self, keys: set[str]) -> None:
        self._unsure |= keys
        if self._unsure and (self._looking is None or self._looking.done()):
            self._looking = begin(self._look(), "look at outcomes")

    async def _look(self) -> None:
        pause = _FIRST_PAUSE
        while self._unsure:
            link = await self._linked()
            keys = list(self._unsure)
            try:
                for first in range(0, len(keys), _MOST_AT_ONCE):
                    some = keys[first : first + _MOST_AT_ONCE]
                    await asyncio.gather(*(self._compare(link, key) for key in some))
            except (EngineLost, EngineRefused):
                pass  # tried again, perhaps over another link
            except Exception:  # noqa: BLE001 - without this task nobody learns of the outcomes that were missed
                _log.exception("Outcomes could not be looked at; that is tried again")
            if self._unsure:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _compare(self, link: Link, key: str) -> None:
        watched = self._watched.get(key)
        if watched is None:
            self._unsure.discard(key)
            return
        # In this order: a message is taken off after its outcome is stored.
        queued = await self._store.is_queued(link, watched.sequence)
        record = await self._store.read(link, key)
        if record is not None and record.state == "done":
            self._settle(key, record.outcome)
        elif not queued:
            self._settle(key, outcome.UNKNOWN)
        elif watched.known:
            return  # looked at until it is settled
        self._unsure.discard(key)
