"""What recording adds to `create_task`: ratios of medians over a plain one, in one process, taken in turns.

The collector is off while batches are timed.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from pathlib import Path

from pytest_taskleak.detector import Detector
from pytest_taskleak.model import Owner
from pytest_taskleak.places import Places

BATCH = 500
ROUNDS = 60


async def nothing() -> None:
    """End at once."""


async def batch(depth: int) -> float:
    """Make a batch of tasks from `depth` calls deep; seconds for each."""
    loop = asyncio.get_running_loop()

    def make(level: int) -> asyncio.Task[None]:
        return make(level - 1) if level else loop.create_task(nothing())

    gc.disable()
    try:
        start = time.perf_counter()
        tasks = [make(depth) for _ in range(BATCH)]
        spent = time.perf_counter() - start
    finally:
        gc.enable()
    await asyncio.gather(*tasks)
    return spent / BATCH


def main() -> None:
    """Print a row for each depth and kind."""
    detector = Detector(Places(Path.cwd()), grace=0.1, strict=False, announce=print)
    print(f"{'':34}{'µs':>8}{'× plain':>10}")
    for depth in (0, 10):
        seconds: dict[str, list[float]] = {"plain": [], "recorded": [], "loop debug mode": []}
        for _ in range(ROUNDS):
            seconds["plain"].append(asyncio.run(batch(depth)))
            detector.start()
            detector.watcher.enter(Owner("test", "test", "test"), "call")
            seconds["recorded"].append(asyncio.run(batch(depth)))
            detector.stop()
            seconds["loop debug mode"].append(asyncio.run(batch(depth), debug=True))
        plain = statistics.median(seconds["plain"])
        for name, values in seconds.items():
            median = statistics.median(values)
            print(f"create_task, {depth:2} deep, {name:16}{median * 1e6:8.1f}{median / plain:10.2f}")


if __name__ == "__main__":
    main()
