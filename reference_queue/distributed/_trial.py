"""A trial: numbered messages of some chats, worker processes that note what they handle, harm midway, and a verdict.

The demo, the crash runs and the tests all run this. The module is also the program of a worker process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reference_queue.distributed._deliveries import current_delivery
from reference_queue.distributed._kinds import KINDS
from reference_queue.distributed.queue import DistributedQueue

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable
    from pathlib import Path

__all__ = ["Report", "Trial"]

_LONGEST = 120.0
"""Seconds in which every message is settled, or is lost."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a trial found. The first four are counts of messages and handlings; the rest is what the harm cost."""

    messages: int
    lost: int
    """Messages whose sender got no result, or another message's, or that no handler has ended."""
    out_of_order: int
    """Handlings that began before an earlier message of the chat had, or after a later one had."""
    duplicated: int
    """Handlings that bore the same message id and attempt as another."""
    redelivered: int
    """Deliveries beside the first of each message."""
    late: int
    """Handlings that a revived worker began when the message had been delivered to another, of those redelivered."""
    longest_pause: float
    """Seconds: the longest time between two handlings of a chat that had messages waiting."""
    seconds: float
    """How long it took from the first message sent to the last outcome."""

    @property
    def held(self) -> bool:
        """Whether everything promised was kept."""
        return self.lost == self.out_of_order == self.duplicated == 0


@dataclass(slots=True)
class Trial:
    """One queue with its worker processes.

    Args:
        kind: the name of an engine.
        url: where its server is.
        name: what the queue is called on the server.
        journal: a file that is not there yet.
    """

    kind: str
    url: str
    name: str
    journal: Path
    lease: float = 1.0
    partitions: int = 4
    chats: int = 8
    messages: int = 160
    handling: float = 0.005
    """Seconds that the handling of a message takes."""
    workers: list[Process] = field(default_factory=list["Process"])
    settled: int = 0
    """How many messages are settled by now."""
    killed: tuple[int, set[str]] | None = None
    """The process that was killed and what it had in hand."""
    queue: DistributedQueue[str, str] | None = None
    """What sends the messages, while it is open."""

    async def start_worker(self) -> Process:
        """Start a worker process; return when it takes messages."""
        given = {
            "kind": self.kind,
            "url": self.url,
            "name": self.name,
            "journal": self.journal,
            "lease": self.lease,
            "partitions": self.partitions,
            "handling": self.handling,
        }
        options = [text for option, value in given.items() for text in (f"--{option}", str(value))]
        command = [sys.executable, "-m", __name__, *options]
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE)
        self.workers.append(process)
        assert process.stdout is not None  # noqa: S101 - it was asked for
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"Worker {process.pid} ended before it was ready. Its own message is above.")
        return process

    async def run(self, harm: Callable[[Trial], Awaitable[None]] | None = None, *, workers: int = 2) -> Report:
        """Send all messages at once, do harm when a third of them is settled, and judge.

        Workers that live in the end are asked to drain; a RuntimeError is raised if one does not end orderly.
        """
        self.journal.touch()
        third = asyncio.Event()

        def count(_future: asyncio.Future[str]) -> None:
            self.settled += 1
            if self.settled * 3 >= self.messages:
                third.set()

        engine = KINDS[self.kind].engine(self.url, self.lease)
        queue = DistributedQueue[str, str](
            engine, name=self.name, partitions=self.partitions, default_deadline=_LONGEST
        )
        try:
            async with queue:
                await asyncio.gather(*(self.start_worker() for _ in range(workers)))
                self.queue = queue
                begun = time.monotonic()
                sent = {text: queue.enqueue(text.split()[0], text, message_id=text) for text in self.texts()}
                for future in sent.values():
                    future.add_done_callback(count)
                if harm is not None:
                    await third.wait()
                    await harm(self)
                results = await asyncio.gather(*sent.values(), return_exceptions=True)
                seconds = time.monotonic() - begun
                self.queue = None
            await self._end_workers()
        finally:
            for process in self.workers:
                if process.returncode is None:
                    process.kill()
                await process.wait()
        return self._judged(dict(zip(sent, results, strict=True)), seconds)

    def texts(self) -> list[str]:
        """Return the messages: a chat and a number of its own, counted from 1, the chats taking turns."""
        return [f"chat-{number % self.chats} {number // self.chats + 1}" for number in range(self.messages)]

    async def _end_workers(self) -> None:
        living = [process for process in self.workers if process.returncode is None]
        for process in living:
            process.terminate()
        for process in living:
            if await process.wait():
                raise RuntimeError(f"Worker {process.pid} ended with {process.returncode} when it was to drain.")

    def entries(self) -> list[tuple[float, int, str, str, int]]:
        """Return what the workers have noted so far: time, process, begins or ends, message, attempt."""
        lines = self.journal.read_text(encoding="ascii").splitlines()
        parts = [line.split(" ", 3) for line in lines]
        return [
            (float(when), int(pid), what, text.rpartition(" ")[0], int(text.rpartition(" ")[2]))
            for when, pid, what, text in parts
        ]

    def _judged(self, results: dict[str, object], seconds: float) -> Report:
        entries = self.entries()
        ended = {text for _, _, what, text, _ in entries if what == "ends"}
        lost = sum(result != text.upper() or text not in ended for text, result in results.items())
        seen: dict[str, set[int]] = {}
        last: dict[str, tuple[float, int]] = {}
        out_of_order = duplicated = late = 0
        longest = 0.0
        for when, _, what, text, attempt in entries:
            if what != "begins":
                continue
            attempts = seen.setdefault(text, set())
            duplicated += attempt in attempts
            stale = bool(attempts) and attempt < max(attempts)
            attempts.add(attempt)
            if stale:
                late += 1
                continue
            chat, number = text.split()
            before, newest = last.get(chat, (when, 0))
            out_of_order += int(number) not in (newest, newest + 1)
            last[chat] = (when, max(newest, int(number)))
            longest = max(longest, when - before)
        redelivered = sum(len(attempts) - 1 for attempts in seen.values())
        return Report(len(results), lost, out_of_order, duplicated, redelivered, late, longest, seconds)

    # -- harm --------------------------------------------------------------------------------------------

    async def _stopped_worker(self) -> Process:
        """Return a worker that is stopped in the midst of a message."""
        async with asyncio.timeout(_LONGEST):
            while True:
                for process in self.workers:
                    if process.returncode is None:
                        process.send_signal(signal.SIGSTOP)
                        if self._in_hand(process.pid):
                            return process
                        process.send_signal(signal.SIGCONT)
                await asyncio.sleep(self.handling)  # other processes are looked at: no event tells of them

    def _in_hand(self, pid: int) -> set[str]:
        """Return the messages that a process has begun and not ended."""
        begun: set[str] = set()
        for _, who, what, text, _ in self.entries():
            if who == pid:
                begun.add(text) if what == "begins" else begun.discard(text)
        return begun

    async def kill_worker(self) -> None:
        """Kill a worker that has a message in hand with -9."""
        process = await self._stopped_worker()
        self.killed = process.pid, self._in_hand(process.pid)
        process.kill()
        await process.wait()

    async def stop_worker(self) -> None:
        """Stop a worker that has a message in hand; let it go on when that was delivered to another."""
        process = await self._stopped_worker()
        try:
            stopped = time.monotonic()
            while self.settled < self.messages and not any(attempt > 1 for *_, attempt in self.entries()):
                await asyncio.sleep(self.lease / 10)  # as above
                if time.monotonic() - stopped > _LONGEST:
                    break
        finally:
            process.send_signal(signal.SIGCONT)


# -- a worker process ------------------------------------------------------------------------------------


async def _work(options: argparse.Namespace) -> None:
    journal = os.open(options.journal, os.O_WRONLY | os.O_APPEND)

    def note(what: str, message: str) -> None:
        delivery = current_delivery()
        attempt = 0 if delivery is None else delivery.attempt
        os.write(journal, f"{time.time():.6f} {os.getpid()} {what} {message} {attempt}\n".encode("ascii"))

    async def handler(message: str) -> str:
        note("begins", message)
        try:
            await asyncio.sleep(options.handling)
        except asyncio.CancelledError:
            note("cancelled", message)
            raise
        note("ends", message)
        return message.upper()

    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    engine = KINDS[options.kind].engine(options.url, options.lease)
    async with DistributedQueue(engine, handler, name=options.name, partitions=options.partitions):
        print("ready", flush=True)  # noqa: T201 - what the parent waits for
        await ended.wait()
    os.close(journal)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("kind", "url", "name", "journal"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--lease", type=float, required=True)
    parser.add_argument("--handling", type=float, required=True)
    parser.add_argument("--partitions", type=int, required=True)
    asyncio.run(_work(parser.parse_args()))


if __name__ == "__main__":
    _main()
