"""The whole await graph around a pending task, in words: what awaits what, and with which local variables."""

from __future__ import annotations

import asyncio
import functools
import gc
import re
import reprlib
import types
from typing import TYPE_CHECKING, Any

from pytest_taskleak.attributes import attributes
from pytest_taskleak.explain.awaiting import GIVEN_BY_ASYNCIO, beneath, cells, frames_of, leads_to, named_by, waited_for
from pytest_taskleak.leak import Link, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from pytest_taskleak.places import Places

_DEEPEST = 40
"""Steps of the graph below each other."""
_MOST = 200
"""Lines of one graph."""
_MOST_LOCALS = 10
_LONGEST = 100
"""Characters of one value."""


def await_graph(task: asyncio.Task[Any], places: Places) -> tuple[Link, ...]:
    """What a pending task awaits, down to what nobody has settled, and the tasks that await it.

    The values of local variables are asked for by `repr`, which may be the user's code: call it only where that was
    asked for. What a `__repr__` raises is named in the place of its value, and harms nothing.
    """
    graph = _Graph(places)
    try:
        graph.down(task, 0, ())
        graph.up(task, 0, {id(task)})
    except Exception as error:  # noqa: BLE001 - the leak is told all the same
        graph.add(0, f"the graph could not be followed any further: {type(error).__name__}")
    return tuple(graph.links)


class _Graph:
    """The lines so far."""

    def __init__(self, places: Places) -> None:
        self.links: list[Link] = []
        self._places = places
        self._told: set[int] = set()

    def add(self, depth: int, text: str, frame: FrameType | None = None) -> None:
        """Add a line, as long as there is room."""
        if len(self.links) < _MOST:
            place = self._places.place((frame.f_code, frame.f_lasti)) if frame is not None else None
            self.links.append(Link(depth, text, place))
        elif len(self.links) == _MOST:
            self.links.append(Link(0, "… and more", None))

    def down(self, future: asyncio.Future[Any], depth: int, above: tuple[int, ...]) -> None:
        """What a future, or a task, is, and what it waits for."""
        label = _label(future)
        if id(future) in above:
            self.add(depth, f"{label}: a circle, it is above")
        elif id(future) in self._told:
            self.add(depth, f"{label}: told above")
        elif depth > _DEEPEST:
            self.add(depth, f"{label}: … and so on")
        elif len(self.links) <= _MOST:
            self._told.add(id(future))
            self.add(depth, label)
            path = (*above, id(future))
            below = self._stand(future, depth + 1) if isinstance(future, asyncio.Task) else beneath(future)
            for inner in [it for it in below if not it.done()]:
                self.down(inner, depth + 1, path)

    def _stand(self, task: asyncio.Task[Any], depth: int) -> list[asyncio.Future[Any]]:
        """The frames of a task; what they wait for is given."""
        frames = frames_of(task)
        for frame in frames:
            self.add(depth, frame.f_code.co_qualname, frame)
            if self._places.own(frame.f_code.co_filename) and len(self.links) < _MOST:
                for text in _local_variables(frame):
                    self.add(depth + 1, text)
        named = sorted({id(it): it for it in named_by(frames)}.values(), key=_order)  # most of them come from sets
        future = waited_for(task)
        return named or ([future] if future is not None else [])

    def up(self, task: asyncio.Task[Any], depth: int, seen: set[int]) -> None:
        """The tasks that wait for a task, and those that wait for them."""
        waiters = [it for it in _waiters(task) if id(it) not in seen]
        if not waiters or depth > _DEEPEST:
            return
        self.add(depth, "awaited by")
        for waiter in waiters:
            seen.add(id(waiter))
            frames = frames_of(waiter)
            self.add(depth + 1, _label(waiter))
            own = [frame for frame in frames if self._places.own(frame.f_code.co_filename)]
            for frame in (own or list(frames))[-1:]:
                self.add(depth + 2, frame.f_code.co_qualname, frame)
            self.up(waiter, depth + 2, seen)


def _order(future: asyncio.Future[Any]) -> tuple[int, str]:
    """By name, as tasks are numbered; "Task-9" before "Task-10"."""
    name = future.get_name() if isinstance(future, asyncio.Task) else ""
    return len(name), name


def _label(future: asyncio.Future[Any]) -> str:
    if isinstance(future, asyncio.Task):
        coroutine = future.get_coro()
        runs = getattr(coroutine, "__qualname__", None) or type(coroutine).__qualname__
        name = future.get_name()
        return f"task {runs}" if GIVEN_BY_ASYNCIO.fullmatch(name) else f"task {name!r}, {runs}"
    children: list[asyncio.Future[Any]] | None = getattr(future, "_children", None)
    if children is not None:
        return f"gather: {sum(not child.done() for child in children)} of {len(children)} go on"
    callbacks = [callback for callback, *_ in getattr(future, "_callbacks", None) or ()]
    names = [callback.__qualname__ for callback in callbacks if isinstance(callback, types.FunctionType)]
    if any("_chain_future" in name for name in names):
        return "the result of a thread"
    if "shield.<locals>._outer_done_callback" in names:
        return "shield"
    return "a future that nobody has settled"


# -- who waits


def _waiters(task: asyncio.Task[Any]) -> list[asyncio.Task[Any]]:
    """The pending tasks whose own awaits lead to a task."""
    candidates: dict[int, asyncio.Task[Any]] = {}
    seen: set[int] = set()
    ways: list[asyncio.Future[Any]] = [task]
    while ways:
        for above in _above(ways.pop()):
            if id(above) in seen or above.done():
                continue
            seen.add(id(above))
            if isinstance(above, asyncio.Task):
                candidates[id(above)] = above
            else:
                ways.append(above)
    return [it for it in candidates.values() if it is not task and _waits_for(it, task)]


def _above(future: asyncio.Future[Any]) -> Iterator[asyncio.Future[Any]]:
    """Who may go on when a future ends: by its callbacks, and by what asyncio notes of it from 3.14 on."""
    yield from getattr(future, "_asyncio_awaited_by", None) or ()
    for callback, *_ in getattr(future, "_callbacks", None) or ():
        known: list[object] = []
        if isinstance(callback, functools.partial):
            known += callback.args
        elif isinstance(callback, (types.MethodType, types.BuiltinMethodType)):
            known.append(callback.__self__)
        elif isinstance(callback, types.FunctionType):
            known += gc.get_referents(*cells(callback))
        for thing in known:
            if isinstance(thing, asyncio.Future):
                yield thing
            elif type(thing).__name__ == "TaskGroup":
                yield from _parent_of(thing)


def _parent_of(group: object) -> Iterator[asyncio.Future[Any]]:
    """The task that runs the block of a task group: asyncio's, or anyio's, whose scope knows it."""
    names = dict(attributes(group))
    scope = dict(attributes(names["cancel_scope"])) if "cancel_scope" in names else {}
    for parent in (names.get("_parent_task"), scope.get("_host_task")):
        if isinstance(parent, asyncio.Future):
            yield parent


def _waits_for(task: asyncio.Task[Any], wanted: asyncio.Task[Any]) -> bool:
    """Whether the awaits of a task lead to another: asyncio's notes may be older than that."""
    return any(way is wanted for way in leads_to(frames_of(task), waited_for(task)))


# -- local variables


def _local_variables(frame: FrameType) -> Iterator[str]:
    values = list(frame.f_locals.items())
    for name, value in values[:_MOST_LOCALS]:
        yield f"{name} = {_value(value)}"
    if len(values) > _MOST_LOCALS:
        yield f"and {len(values) - _MOST_LOCALS} more variables"


class _Repr(reprlib.Repr):
    def repr_instance(self, x: object, level: int) -> str:  # noqa: ARG002 - the signature is reprlib's
        try:
            return _short(repr(x))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the user's own code
            return f"<{type(x).__qualname__}, whose `repr()` raised {type(error).__name__}>"


_REPR = _Repr()
_REPR.maxstring = _REPR.maxother = _LONGEST


def _value(value: object) -> str:
    try:
        text = _REPR.repr(value)
    except Exception as error:  # noqa: BLE001 - a class that bears the name of a container, and is none
        text = f"<{type(value).__qualname__}, whose `repr()` raised {type(error).__name__}>"
    return _short(plain(_ADDRESS.sub("", text)))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{4,}")
"""What tells nothing, and is another in each run."""
