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
"""Frames kept above the first line of the project's own code: who called it. `_three` has them written out."""

LOOP_STEP = asyncio.Handle._run.__code__  # noqa: SLF001 - what lies beyond it is the loop, nobody's call


def _step_of_hooks() -> CodeType | None:
    """Where pluggy calls a hook, by either of the names that its module has had; None where nobody uses pluggy."""
    for name in ("pluggy._execution", "pluggy._callers"):
        multicall = getattr(sys.modules.get(name), "_multicall", None)
        if multicall is not None:
            return getattr(multicall, "__code__", None)
    return None


_HOOK_STEP = _step_of_hooks()
"""What lies beyond it called a runner, which is on its own behalf then: frames that nobody wants to see."""


def _three(frame: FrameType, code: CodeType) -> tuple[Call, ...]:
    """What `capture` gives where the innermost frame is the project's own already, as nearly always: it pays off."""
    above = frame.f_back
    if above is None or (caller := above.f_code) is LOOP_STEP or caller is _HOOK_STEP:
        return ((code, frame.f_lasti),)
    top = above.f_back
    if top is None or (outer := top.f_code) is LOOP_STEP or outer is _HOOK_STEP:
        return ((code, frame.f_lasti), (caller, above.f_lasti))
    return ((code, frame.f_lasti), (caller, above.f_lasti), (outer, top.f_lasti))


def capture(frame: FrameType | None, own: Callable[[str], bool], deepest: int = _DEEPEST) -> tuple[Call, ...]:
    """The calls that lead to `frame`, the innermost first, as far as they help to find the line to change."""
    if frame is not None and own((code := frame.f_code).co_filename):
        return _three(frame, code)
    calls: list[Call] = []
    left = deepest
    searching = True
    while left and frame is not None:
        code = frame.f_code
        if code is LOOP_STEP or code is _HOOK_STEP:
            break
        calls.append((code, frame.f_lasti))
        if searching and own(code.co_filename):
            searching = False
            left = min(left, _CALLERS + 1)
        left -= 1
        frame = frame.f_back
    return tuple(calls)
