"""The way out: messages between the call that sends them and the server, in order within each partition."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from reference_queue.distributed._tasks import begin, end
from reference_queue.distributed.errors import EngineLost, EngineRefused, MessageTooLarge
from reference_queue.distributed.outcome import fail
from reference_queue.errors import LoopEnded

if TYPE_CHECKING:
    from collections.abc import Callable

    from reference_queue.distributed.engine import Engine, Envelope

__all__ = ["Outbox", "Sending"]

_MOST_AT_ONCE = 128
"""So many messages of a partition are sent in one go."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to reach a server that is lost; doubled from the first to the longest."""

_CUT_OFF = (
    "The task that sends the message was cancelled, as all tasks are at the end of their event loop. If the message "
    "was stored, it is handled all the same; send it again with its id to get its outcome. Close the queue before its "
    "loop ends."
)

_log = logging.getLogger("reference_queue")


class Sending:
    """A message that this instance has taken in, as long as somebody here waits for something of it."""

    __slots__ = ("envelope", "futures", "gone", "partition")

    def __init__(self, envelope: Envelope, partition: int) -> None:
        self.envelope = envelope
        self.partition = partition
        self.futures: list[asyncio.Future[Any]] = []
        """Who waits: for the outcome, or (of a posted message) until it is stored."""
        self.gone = False
        """Nobody waits for it any more: if it is not on its way yet, it is not sent."""

    def fail(self, error: Callable[[], Exception]) -> None:
        """Settle all who wait, each with an exception of its own."""
        for future in tuple(self.futures):
            fail(future, error())


class _Line:
    """What a partition's task has to send: first what it tries now, then what came after that."""

    __slots__ = ("alone", "batch", "waiting")

    def __init__(self) -> None:
        self.batch: list[Sending] = []
        self.waiting: deque[Sending] = deque()
        self.alone = 0
        """So many of those that wait are to be sent by themselves, for one of them cannot be sent."""

    def __len__(self) -> int:
        return sum(not sending.gone for sending in (*self.batch, *self.waiting))

    def next_batch(self) -> list[Sending]:
        """Return what to send next: what was tried in vain, and more, without what nobody waits for."""
        batch = self.batch = [sending for sending in self.batch if not sending.gone]
        most = 1 if self.alone else _MOST_AT_ONCE
        while self.waiting and len(batch) < most:
            sending = self.waiting.popleft()
            self.alone -= self.alone > 0
            if not sending.gone:
                batch.append(sending)
        return batch

    def take_apart(self) -> None:
        """Put what was tried back to the front, to be sent one by one."""
        self.alone += len(self.batch)
        self.waiting.extendleft(reversed(self.batch))
        self.batch = []

    def give_up(self) -> None:
        """Settle what is left by a task that ends before its work."""
        for sending in (*self.batch, *self.waiting):
            sending.fail(partial(LoopEnded, _CUT_OFF))


class Outbox:
    """Sends to each partition in order, a batch at a time, again and again until the server has it.

    Args:
        engine: what it sends with.
        stored: told of each message that the server has, or has refused (then the futures are settled already).
    """

    def __init__(self, engine: Engine, stored: Callable[[Sending], None]) -> None:
        self._engine = engine
        self._stored = stored
        self._lines: dict[int, _Line] = {}
        """A partition is in here exactly while a task sends for it."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost: EngineLost | None = None
        """Why the server was not reached when it was tried last."""

    def __len__(self) -> int:
        """How many messages are not stored yet; for any thread."""
        return sum(map(len, tuple(self._lines.values())))

    def put(self, sending: Sending) -> None:
        """Take a message in; never waits."""
        line = self._lines.get(sending.partition)
        if line is None:
            line = self._lines[sending.partition] = _Line()
            task = begin(self._send(sending.partition, line), f"sender of partition {sending.partition}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        line.waiting.append(sending)

    async def aclose(self) -> None:
        """Stop sending, and return when no task is left."""
        await end(self._tasks)

    async def _send(self, partition: int, line: _Line) -> None:
        pause = _FIRST_PAUSE
        try:
            while True:
                await asyncio.sleep(0)  # whoever sends many at once has them sent together
                batch = line.next_batch()
                if not batch:
                    return
                try:
                    await self._engine.send(partition, [sending.envelope for sending in batch])
                except EngineLost as error:
                    self._note_loss(error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    continue
                except MessageTooLarge as error:
                    if len(batch) > 1:  # the others are to be none the worse for it
                        line.take_apart()
                        continue
                    batch[0].fail(partial(MessageTooLarge, str(error)))
                except Exception as error:  # noqa: BLE001 - whatever it is: those who wait are to know
                    text = str(error) if isinstance(error, EngineRefused) else f"Sending failed: {error!r}"
                    for sending in batch:
                        sending.fail(partial(EngineRefused, text))
                self.lost = None
                pause = _FIRST_PAUSE
                line.batch = []
                for sending in batch:
                    self._stored(sending)
        finally:
            # In the very step in which the line was found empty: whoever comes later starts another task.
            del self._lines[partition]
            line.give_up()  # there is nobody, unless the task was cancelled otherwise than by the close

    def _note_loss(self, error: EngineLost) -> None:
        if self.lost is None:
            _log.warning("The server is lost; sending is tried again until it is back: %s", error)
        self.lost = error
