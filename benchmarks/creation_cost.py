"""What recording adds to `create_task`, `create_future` and `call_later`: medians over plain ones, taken in turns.

All in one process; the collector is off while batches are timed. What is added is the median of the differences
between a plain batch and the recorded one right after it, so that a machine that slows down for a while slows both.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peers
from table import Row

from pytest_taskleak.detector import Detector
from pytest_taskleak.gate import Gate
from pytest_taskleak.model import KINDS, Owner
from pytest_taskleak.places import Places

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

BATCH = 500
ROUNDS = 120
DEPTH = 3
"""Calls between the user's function and the one that makes the thing."""


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


LIMITS = {"create_task": (1.5, 1.0), "create_future": (1.2, 0.7), "call_later": (1.2, 0.7)}
"""Microseconds that recording may add on 3.13, and those that it should."""

VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def rows() -> Iterator[Row]:
    """A row for each Python, loop and maker."""
    for version in VERSIONS:
        base = peers.interpreter(version)
        if base is None:
            print(f"(no Python {version} here)")
            continue
        loops = ["uvloop==0.23.0"] if sys.platform != "win32" else []
        python = peers.environment(f"loops-{version}", [*peers.HARNESS, *loops, *peers.PROJECT], base)
        told = subprocess.run([python, __file__], check=True, capture_output=True, text=True)
        for name, maker, plain, added in json.loads(told.stdout):
            limit, aim = LIMITS[maker] if version == "3.13" else (None, None)
            yield Row(f"{maker}, {name}, {version}", f"plain, {plain:.1f} µs", added, "µs more", limit, aim=aim)


def main() -> None:
    """Tell, as JSON, for each loop and maker the plain microseconds and those that are added."""
    places = Places(Path.cwd())
    gate = Gate(places, kinds=KINDS, make=lambda gate: Detector(gate, places, print))
    found: list[tuple[str, str, float, float]] = []
    for loop_name, factory in loops().items():
        for make in (create_task, create_future, call_later):
            plain: list[float] = []
            recorded: list[float] = []
            for _ in range(ROUNDS):
                plain.append(run(batch(make, DEPTH), factory))
                gate.start()
                gate.watcher.enter(Owner("test", "test", "test"), "call")
                recorded.append(run(batch(make, DEPTH), factory))
                gate.stop()
            added = statistics.median(b - a for a, b in zip(plain, recorded, strict=True))
            found.append((loop_name, make.__name__, statistics.median(plain) * 1e6, added * 1e6))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
