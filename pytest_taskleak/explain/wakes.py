"""Whether anything that is alive could wake a task, or it waits for ever."""

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

from pytest_taskleak.explain.alive import is_alive, is_forgotten, is_named_ours, is_ours, runs_elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_taskleak.model import Prospect

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


def prospects(tasks: Sequence[asyncio.Task[Any]], budget: float) -> dict[int, Prospect]:
    """Say of each pending task, by its id, whether anything that is alive could wake it.

    Guarantees: "never wakes" is said only where every reference to the task, to the future that it waits for and to
    whatever leads to these was found, and leads to tasks of which the same is true. What is not certain "may wake".

    The holders of each are climbed (source of the algorithm: `gc.get_referrers`, breadth first, for all tasks
    together), weak references among them. References that are found nowhere are those of running frames, of threads
    and of C, which are alive.

    Args:
        tasks: Theirs; the list itself does not count as somebody who holds them.
        budget: Seconds of processor time of this thread from which on those that are still open are "not examined".
    """
    told: dict[int, Prospect] = {id(task): "may wake" for task in tasks}
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return told  # references are not counted there, or not exactly
    heap = _Heap(time.thread_time() + budget)
    roots = {id(task): root for task in tasks if not runs_elsewhere(task) and (root := heap.root(task))}
    heap.own(tasks)
    asleep = heap.asleep(roots)
    found: Prospect = "not examined" if asleep is None else "never wakes"
    told.update(dict.fromkeys(roots if asleep is None else asleep, found))
    return told


class _Heap:
    """What is known of who holds what. It holds each object once, so that its own references can be told."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._objects: dict[int, object] = {}
        self._holders: dict[int, set[int]] = {}
        self._accounted: Counter[int] = Counter()
        self._ours: set[int] = set()
        self._in_hand: set[int] = set()
        self._searched: set[int] = set()
        self._none = _references({0: object()}, 0)

    def root(self, task: asyncio.Task[Any]) -> tuple[int, ...]:
        """Take in a task and the future that it waits for; nothing where it waits for none."""
        future: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
        if future is None or task.done():
            return ()
        self._add(task)
        self._add(future)
        return id(task), id(future)

    def own(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """Take in what refers to tasks without a part in it: asyncio's registers, and whoever is looking."""
        for module, name in _REGISTERS:
            register = getattr(sys.modules.get(module), name, None)
            self._own(getattr(register, "data", None))
        for loop in {task.get_loop() for task in tasks}:
            self._own(getattr(getattr(loop, "_asyncgens", None), "data", None))
        self._own(tasks)
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
            self._add(thing)
            self._ours.add(id(thing))

    def asleep(self, roots: dict[int, tuple[int, ...]]) -> set[int] | None:
        """The tasks that nothing alive leads to; None where the time did not suffice to say."""
        self._look_below()
        starts = set(roots)
        while True:
            reached = self._climb(key for start in starts for key in roots[start])
            if reached is None:
                return None
            woken = self._woken(reached)
            starts = {start for start in starts if not woken.intersection(roots[start])}
            lacking = [key for key in reached - woken - self._searched if self._lacks(key)]
            if not starts or not lacking:
                return starts
            if self._is_late():
                return None
            self._search(lacking)

    def _is_late(self) -> bool:
        return time.thread_time() > self._deadline

    def _add(self, thing: object) -> bool:
        key = id(thing)
        if key in self._objects:
            return False
        self._objects[key] = thing
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

    def _look_below(self) -> None:
        """Take in what the tasks hold: most of who holds what they wait for is there, and the heap is large."""
        level = [self._objects[key] for key in list(self._objects) if key not in self._ours]
        while level and len(self._objects) < _MOST_BELOW and not self._is_late():
            below: list[object] = []
            for thing in level:
                if not is_alive(thing):
                    below += [it for it in _below(thing) if gc.is_tracked(it) and self._add(it)]
            level = below

    def _climb(self, keys: Iterable[int]) -> set[int] | None:
        """Whatever leads to `keys`, as far as it is known; None where it took too long."""
        reached: set[int] = set()
        todo = list(keys)
        while todo:
            key = todo.pop()
            if key in reached or key in self._ours:
                continue
            reached.add(key)
            if not len(reached) % 1_000 and self._is_late():
                return None
            if is_alive(self._objects[key]):
                continue
            for weak in weakref.getweakrefs(self._objects[key]):
                self._add(weak)
                self._holders.setdefault(key, set()).add(id(weak))
            todo += self._led_from(key)
        return reached

    def _led_from(self, key: int) -> list[int]:
        return [
            holder
            for holder in self._holders.get(key, ())
            if holder not in self._ours and not is_forgotten(self._objects[holder], self._objects[key])
        ]

    def _woken(self, reached: set[int]) -> set[int]:
        """The part of `reached` that something alive leads to."""
        held: dict[int, list[int]] = {}
        for key in reached:
            if not is_alive(self._objects[key]):
                for holder in self._led_from(key):
                    held.setdefault(holder, []).append(key)
        todo = [key for key in reached if is_alive(self._objects[key]) or (key in self._searched and self._lacks(key))]
        woken: set[int] = set()
        while todo:
            key = todo.pop()
            if key not in woken:
                woken.add(key)
                todo += held.get(key, ())
        return woken

    def _lacks(self, key: int) -> bool:
        """Whether somebody holds it who was not found."""
        return _references(self._objects, key) - self._none > self._accounted[key]

    def _search(self, keys: list[int]) -> None:
        """Look for who holds `keys` in all of the heap; what is left out then counts as held by somebody alive."""
        self._searched.update(keys)
        things = [self._objects[key] for key in keys[:_MOST_SEARCHED]]
        found = gc.get_referrers(*things)
        mine = {id(self._objects), id(things), id(found)}
        alone = _references({0: object()}, 0)
        while found:
            counted = {0: found.pop()}
            kind = cast("Any", type(counted[0]))
            # The tuple of arguments is among them on 3.13, and nobody else's.
            passed = kind is tuple and _references(counted, 0) <= alone and id(counted[0]) not in self._objects
            if id(counted[0]) not in mine and not passed:
                self._add(counted[0])


def _references(objects: dict[int, object], key: int) -> int:
    """How many there are to one of `objects`, with the reference of `objects` and those of the call itself."""
    return sys.getrefcount(objects[key])


def _below(thing: object) -> list[object]:
    """What a thing holds, without the globals of a function."""
    if type(thing) is types.FunctionType:
        return [*(thing.__closure__ or ()), *(thing.__defaults__ or ())]
    return gc.get_referents(thing)
