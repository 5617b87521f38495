"""Threads, executors and loops: which of them go on, whose they are, and what is kept on purpose."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import os
import sys
import threading
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from pytest_taskleak.places import ASYNCIO

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from types import CodeType, FrameType

    from pytest_taskleak.model import Call

_STEP = 0.002
"""Seconds between two looks while time is given."""

_DEEPEST = 100
"""Frames of a thread that are looked at, the innermost ones: a recursion of thousands would only repeat itself."""


def outlasting(threads: Iterable[threading.Thread], grace: float) -> list[threading.Thread]:
    """The threads that are still alive after at most `grace` seconds; where all end sooner, so does the wait.

    The time is counted in steps: what a clock says may be under a user's control. Nothing of the user's is called,
    as a class of threads may well make of `join` what ends it.
    """
    alive = [thread for thread in threads if threading.Thread.is_alive(thread)]
    for _ in range(round(grace / _STEP)):
        if not alive:
            break
        threading.Thread.join(alive[0], _STEP)
        alive = [thread for thread in alive if threading.Thread.is_alive(thread)]
    return alive


def standing(thread: threading.Thread) -> tuple[Call, ...]:
    """The calls in which a thread stands at this moment, the innermost first; no frame is kept."""
    frame: FrameType | None = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - documented, and the only way
    calls: list[Call] = []
    while frame is not None and len(calls) < _DEEPEST:
        calls.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    del frame
    return tuple(calls)


def is_idle(calls: Sequence[Call]) -> bool:
    """Whether an executor's thread that stands there waits for work."""
    return bool(calls) and calls[0][0].co_name == "_worker" and _is_pools(calls[0][0])


def busy_in(calls: Sequence[Call]) -> str:
    """The function that an executor's thread runs, by qualified name; "" where it is no Python."""
    inside = ""
    for code, _ in calls:
        if _is_pools(code):
            return inside
        inside = code.co_qualname
    return ""


def _is_pools(code: CodeType) -> bool:
    return code.co_filename.startswith(_POOLS)


_POOLS = os.path.dirname(concurrent.futures.__file__) + os.sep  # noqa: PTH120 - code objects carry strings, compared as such
_PROCESSES = os.path.join(os.path.dirname(ASYNCIO.rstrip(os.sep)), "multiprocessing", "")  # noqa: PTH118, PTH120 - as above
_HELPERS = (ASYNCIO, _POOLS, _PROCESSES)


def is_helper(calls: Sequence[Call]) -> bool:
    """Whether the standard library made it for something that is judged itself, or ended with it.

    Such are a loop's default executor, the thread that waits for a child process, the one that feeds a queue between
    processes.
    """
    return bool(calls) and calls[0][0].co_filename.startswith(_HELPERS)


def is_first_own(calls: Sequence[Call], own: Callable[[str], bool], standard: Callable[[str], bool]) -> bool:
    """Whether the first of the creating frames that is not the standard library's is the project's own code.

    What a library makes may be for the life of the process, and is its affair, whoever called it; but uvloop's
    `new_event_loop` is no more than asyncio's own: whoever calls it makes the loop.
    """
    for code, _ in calls:
        if own(code.co_filename):
            return True
        if not standard(code.co_filename) and code.co_name not in _CONSTRUCTORS:
            return False
    return False


_CONSTRUCTORS = ("new_event_loop", "_loop_factory")


def is_started_through_a_wrapper(thread: threading.Thread, calls: Sequence[Call], own: Callable[[str], bool]) -> bool:
    """Whether a library starts a function of its own, and the project's code merely wraps `Thread.start`."""
    code: CodeType | None = getattr(getattr(thread, "_target", None) or type(thread).run, "__code__", None)
    if code is None or len(calls) <= 1 or own(code.co_filename):
        return False
    return calls[1][0].co_filename == code.co_filename


def is_closed_by_its_maker(calls: Sequence[Call]) -> bool:
    """Whether a loop was made by what also closes it (a Runner), or on demand, where nobody has it to close."""
    return any(
        code.co_filename.startswith(ASYNCIO)
        and (code.co_name == "get_event_loop" or os.path.basename(code.co_filename) == "runners.py")  # noqa: PTH119 - as above
        for code, _ in calls
    )


def current_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that `asyncio.get_event_loop` gives in this thread, None where it would make one, or raise.

    Asking it would do that; what it looks at has no public name.
    """
    policy = getattr(asyncio.events, "_event_loop_policy", None)
    return getattr(getattr(policy, "_local", None), "_loop", None)


def is_default_of(executor: object, loops: Iterable[asyncio.AbstractEventLoop]) -> bool:
    """Whether one of these loops will shut the executor down, since it is its default one.

    uvloop's loops have no attribute for it, and are asked by reference.
    """
    for loop in loops:
        if isinstance(loop, asyncio.BaseEventLoop):
            if getattr(loop, "_default_executor", None) is executor:
                return True
        elif any(it is executor for it in gc.get_referents(loop)):
            return True
    return False


def process_wide(wanted: Collection[int], own: Callable[[str], bool]) -> set[int]:
    """Which of these things, by id, the project's modules keep: in a global, or an attribute of what a global is.

    What is made lazily and kept there is meant to live as long as the process.
    """
    modules = [it for it in list(sys.modules.values()) if own(str(getattr(it, "__file__", None) or ""))]
    kept = (id(value) for module in modules for it in list(vars(module).values()) for value in _with_attributes(it))
    return {key for key in kept if key in wanted}


_CACHE = type(functools.cache(len))


def _with_attributes(thing: Any) -> Iterator[object]:
    yield thing
    if isinstance(thing, ModuleType):
        return
    if isinstance(thing, _CACHE):  # what a function gave once, for ever
        for it in gc.get_referents(thing):
            if isinstance(it, dict):
                yield from list(cast("dict[object, object]", it).values())
    try:
        attributes: object = object.__getattribute__(cast("object", thing), "__dict__")
    except AttributeError:
        return
    if isinstance(thing, type):
        attributes = type.__dict__["__dict__"].__get__(thing)
    if isinstance(attributes, (dict, MappingProxyType)):
        yield from list(cast("dict[str, object]", attributes).values())
