"""One queue under a load, in a process of its own: ``python -m reference_queue.soak.child broken LOAD LIMIT``.

Writes a JSON list for each sample; ends when the time is over, at the memory limit, or when nobody reads.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from typing import TYPE_CHECKING, Protocol

from reference_queue import MessageQueue, Monitor
from reference_queue.incident import BrokenMessageQueue, Watched
from reference_queue.memory import resident
from reference_queue.soak.load import Load, Message, Sample, handle

if TYPE_CHECKING:
    from reference_queue.monitor import HasFigures

SAMPLES = 150
"""So many over the whole run."""
MOST_ALIVE = 5_000
"""Promises above which the sender waits, where the queue tells how many there are: no sender sends for ever into a
queue that does not keep up."""
_AT_ONCE = 100
"""Messages sent before the queue gets its turn."""
_STEP = 0.002
"""Seconds between two looks at what is due."""


class Subject(Protocol):
    """A queue under load."""

    @property
    def figures(self) -> HasFigures:
        """What tells its figures."""
        ...

    def send(self, message: Message) -> None:
        """Send a message, and let go of its future."""
        ...

    def alive(self) -> int:
        """Return how many futures are not settled."""
        ...

    def keeps_up(self) -> bool:
        """Say whether more may be sent now."""
        ...

    async def aclose(self) -> None:
        """Come to an end."""
        ...


class Broken:
    """The incident's queue."""

    def __init__(self, load: Load) -> None:  # noqa: ARG002 - it has no deadline to set
        self._queue = BrokenMessageQueue(self._handle)
        self._watched = Watched(self._queue)

    @property
    def figures(self) -> HasFigures:
        """What tells its figures, from outside."""
        return self._watched

    @staticmethod
    async def _handle(_bot: object, message: Message) -> int:
        return await handle(message)

    def send(self, message: Message) -> None:
        """Send a message, and let go of its future."""
        self._queue.enqueue(None, message.chat, message)

    def alive(self) -> int:
        """Return how many futures are not settled."""
        return self._watched.get_memory_stats().pending_promises

    def keeps_up(self) -> bool:
        """Say that more may be sent: it does not tell whether."""
        return True

    async def aclose(self) -> None:
        """Nothing closes it; its tasks are cancelled with the loop."""


class Reference:
    """The reference queue."""

    def __init__(self, load: Load) -> None:
        self._queue = MessageQueue(handle, workers=load.workers, default_deadline=load.deadline / load.speed)

    @property
    def figures(self) -> HasFigures:
        """The queue itself."""
        return self._queue

    def send(self, message: Message) -> None:
        """Send a message, and let go of its future."""
        self._queue.enqueue(message.chat, message)

    def alive(self) -> int:
        """Return how many futures are not settled."""
        stats = self._queue.get_memory_stats()
        return stats.total_queued + stats.waiting + stats.pending_promises

    def keeps_up(self) -> bool:
        """Say whether more may be sent now."""
        return self.alive() < MOST_ALIVE

    async def aclose(self) -> None:
        """Give up what is left."""
        await self._queue.aclose("cancel")


async def soak(subject: Subject, load: Load, limit: int) -> None:
    """Send, and write a sample now and then, until the time or the memory is over."""
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)  # failures are part of the load
    alerts = _Alerts()
    logging.getLogger("reference_queue.monitor").addHandler(alerts)
    monitor = Monitor(subject.figures)
    messages = load.messages()
    sent = written = 0
    begin = time.monotonic()
    while (elapsed := time.monotonic() - begin) < load.seconds:
        minute = elapsed * load.speed / 60
        due = int(minute * load.rate)
        behind = min(due - sent, _AT_ONCE) if subject.keeps_up() else 0
        for _ in range(behind):
            subject.send(next(messages))
        sent += behind
        memory = resident()  # at every turn: samples of a long run are seconds apart, in which memory runs far ahead
        if elapsed >= written * load.seconds / SAMPLES or memory > limit:
            written += 1
            monitor.look()
            sample = Sample(
                minute, subject.alive(), memory, sent, alerts.count, subject.figures.get_memory_stats().total_queued
            )
            print(json.dumps(sample), flush=True)
            if memory > limit:
                break
        # A sender that is behind goes on at once; a sample is due all the same.
        await asyncio.sleep(0 if behind == _AT_ONCE else _STEP)
    await subject.aclose()


class _Alerts(logging.Handler):
    """Counts the alerts of pending promises."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += record.levelno == logging.ERROR


def main() -> None:
    """Run one queue."""
    name, load, limit = sys.argv[1], Load.from_json(sys.argv[2]), int(sys.argv[3])
    subject: Subject = Broken(load) if name == "broken" else Reference(load)
    logging.getLogger("asyncio").disabled = True
    logging.getLogger("reference_queue").propagate = False
    try:
        asyncio.run(soak(subject, load, limit))
    except (BrokenPipeError, KeyboardInterrupt):
        sys.stdout = None  # nobody reads, and Python would complain of that once more at its end


if __name__ == "__main__":
    main()
