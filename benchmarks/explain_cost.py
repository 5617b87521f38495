"""What it costs to prove that leaked tasks never wake, on a large heap.

Seconds of this process, whose heap is made that large; the collector is off.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING

from table import Row

from pytest_taskleak.explain import outlooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

TASKS = 30
OBJECTS = 1_000_000
MOST_NAMED = 20


class Bot:
    """What a user's task works on."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def wait(self) -> None:
        """Wait for what never comes."""
        await self.event.wait()


async def nobody_keeps() -> None:
    """Start tasks on objects that nobody keeps."""
    for _ in range(TASKS):
        asyncio.create_task(Bot().wait())  # noqa: RUF006 - nobody keeps it, which is what is measured


async def dead_object_keeps() -> None:
    """Start tasks whose events are in a cycle that only a search of the heap finds."""
    for _ in range(TASKS):
        bot = Bot()
        cycle = [[[bot.event]]]
        cycle.append(cycle)
        asyncio.create_task(asyncio.Event.wait(bot.event))  # noqa: RUF006 - as above


async def module_keeps() -> None:
    """Start tasks on objects that a module keeps, each in its own place."""
    KEPT.extend({"bot": Bot()} for _ in range(TASKS))
    for each in KEPT:
        asyncio.create_task(each["bot"].wait())  # noqa: RUF006 - as above


KEPT: list[dict[str, Bot]] = []


def rows() -> Iterator[Row]:
    """A row for each way to wait."""
    was_enabled = gc.isenabled()
    gc.disable()  # garbage in cycles is a part of a heap
    heap = [[number] for number in range(OBJECTS)]
    try:
        for case, words, prospect in (
            (nobody_keeps, "that nobody keeps", "never wakes"),
            (dead_object_keeps, "in garbage", "never wakes"),
            (module_keeps, "of a module", "may wake"),
        ):
            yield from _explained(case, words, prospect)
    finally:
        if was_enabled:
            gc.enable()
        del heap


def _explained(case: Callable[[], Awaitable[None]], words: str, prospect: str) -> Iterator[Row]:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_all_of(case))
    tasks = list(asyncio.all_tasks(loop))
    for named, more in ((0, ""), (MOST_NAMED, f", who holds {MOST_NAMED}")):
        begin = time.perf_counter()
        found = outlooks(tasks, 10.0, named=tasks[:named])
        seconds = time.perf_counter() - begin
        told = [it.prospect for it in found.values()]
        if told != [prospect] * TASKS:  # a search that gives up is fast
            raise ValueError(f"tasks {words}: {told}, not {TASKS} times {prospect!r}")
        what = f"{TASKS} tasks {words}{more}"
        yield Row(what, f"{OBJECTS:,} objects", seconds, "s", None if named else 0.5, aim=None if named else 0.2)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    KEPT.clear()


async def _all_of(case: Callable[[], Awaitable[None]]) -> None:
    await case()
    for _ in range(3):
        await asyncio.sleep(0)
