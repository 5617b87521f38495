"""Who holds a leaked task: the shortest way to it from something alive, in words."""

from __future__ import annotations

import asyncio
import sys
import threading
import types
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pytest_taskleak import chains

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_taskleak.explain.heap import Heap

NOBODY = "nobody"
"""Said where every reference to a task was found, and none comes from anything alive."""
_UNSEEN = "something out of Python's sight: a running function, a thread or C code"

_FARTHEST = 30
"""Links from the task on: who holds it from farther away is no news."""
_MOST_CLIMBED = 5_000
"""Objects that are looked at on the way up, for all tasks together."""
_LOOKS_ON = ("_pytest", "pluggy")
"""Packages that have a test's objects in hand while it runs, and do nothing with them."""


class Kept(NamedTuple):
    """Who holds a task.

    Attributes:
        holders: The way from something alive, "nobody", or "" where it was not found out.
        suspect: The part of it to look at: the last that the project's own code wrote, "" where none is.
    """

    holders: str
    suspect: str = ""


def keepers(heap: Heap, tasks: Iterable[int], own: Callable[[str], bool]) -> dict[int, Kept]:
    """Say of tasks, by id, who holds them.

    All are climbed together, level by level (source of the algorithm: `gc.get_referrers`, breadth first), so that each
    level is one look at the heap. asyncio's registers, weak references, this plugin and pytest's hold nobody; a fixture
    does that is wider than the test.

    Args:
        heap: What was looked at so far; the search ends with its time.
        tasks: The ids of pending ones, which the heap has taken in.
        own: Whether the file of that name is the project's own code.
    """
    climbs = {task: _Climb(task) for task in tasks}
    kept: dict[int, Kept] = {}
    for _ in range(_FARTHEST):
        level = {key for climb in climbs.values() for key in climb.level}
        lacking = [key for key in level - heap.found if heap.lacks(key)]
        if heap.is_late() or sum(len(climb.above) for climb in climbs.values()) > _MOST_CLIMBED:
            return kept
        if lacking:
            heap.search(lacking)
        for key, climb in list(climbs.items()):
            roots = climb.up(heap)
            if roots or not climb.level:
                kept[key] = _nearest(roots, climb, heap, own) if roots else Kept(_UNSEEN if climb.unseen else NOBODY)
                del climbs[key]
        if not climbs:
            break
    return kept


class _Climb:
    """The way up from one task: of each object that leads to it, the next one on the way down."""

    def __init__(self, task: int) -> None:
        self.above: dict[int, int] = {task: 0}
        self.level = [task]
        self.unseen = False

    def up(self, heap: Heap) -> list[int]:
        """Go one level up; those that are alive, and have a name, of that level."""
        found: list[int] = []
        before = self.level
        self.level = list[int]()
        for key in before:
            self.unseen = self.unseen or heap.lacks(key)
            for holder in heap.holders(key):
                if holder in self.above:
                    continue
                self.above[holder] = key
                thing = heap.objects[holder]
                if _is_root(thing, heap.objects[key]):
                    found.append(holder)
                elif not _holds_nobody(thing):
                    self.level.append(holder)
        return found

    def links(self, key: int, heap: Heap) -> list[Any]:
        """The objects from one that is above the task down to it."""
        links: list[Any] = []
        while key:
            links.append(heap.objects[key])
            key = self.above[key]
        return links


def _nearest(roots: Iterable[int], climb: _Climb, heap: Heap, own: Callable[[str], bool]) -> Kept:
    """Of ways of the same length the first by its words, so that it is the same one in every run."""
    return min((_told(climb.links(key, heap), own) for key in roots), key=lambda kept: (not kept.suspect, kept))


def _is_root(thing: Any, held: object) -> bool:
    kind = cast("Any", type(thing))  # `isinstance` would ask the user's `__class__`
    if kind is dict:
        return _module(thing) is not None and not _is_afterthought(thing, held)
    if kind in _SUSPENDED:
        return bool(getattr(thing, "cr_running", False) or getattr(thing, "gi_running", False))
    if issubclass(kind, asyncio.Handle):
        return not thing.cancelled()
    if _fixture(thing):
        return True
    return issubclass(kind, _ROOTS) or str(kind.__module__).startswith("uvloop")


_ROOTS = (type, types.TracebackType, threading.Thread, asyncio.AbstractEventLoop, asyncio.BaseTransport)
_SUSPENDED = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)


def _is_afterthought(names: dict[str, Any], held: object) -> bool:
    """Whether pytest's note of the last failure, for debuggers, is all that holds it."""
    return names.get("__name__") == "sys" and all(
        name.startswith("last_") for name, value in list(names.items()) if value is held
    )


def _module(names: dict[Any, Any]) -> types.ModuleType | None:
    """The module whose names these are; pytest's are nobody's."""
    if "__spec__" not in names or not isinstance(name := names.get("__name__"), str):
        return None
    module = sys.modules.get(name)
    if module is None or vars(module) is not names or name.partition(".")[0] in _LOOKS_ON:
        return None
    return module


def _fixture(thing: Any) -> str:
    """The name of a fixture wider than the test, "" for what is none."""
    kind = cast("Any", type(thing))
    if not str(kind.__module__).startswith("_pytest.fixtures") or kind.__name__ != "FixtureDef":
        return ""
    return str(thing.argname) if thing.scope != "function" else ""


def _holds_nobody(thing: object) -> bool:
    kind = cast("Any", type(thing))
    if issubclass(kind, (weakref.ReferenceType, types.ModuleType)):
        return True
    if kind is dict and "__spec__" in thing and "__name__" in thing:  # type: ignore[operator]
        return True
    if kind is types.FrameType:
        return str(cast("Any", thing).f_globals.get("__name__", "")).startswith(_LOOKS_ON)
    return str(kind.__module__).partition(".")[0] in _LOOKS_ON


def _told(links: Sequence[Any], own: Callable[[str], bool]) -> Kept:
    """A way in words. The task itself ends it, and is told only by the name that it is held by."""
    *parts, last = chains.parts(_with_module(links), _first(links[0]))
    told = [_task_named(part) for part in parts if not _only_between(part)]
    name, _, kind = last.text.rpartition(" (")
    if name and kind:
        told.append(last._replace(text=name if told else last.text))
    elif not told:
        told = [last]
    writers = [part.text for part in told if own(_file(part.writer))]
    return Kept(chains.joined([part.text for part in told]), writers[-1] if writers else "")


def _with_module(links: Sequence[Any]) -> Sequence[Any]:
    """With a module in the place of its names, and before a class of its own."""
    first: Any = links[0]
    kind = cast("Any", type(first))
    if kind is dict and (module := _module(first)):
        return [module, *links]
    if issubclass(kind, type):
        module = sys.modules.get(first.__module__)
        if module is not None and vars(module).get(first.__name__) is first:
            return [module, vars(module), *links]
    return links


def _first(thing: Any) -> str:
    """What is alive, in words; a module has its name."""
    kind = cast("Any", type(thing))
    if name := _fixture(thing):
        return f"fixture `{name}`"
    known = next((words for known, words in _FIRST.items() if issubclass(kind, known)), "")
    if known or str(kind.__module__).startswith("uvloop"):
        return known or ("a timer of the loop" if kind.__name__ == "TimerHandle" else "the loop")
    if issubclass(kind, threading.Thread):
        return f"thread {thing.name!r}"
    if kind in _SUSPENDED:
        return f"running `{thing.__qualname__}`"
    return f"{thing.__module__}.{thing.__qualname__}" if issubclass(kind, type) else str(kind.__name__)


_FIRST: dict[type, str] = {
    asyncio.TimerHandle: "a timer of the loop",
    asyncio.Handle: "a callback that the loop has yet to run",
    asyncio.AbstractEventLoop: "the loop",
    types.TracebackType: "the traceback of an exception",
}


def _only_between(part: chains.Part) -> bool:
    """Whether it is a cell, arguments, or a bound method without a name: nothing that anybody wrote."""
    kind = cast("Any", type(part.thing))
    if kind is tuple and _fixture(part.writer):
        return True
    return part.text == kind.__name__ and (kind in _BETWEEN or kind.__name__ in _WAKERS)


_BETWEEN = (
    tuple,
    types.CellType,
    types.BuiltinMethodType,
    types.MethodType,
    types.MethodWrapperType,
    types.FrameType,
    *_SUSPENDED,
)


_WAKERS = ("TaskStepMethWrapper", "TaskWakeupMethWrapper")
"""What asyncio's C code puts between a future and the task that waits for it."""


def _task_named(part: chains.Part) -> chains.Part:
    """A task on the way by what it runs: its type tells nothing."""
    kind = cast("Any", type(part.thing))
    if not issubclass(kind, asyncio.Task) or part.text != kind.__name__:
        return part
    coroutine = part.thing.get_coro()
    return part._replace(text=f"task of `{getattr(coroutine, '__qualname__', type(coroutine).__qualname__)}`")


def _file(writer: Any) -> str:
    """The file in which a module, a class, an object's class or a coroutine is written; "" where there is none."""
    kind = cast("Any", type(writer))
    codes = (getattr(writer, name, None) for name in _CODES if kind in _HAVE_CODE)
    code: types.CodeType | None = next((code for code in codes if code is not None), None)
    if code is not None:
        return code.co_filename
    name: object = (writer if issubclass(kind, type) else kind).__module__
    module = writer if kind is types.ModuleType else sys.modules.get(str(name))
    return str(getattr(module, "__file__", None) or "")


_CODES = ("cr_code", "gi_code", "ag_code", "__code__", "f_code")
_HAVE_CODE = (*_SUSPENDED, types.FunctionType, types.FrameType)
