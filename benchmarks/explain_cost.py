"""What it costs to prove that leaked tasks never wake, on a large heap.

Run it with `python benchmarks/explain_cost.py`; it prints one line for each way in which tasks may wait.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter

from pytest_taskleak.explain import outlooks

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


def main() -> None:
    """Print seconds and what was said, for each case."""
    gc.disable()  # garbage in cycles is a part of a heap
    heap = [[number] for number in range(OBJECTS)]
    for case in (nobody_keeps, dead_object_keeps, module_keeps):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(case())
        for _ in range(3):
            loop.run_until_complete(asyncio.sleep(0))
        begin = time.perf_counter()
        told = Counter(it.prospect for it in outlooks(list(asyncio.all_tasks(loop)), 10.0).values())
        seconds = time.perf_counter() - begin
        print(f"{case.__name__:20} {seconds:6.3f} s  {len(gc.get_objects()):,} objects  {dict(told)}")
        for number in (1, MOST_NAMED):
            tasks = list(asyncio.all_tasks(loop))
            begin = time.perf_counter()
            found = outlooks(tasks, 10.0, named=tasks[:number])
            seconds = time.perf_counter() - begin
            holders = Counter(it.holders for it in found.values() if it.holders)
            print(f"{'':20} {seconds:6.3f} s  with who holds {number}: {dict(holders)}")
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    del heap


if __name__ == "__main__":
    main()
