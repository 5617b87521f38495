"""Follows a pending task to the thing that it waits for."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import re
import types
from typing import TYPE_CHECKING, Any, cast

from pytest_taskleak.attributes import attributes
from pytest_taskleak.explain.waits import WAITS, Wait, of_future
from pytest_taskleak.places import ASYNCIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

GIVEN_BY_ASYNCIO = re.compile(r"Task-\d+|None")  # 3.13.0 names the tasks of some factories "None"

_DEEPEST = 200

_GROUP = "TaskGroup.__aexit__"
"""The end of a block with tasks of its own: asyncio's, and anyio's."""

_FRAMES = (("cr_frame", "cr_await"), ("ag_frame", "ag_await"), ("gi_frame", "gi_yieldfrom"))


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting:
    """What a task waits for, while it does. It holds the user's frames: drop it as soon as it is put into words.

    Attributes:
        frames: Where it stands, the outermost frame first.
        wait: The thing it waits for, in words.
        on: The tasks that it waits for.
    """

    frames: tuple[FrameType, ...]
    wait: Wait
    on: tuple[asyncio.Future[Any], ...]


def waiting(task: asyncio.Task[Any]) -> Waiting:
    """Follow a task's awaits to the innermost frame and the future that it waits for.

    Source of the algorithm: `cr_await`, `ag_await` and `gi_yieldfrom`, as `inspect` documents them.
    """
    frames = frames_of(task)
    future = waited_for(task)
    wait = of_future(task, future)
    for frame in reversed(frames):
        if not frame.f_code.co_filename.startswith(ASYNCIO):
            break
        describe = WAITS.get(frame.f_code.co_qualname)
        if describe is not None:
            # The outermost of asyncio's frames is the call that the user wrote.
            wait = describe(frame.f_locals, task.get_loop(), wait)
    if frames and frames[-1].f_code.co_qualname == _GROUP:
        wait = WAITS[_GROUP](frames[-1].f_locals, task.get_loop(), wait)
    return Waiting(frames, wait, leads_to(frames, future))


def leads_to(frames: tuple[FrameType, ...], future: asyncio.Future[Any] | None) -> tuple[asyncio.Future[Any], ...]:
    """The futures, tasks among them, whose end would let a task go on: as far as the next tasks."""
    ways = [*([future] if future is not None else []), *named_by(frames)]
    found: dict[int, asyncio.Future[Any]] = {}
    while ways:
        way = ways.pop()
        if id(way) not in found:
            found[id(way)] = way
            ways += () if isinstance(way, asyncio.Task) else beneath(way)
    return tuple(found.values())


def frames_of(task: asyncio.Task[Any]) -> tuple[FrameType, ...]:
    """Where a task stands, the outermost frame first. They are the user's: do not keep them."""
    return tuple(_frames(task.get_coro()))


def waited_for(task: asyncio.Task[Any]) -> asyncio.Future[Any] | None:
    """The future that wakes a task, None where it is ready to run."""
    return getattr(task, "_fut_waiter", None)


def wakes_at(task: asyncio.Task[Any]) -> float:
    """When, by its loop's clock, the `asyncio.sleep` ends that a pending task waits in; 0 where it waits in none."""
    for frame in reversed(tuple(_frames(task.get_coro()))):
        if not frame.f_code.co_filename.startswith(ASYNCIO):
            break
        if frame.f_code.co_qualname == "sleep":
            timer: asyncio.TimerHandle | None = frame.f_locals.get("h")
            return timer.when() if timer is not None else 0.0
    return 0.0


def in_hand(task: asyncio.Task[Any]) -> list[object]:
    """The objects that a pending task works with: the locals of its frames. They are the user's: do not keep them."""
    return [value for frame in _frames(task.get_coro()) for value in list(frame.f_locals.values())]


def _frames(awaitable: object) -> Iterator[FrameType]:
    for _ in range(_DEEPEST):
        for frame_name, next_name in _FRAMES:
            frame: FrameType | None = getattr(awaitable, frame_name, None)
            if frame is not None:
                yield frame
                awaitable = getattr(awaitable, next_name)
                break
        else:
            awaitable = _inside(awaitable)
        if awaitable is None:
            return


def _inside(awaitable: object) -> object:
    """The coroutine or generator inside an awaitable that has no attribute to say so (`asend`, a wrapper)."""
    if awaitable is None or isinstance(awaitable, asyncio.Future):
        return None
    if type(awaitable).__name__ == "anext_awaitable":  # `anext` with a default, around what it awaits
        awaitable = next(iter(gc.get_referents(awaitable)), None)
        if any(getattr(awaitable, name, None) is not None for name, _ in _FRAMES):
            return awaitable
    for inner in gc.get_referents(awaitable):
        if any(getattr(inner, name, None) is not None for name, _ in _FRAMES):
            return inner
    return None


def cells(callback: object) -> tuple[object, ...]:
    """The variables that a callback closes over: `shield` keeps what it shields there."""
    return getattr(callback, "__closure__", None) or ()


def beneath(future: asyncio.Future[Any]) -> Iterator[asyncio.Future[Any]]:
    """The futures whose end ends a future that asyncio made around them: by `gather`, by `shield`."""
    yield from getattr(future, "_children", ())
    for callback, *_ in getattr(future, "_callbacks", None) or ():
        if not isinstance(callback, types.FunctionType) or callback.__qualname__ not in _LEAD_DOWN:
            continue
        for name, cell in zip(callback.__code__.co_freevars, cells(callback), strict=True):
            if name == _LEAD_DOWN[callback.__qualname__]:
                yield from (it for it in gc.get_referents(cell) if isinstance(it, asyncio.Future))


_LEAD_DOWN = {
    "shield.<locals>._outer_done_callback": "inner",
    "_chain_future.<locals>._call_check_cancel": "source",
}
"""Callbacks of the outer future with their variable for the inner one; those of the inner one lead to who waits."""


def named_by(frames: tuple[FrameType, ...]) -> Iterator[asyncio.Future[Any]]:
    """The futures, tasks among them, that calls wait for by a future of their own: `wait`, `wait_for`, task groups."""
    for frame in frames:
        name = frame.f_code.co_qualname
        if name == _GROUP:
            tasks = dict(attributes(frame.f_locals.get("self"))).get("_tasks")
            if isinstance(tasks, set):
                yield from (it for it in list(cast("set[object]", tasks)) if isinstance(it, asyncio.Future))
        if not frame.f_code.co_filename.startswith(ASYNCIO):
            continue
        if name in ("_wait", "wait"):
            yield from (it for it in list(frame.f_locals.get("fs", ())) if isinstance(it, asyncio.Future))
        elif name == "wait_for" and isinstance(frame.f_locals.get("fut"), asyncio.Future):
            yield frame.f_locals["fut"]
