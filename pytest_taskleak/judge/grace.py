"""Grace: let what is about to end come to its end, and wait for nothing else."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

TURNS = 5
"""Turns of the loop that settle tasks which were cancelled and not awaited (measured: 5 settle all of them)."""

_STEP = 0.002
"""Seconds between two looks while time is given."""


def settle(loop: asyncio.AbstractEventLoop, tasks: Collection[asyncio.Task[Any]], grace: float) -> bool:
    """Turn `loop` until all `tasks` are done: a few turns at once, then for at most `grace` seconds.

    A loop that runs in another thread is only waited for. Turning makes no task, so a task factory or a counter of
    the user's sees nothing.

    Returns:
        Whether the loop could be given a chance: not where it is closed, or where another loop runs in this thread.
    """
    return turn_until(loop, lambda: all(task.done() for task in tasks), grace)


def turn_until(loop: asyncio.AbstractEventLoop, over: Callable[[], bool], grace: float) -> bool:
    """The same for whatever else may come to its end, which `over` tells."""
    if loop.is_closed():
        return False
    if loop.is_running():
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented for event loop writers; never raises
            return False
        wait_until(over, grace)
        return True
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - as above
        return False
    loop.run_until_complete(_turns(loop, over))
    if not over() and grace > 0:
        loop.run_until_complete((_deadline if _keeps_time(loop) else _steps)(loop, over, grace))
        # What woke up just then gets its turns: the machine may have stood still for all of the grace.
        loop.run_until_complete(_turns(loop, over))
    return True


def _turns(loop: asyncio.AbstractEventLoop, over: Callable[[], bool]) -> asyncio.Future[None]:
    end = loop.create_future()

    def turn(left: int) -> None:
        if left and not over():
            loop.call_soon(turn, left - 1)
        elif not end.done():
            end.set_result(None)

    loop.call_soon(turn, TURNS)
    return end


def _deadline(loop: asyncio.AbstractEventLoop, over: Callable[[], bool], grace: float) -> asyncio.Future[None]:
    end = loop.create_future()
    deadline = loop.time() + grace

    def look() -> None:
        if end.done():
            return
        if loop.time() >= deadline or over():
            end.set_result(None)
        else:
            loop.call_later(_STEP, look)

    look()
    return end


def _keeps_time(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether time passes for the loop: a test's clock may stand still, and a timer would never fire."""
    before = loop.time()
    threading.Event().wait(_STEP)  # the interpreter's own clock, which nobody can set
    return loop.time() - before > _STEP / 2


def _steps(loop: asyncio.AbstractEventLoop, over: Callable[[], bool], grace: float) -> asyncio.Future[None]:
    """As `_deadline`, without the loop's clock: its turns are spread over about the grace."""
    end = loop.create_future()
    tick = threading.Event()

    def look(left: int) -> None:
        if end.done():
            return
        if left <= 0 or over():
            end.set_result(None)
        else:
            tick.wait(_STEP)
            loop.call_soon(look, left - 1)

    look(math.ceil(grace / _STEP))
    return end


def wait_until(over: Callable[[], bool], grace: float) -> bool:
    """Give what happens in another thread, or in another process, its time.

    Returns:
        Whether it is over.
    """
    end = time.monotonic() + grace
    tick = threading.Event()
    while not (done := over()) and time.monotonic() < end:
        tick.wait(_STEP)
    return done
