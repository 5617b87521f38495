"""Follows a pending task to the thing that it waits for."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from typing import TYPE_CHECKING, Any

from pytest_taskleak.explain.waits import WAITS, Wait, of_future
from pytest_taskleak.places import ASYNCIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_DEEPEST = 200

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
    frames = tuple(_frames(task.get_coro()))
    future: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
    wait = of_future(task, future)
    for frame in reversed(frames):
        if not frame.f_code.co_filename.startswith(ASYNCIO):
            break
        describe = WAITS.get(frame.f_code.co_qualname)
        if describe is not None:
            # The outermost of asyncio's frames is the call that the user wrote.
            wait = describe(frame.f_locals, task.get_loop(), wait)
    return Waiting(frames, wait, tuple(_awaited(frames, future)))


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
    for inner in gc.get_referents(awaitable):
        if any(getattr(inner, name, None) is not None for name, _ in _FRAMES):
            return inner
    return None


def _cells(callback: object) -> tuple[object, ...]:
    """The variables that a callback closes over: `shield` keeps what it shields there."""
    return getattr(callback, "__closure__", None) or ()


def _awaited(frames: tuple[FrameType, ...], future: asyncio.Future[Any] | None) -> Iterator[asyncio.Future[Any]]:
    """The futures, tasks among them, whose end would let the task go on."""
    if future is not None:
        yield future
        yield from getattr(future, "_children", ())
        for callback, *_ in getattr(future, "_callbacks", None) or ():
            yield from (it for it in gc.get_referents(*_cells(callback)) if isinstance(it, asyncio.Future))
    for frame in frames:
        if not frame.f_code.co_filename.startswith(ASYNCIO):
            continue
        name = frame.f_code.co_qualname
        if name in ("_wait", "wait"):
            yield from frame.f_locals.get("fs", ())
        elif name == "wait_for" and isinstance(frame.f_locals.get("fut"), asyncio.Future):
            yield frame.f_locals["fut"]
        elif name.startswith("TaskGroup."):
            yield from getattr(frame.f_locals.get("self"), "_tasks", ())
