"""Frames, taken cheaply: their lines are looked up only for what turns out to be a leak."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from pytest_taskleak.model import Call

_DEEPEST = 24
"""Frames looked at, at most: libraries start tasks from deep inside, and each costs about 0.1 µs."""

_CALLERS = 2
"""Frames kept above the first line of the project's own code: who called it. `three` has them written out."""

LOOP_STEP = asyncio.Handle._run.__code__  # noqa: SLF001 - what lies beyond it is the loop, nobody's call

STEP_MODULE = asyncio.Handle.__module__
"""Nothing else there is called by what starts work, and calls it."""


def _step_of_hooks() -> CodeType | None:
    """Where pluggy calls a hook, by either of the names that its module has had; None where nobody uses pluggy."""
    for name in ("pluggy._execution", "pluggy._callers"):
        multicall = getattr(sys.modules.get(name), "_multicall", None)
        if multicall is not None:
            return getattr(multicall, "__code__", None)
    return None


HOOK_STEP = _step_of_hooks()
"""What lies beyond it called a runner, which is on its own behalf then: frames that nobody wants to see."""

RUNNER_MODULE = asyncio.Runner.__module__

_RUNNERS = ("pytest_asyncio.plugin", "anyio.pytest_plugin", "unittest.async_case")
"""Modules that run asynchronous tests and fixtures: what lies beyond their frames is pytest, nobody's call either."""

_runners: set[str] = set()


def know_runners() -> None:
    """Learn the files of the runners that were imported, in which a walk through the frames ends; repeat it at will."""
    for name in _RUNNERS:
        if (file := getattr(sys.modules.get(name), "__file__", None)) is not None:
            _runners.add(file)


def is_runners(code: CodeType) -> bool:
    """Whether it is a runner's."""
    return code.co_filename in _runners


MODULE_AT: Callable[[int], str | None] | None = getattr(sys, "_getframemodulename", None)
"""Tells the module of a frame by its depth, without making a frame object (3.12+); None where that cannot be told."""

_frame: Callable[[int], FrameType] = sys._getframe  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
# `inspect.currentframe` cannot give a caller's


_INSIDE = frozenset(
    f"asyncio.{name}"
    for name in (
        *("base_events", "events", "proactor_events", "runners", "selector_events", "tasks", "unix_events"),
        "windows_events",
    )
)
"""What asyncio runs and makes loops with, by module."""


def outside_asyncio(depth: int) -> FrameType:
    """The innermost frame, from `depth` above the caller's own, that is not in the way asyncio runs and makes loops.

    That tells nobody anything. To look at a module's name makes no frame object, which is what costs (3.12+; before,
    it is the frame at `depth`).
    """
    depth += 1
    if MODULE_AT is not None:
        while MODULE_AT(depth) in _INSIDE:
            depth += 1
    try:
        return _frame(depth)
    except ValueError:
        return _frame(depth - 1)  # a thread that something not written in Python has made begins in asyncio


def makers_of_loop(depth: int, own: Callable[[str], bool]) -> tuple[Call, ...]:
    """What `capture` gives from `depth` above the caller's own frame; of a Runner that makes its loop, one frame."""
    depth += 1
    if MODULE_AT is not None:
        above = depth
        while (name := MODULE_AT(above)) in _INSIDE:
            if name == RUNNER_MODULE:
                runner = _frame(above)
                return ((runner.f_code, runner.f_lasti), *capture(outside_asyncio(above), own))
            above += 1
    return capture(_frame(depth), own)


def three(frame: FrameType, code: CodeType, depth: int) -> tuple[Call, ...]:
    """What `capture` gives where the innermost frame is the project's own already, as nearly always: it pays off."""
    if depth and MODULE_AT is not None and MODULE_AT(depth + 1) == STEP_MODULE:
        return ((code, frame.f_lasti),)
    above = frame.f_back
    if above is None or (caller := above.f_code) is LOOP_STEP or caller is HOOK_STEP:
        return ((code, frame.f_lasti),)
    top = above.f_back
    if top is None or (outer := top.f_code) is LOOP_STEP or outer is HOOK_STEP:
        return ((code, frame.f_lasti), (caller, above.f_lasti))
    return ((code, frame.f_lasti), (caller, above.f_lasti), (outer, top.f_lasti))


def capture(
    frame: FrameType | None, own: Callable[[str], bool], deepest: int = _DEEPEST, depth: int = 0
) -> tuple[Call, ...]:
    """The calls that lead to `frame`, the innermost first, as far as they help to find the line to change.

    Args:
        frame: The innermost.
        own: Whether a file is the project's own code.
        deepest: How many to look at.
        depth: How far above this function's own frame it is, 0 where unknown: told, a loop's step need not be made a
            frame object to be known (3.12+).
    """
    if frame is None:
        return ()
    if own(file := (code := frame.f_code).co_filename):
        return three(frame, code, depth and depth + 1)
    if code is LOOP_STEP or code is HOOK_STEP:
        return ()
    first = (code, frame.f_lasti)
    if file in _runners:
        return (first,)
    if (above := frame.f_back) is not None and own((caller := above.f_code).co_filename):
        # Nearly as often one of asyncio's own, such as `asyncio.create_task`, lies between.
        return (first, *three(above, caller, depth and depth + 2))
    return _many(frame, own, deepest)


def _many(frame: FrameType | None, own: Callable[[str], bool], deepest: int) -> tuple[Call, ...]:
    """The same from deep inside a library."""
    calls: list[Call] = []
    add, step, hooks, runners = calls.append, LOOP_STEP, HOOK_STEP, _runners
    for _ in range(deepest):
        if frame is None or (code := frame.f_code) is step or code is hooks:
            return tuple(calls)
        add((code, frame.f_lasti))
        if own(file := code.co_filename):
            break
        if file in runners:
            return tuple(calls)
        frame = frame.f_back
    else:
        return tuple(calls)
    for _ in range(min(deepest - len(calls), _CALLERS)):
        if (frame := frame.f_back) is None or (code := frame.f_code) is step or code is hooks:
            break
        add((code, frame.f_lasti))
    return tuple(calls)
