"""What recording adds to `create_task`, `create_future` and `call_later`: medians over plain ones, taken in turns.

All in one process; the collector is off while batches are timed. What is added is the median of the differences
between a plain batch and the recorded one right after it, so that a machine that slows down for a while slows both.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_taskleak.detector import Detector
from pytest_taskleak.model import Owner
from pytest_taskleak.places import Places
from pytest_taskleak.settings import DEFAULT_KINDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BATCH = 500
ROUNDS = 120


async def nothing() -> None:
    """End at once."""


def ring() -> None:
    """Do nothing."""


def create_task(loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
    """Make a task."""
    return loop.create_task(nothing())


def create_future(loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """Make a bare future."""
    return loop.create_future()


def call_later(loop: asyncio.AbstractEventLoop) -> asyncio.TimerHandle:
    """Make a timer."""
    return loop.call_later(3600, ring)


async def settle(things: list[Any]) -> None:
    """Let nothing of a batch go on."""
    for thing in things:
        if not isinstance(thing, asyncio.Task):
            thing.cancel()
    await asyncio.gather(*(thing for thing in things if isinstance(thing, asyncio.Task)))


async def batch(make: Callable[[asyncio.AbstractEventLoop], Any], depth: int) -> float:
    """Make a batch from `depth` calls deep; seconds for each."""
    loop = asyncio.get_running_loop()

    def made(level: int) -> Any:
        return made(level - 1) if level else make(loop)

    gc.disable()
    try:
        start = time.perf_counter()
        things = [made(depth) for _ in range(BATCH)]
        spent = time.perf_counter() - start
    finally:
        gc.enable()
    await settle(things)
    return spent / BATCH


def loops() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Makers of loops: uvloop's where it is installed."""
    makers: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    with contextlib.suppress(ImportError):
        makers["uvloop"] = importlib.import_module("uvloop").new_event_loop
    return makers


def run(main: Awaitable[float], factory: Callable[[], asyncio.AbstractEventLoop], *, debug: bool = False) -> float:
    """Run it in a loop of its own."""
    loop = factory()
    try:
        loop.set_debug(debug)
        return loop.run_until_complete(main)
    finally:
        loop.close()


def main() -> None:
    """Print a row for each loop, maker and depth."""
    detector = Detector(Places(Path.cwd()), grace=0.1, strict=False, kinds=DEFAULT_KINDS, announce=print)
    print(f"Python {platform.python_version()}; {BATCH} at a time, {ROUNDS} rounds in turns")
    print(f"{'':36}{'plain µs':>10}{'added µs':>10}{'× plain':>10}{'× in debug mode':>18}")
    for loop_name, factory in loops().items():
        for make in (create_task, create_future, call_later):
            for depth in (0, 10):
                plain: list[float] = []
                recorded: list[float] = []
                debug: list[float] = []
                for number in range(ROUNDS):
                    plain.append(run(batch(make, depth), factory))
                    detector.start()
                    detector.watcher.enter(Owner("test", "test", "test"), "call")
                    recorded.append(run(batch(make, depth), factory))
                    detector.stop()
                    if number % 10 == 0:
                        debug.append(run(batch(make, depth), factory, debug=True))
                base = statistics.median(plain)
                added = statistics.median(b - a for a, b in zip(plain, recorded, strict=True))
                name = f"{loop_name}, {make.__name__}, {depth} deep"
                ratios = f"{1 + added / base:10.2f}{statistics.median(debug) / base:18.1f}"
                print(f"{name:36}{base * 1e6:10.2f}{added * 1e6:10.2f}{ratios}")


if __name__ == "__main__":
    main()
