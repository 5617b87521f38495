"""Work that a test started and a wider fixture keeps: adopted, unless it piles up."""

from __future__ import annotations

import asyncio
import types
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from pytest_taskleak.attributes import attributes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from pytest_taskleak.model import Call, Origin, Owner

_MOST_OBJECTS = 20_000
"""The walk through a fixture's value ends there; measured to be enough for the pools of real clients."""

_OPAQUE = (
    asyncio.Future,
    asyncio.Handle,
    asyncio.AbstractEventLoop,
    types.CoroutineType,
    types.GeneratorType,
    types.AsyncGeneratorType,
    types.FrameType,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    type,
    str,
    bytes,
    bytearray,
    int,
    float,
    complex,
)

_DICT = dict[object, object]
_CONTAINERS = (list, tuple, set, frozenset, deque)

_RUNNERS = ("_pytest.", "pluggy.", "pytest_asyncio.")
"""A test runner's own objects (a `request` in a fixture's locals) lead to every test: what they reach, nobody holds."""


class LiveFixture(Protocol):
    """A fixture that is set up and not yet finalized.

    Attributes:
        owner: The fixture as an owner.
    """

    owner: Owner

    def roots(self) -> list[object]:
        """What the fixture keeps at the moment: its value, and the locals of its generator."""
        ...

    def can_clean_up(self) -> bool:
        """Whether anything runs at its end."""
        ...


def holders(things: Iterable[object], fixtures: Iterable[LiveFixture]) -> dict[int, LiveFixture]:
    """Which fixture holds which thing, by its id: the very object, in the plain data of the fixture's value."""
    wanted = {id(thing) for thing in things}
    held: dict[int, LiveFixture] = {}
    for fixture in fixtures:
        if not wanted:
            break
        for key in reached(fixture.roots(), wanted):
            held[key] = fixture
            wanted.discard(key)
    return held


def reached(roots: Iterable[object], wanted: Collection[int]) -> list[int]:
    """Which objects, by id, the plain data of `roots` leads to."""
    found: list[int] = []
    seen: set[int] = set()
    todo: deque[object] = deque(roots)
    while todo and len(seen) < _MOST_OBJECTS and len(found) < len(wanted):
        thing = todo.popleft()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if id(thing) in wanted:
            found.append(id(thing))
        elif thing is not None and not isinstance(thing, _OPAQUE) and not _leads_everywhere(type(thing)):
            todo.extend(_parts(thing))
    return found


def _leads_everywhere(cls: type) -> bool:
    """Whether such an object is a runner's, or a loop policy: up to 3.13 its threads lead to every subprocess."""
    return cls.__module__.startswith(_RUNNERS) or hasattr(cls, "new_event_loop")


def _parts(thing: Any) -> Iterator[object]:
    """Plain data only: no property, no `__getattr__` and no iterator of the user's is called."""
    if isinstance(thing, dict):
        mapping = cast("dict[object, object]", thing)
        yield from list(_DICT.keys(mapping))
        yield from list(_DICT.values(mapping))
    elif isinstance(thing, _CONTAINERS) and type(cast("object", thing)).__module__ in ("builtins", "collections"):
        yield from tuple(cast("Iterable[object]", thing))
    for _, value in attributes(cast("object", thing)):
        yield value


class _Left(NamedTuple):
    """What a test left with a fixture.

    Attributes:
        test: The test.
        ref: The task or future.
        wakes: When the short sleep ends that it was left in, by its loop's clock; 0 for none.
    """

    test: str
    ref: weakref.ref[asyncio.Future[Any]]
    wakes: float

    def is_alive(self) -> bool:
        future = self.ref()
        return future is not None and not future.done()

    def may_end(self) -> bool:
        """Whether it is still in that sleep, after which it may well be over: a handler that is merely slow."""
        future = self.ref()
        return bool(self.wakes) and future is not None and future.get_loop().time() < self.wakes


_SHORT = 10.0
"""Seconds: who sleeps for longer is not about to end."""


class Adoptions:
    """Counts what stays with fixtures, by the test that left it, to tell a pool from a pile.

    A pile is told by identity: what an earlier test left is still alive, and this test leaves another of the same
    kind with the same fixture. Nothing is kept alive.
    """

    def __init__(self) -> None:
        self._left: dict[tuple[Owner, object, object], list[_Left]] = {}

    def leave(
        self, fixture: Owner, test: str, task: asyncio.Task[Any], origin: Origin, *, wakes: float = 0.0
    ) -> list[str]:
        """Note that `test` left `task` with `fixture`.

        Args:
            fixture: The fixture.
            test: The test.
            task: The task.
            origin: Where it came from.
            wakes: When the sleep ends that it waits in, by its loop's clock; 0 where it waits in none.

        Returns:
            The tests that left one of the same kind which is still alive, and has slept out where it slept, in their
            order, this one last.
        """
        coroutine = task.get_coro()
        kind = getattr(coroutine, "cr_code", None) or getattr(coroutine, "__qualname__", type(coroutine))
        soon = wakes if wakes and wakes - task.get_loop().time() < _SHORT else 0.0
        return self._leave(fixture, kind, origin.calls, _Left(test, weakref.ref(task), soon))

    def leave_future(
        self, fixture: Owner, test: str, future: asyncio.Future[Any], kind: object, calls: Sequence[Call]
    ) -> list[str]:
        """The same for a future of any kind, made by `calls`."""
        return self._leave(fixture, kind, calls, _Left(test, weakref.ref(future), 0.0))

    def _leave(self, fixture: Owner, kind: object, calls: Sequence[Call], left: _Left) -> list[str]:
        key = (fixture, kind, calls[0][0] if calls else None)
        entries = self._left.setdefault(key, [])
        entries[:] = [it for it in entries if it.is_alive()]
        if all(it.ref() is not left.ref() for it in entries):
            entries.append(left)
        return list(
            dict.fromkeys([*(it.test for it in entries if it.test != left.test and not it.may_end()), left.test])
        )

    def forget(self, fixture: Owner) -> None:
        """The fixture has ended."""
        if not self._left:
            return
        for key in [key for key in self._left if key[0] is fixture]:
            del self._left[key]
