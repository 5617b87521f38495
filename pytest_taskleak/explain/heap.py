"""Who holds what, as far as it was looked at: the heap, with every reference accounted for."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import time
import types
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from pytest_taskleak.explain.alive import is_alive, is_forgotten, is_named_ours, is_ours

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_BELOW = 1_000
"""Objects looked at below the tasks; what is not among them is searched for in the heap."""
_MOST_SEARCHED = 500
"""Objects whose holders are searched for in one pass over the heap."""

_REGISTERS = (
    ("asyncio.tasks", "_all_tasks"),
    ("asyncio.tasks", "_scheduled_tasks"),
    ("anyio._backends._asyncio", "_task_states"),
)
"""Weak collections in which every task is found, and that wake none."""

_GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class Heap:
    """What is known of who holds what. It holds each object once, so that its own references can be told.

    Attributes:
        objects: What was looked at, by id.
        searched: The ids of those whose holders were searched for in all of the heap, or given up.
        found: The ids of those whose holders were found, as far as there are any to be found.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self.objects: dict[int, object] = {}
        self._holders: dict[int, set[int]] = {}
        self._accounted: Counter[int] = Counter()
        self._ours: set[int] = set()
        self._in_hand: set[int] = set()
        self.searched: set[int] = set()
        self.found: set[int] = set()
        self._none = _references({0: object()}, 0)

    def root(self, task: asyncio.Task[Any]) -> tuple[int, ...]:
        """Take in a task and the future that it waits for; nothing where it waits for none."""
        future: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
        if future is None or task.done():
            return ()
        self.add(task)
        self.add(future)
        return id(task), id(future)

    def own(self, tasks: Sequence[asyncio.Task[Any]], named: Sequence[asyncio.Task[Any]]) -> None:
        """Take in what refers to tasks without a part in it: asyncio's registers, and whoever is looking."""
        for module, name in _REGISTERS:
            register = getattr(sys.modules.get(module), name, None)
            self._own(getattr(register, "data", None))
        for loop in {task.get_loop() for task in tasks}:
            self._own(getattr(getattr(loop, "_asyncgens", None), "data", None))
        self._own(tasks)
        self._own(named)
        for task in named:
            self.add(task)
        frame: types.FrameType | None = sys._getframe(2)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - whoever asks
        while frame is not None:
            code = frame.f_code
            if is_named_ours(frame.f_globals.get("__name__")) and not code.co_flags & _GENERATORS:
                self._own_locals(frame.f_locals, [name for name in code.co_varnames if name not in code.co_cellvars])
            frame = frame.f_back

    def _own_locals(self, local: Any, names: list[str]) -> None:
        if isinstance(local, dict):
            self._own(cast("object", local))  # a copy that the frame keeps, up to 3.12
        values: list[Any] = [local[name] for name in names if name in local]
        for value in values:
            kind = cast("Any", type(value))
            if issubclass(kind, asyncio.Task) and id(value) not in self._in_hand:
                # Once, however many frames pass it on: on 3.14 an argument may be lent, and not counted.
                self._in_hand.add(id(value))
                self._accounted[id(value)] += 1
            elif kind is list and all(issubclass(cast("Any", type(it)), asyncio.Task) for it in value):
                self._own(value)

    def _own(self, thing: object) -> None:
        if thing is not None:
            self.add(thing)
            self._ours.add(id(thing))

    def is_late(self) -> bool:
        """Whether the time for the search is used up."""
        return time.thread_time() > self._deadline

    def add(self, thing: object) -> bool:
        """Take in an object and what it refers to; whether it is new."""
        key = id(thing)
        if key in self.objects:
            return False
        self.objects[key] = thing
        if is_ours(thing):
            self._ours.add(key)
        # A module is alive, whatever it holds; `_asyncio`, asked on 3.12.0 to 3.12.2, tells of freed iterators.
        kind = cast("Any", type(thing))  # `isinstance` would ask the user's `__class__`
        held = [id(it) for it in gc.get_referents(thing)] if not issubclass(kind, types.ModuleType) else []
        if issubclass(kind, asyncio.Future):
            callbacks: list[tuple[object, object]] = getattr(thing, "_callbacks", None) or []
            # The traversal of a task leaves out its first callback, up to 3.11.
            held += [id(callback) for callback, _ in callbacks[:1] if id(callback) not in held]
        self._accounted.update(held)
        for it in held:
            self._holders.setdefault(it, set()).add(key)
        return True

    def look_below(self) -> None:
        """Take in what the tasks hold: most of who holds what they wait for is there, and the heap is large."""
        level = [self.objects[key] for key in list(self.objects) if key not in self._ours]
        while level and len(self.objects) < _MOST_BELOW and not self.is_late():
            below: list[object] = []
            for thing in level:
                if not is_alive(thing):
                    below += [it for it in _below(thing) if gc.is_tracked(it) and self.add(it)]
            level = below

    def holders(self, key: int) -> list[int]:
        """Whoever is known to hold it, and has a part in it."""
        return [
            holder
            for holder in self._holders.get(key, ())
            if holder not in self._ours and not is_forgotten(self.objects[holder], self.objects[key])
        ]

    def is_ours(self, key: int) -> bool:
        """Whether it only looks on: this plugin's, or a register of asyncio's."""
        return key in self._ours

    def take_weak(self, key: int) -> None:
        """Take in the weak references to it, as if they held it: who has one can come by."""
        for weak in weakref.getweakrefs(self.objects[key]):
            self.add(weak)
            self._holders.setdefault(key, set()).add(id(weak))

    def lacks(self, key: int) -> bool:
        """Whether somebody holds it who was not found."""
        return _references(self.objects, key) - self._none > self._accounted[key]

    def search(self, keys: list[int]) -> None:
        """Look for who holds `keys` in all of the heap; what is left out then counts as held by somebody alive."""
        self.searched.update(keys)
        self.found.update(keys[:_MOST_SEARCHED])
        things = [self.objects[key] for key in keys[:_MOST_SEARCHED]]
        found = gc.get_referrers(*things)
        mine = {id(self.objects), id(things), id(found)}
        alone = _references({0: object()}, 0)
        while found:
            counted = {0: found.pop()}
            kind = cast("Any", type(counted[0]))
            # The tuple of arguments is among them on 3.13, and nobody else's.
            passed = kind is tuple and _references(counted, 0) <= alone and id(counted[0]) not in self.objects
            if id(counted[0]) not in mine and not passed:
                self.add(counted[0])


def _references(objects: dict[int, object], key: int) -> int:
    """How many there are to one of `objects`, with the reference of `objects` and those of the call itself."""
    return sys.getrefcount(objects[key])


def _below(thing: object) -> list[object]:
    """What a thing holds, without the globals of a function."""
    if type(thing) is types.FunctionType:
        return [*(thing.__closure__ or ()), *(thing.__defaults__ or ())]
    return gc.get_referents(thing)
