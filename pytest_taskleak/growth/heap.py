"""All objects that are the user's: what is reached from modules, fixtures and context variables."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import itertools
import sys
import threading
from collections import Counter
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pytest_taskleak.growth.barriers import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from pytest_taskleak.growth.barriers import Barriers


class Root(NamedTuple):
    """Where a walk begins.

    Attributes:
        name: As it is shown, "" for a module, which has a name of its own.
        thing: The object.
    """

    name: str
    thing: object


class Reach(NamedTuple):
    """What a walk came to, nearest first. It keeps the user's objects alive, so it must not be kept.

    Attributes:
        levels: The roots, then what they refer to, and so on; every object once.
    """

    levels: list[list[object]]

    def counts(self) -> Counter[type]:
        """How many there are of each type."""
        counts = Counter[type]()
        for level in self.levels:
            counts.update(map(type, level))
        return counts

    def ids(self) -> set[int]:
        """The addresses of all."""
        return {key for level in self.levels for key in map(id, level)}


def roots(barriers: Barriers, own: Iterable[str], fixtures: Iterable[Root]) -> list[Root]:
    """Modules, the project's own first, and what no module leads to.

    Args:
        barriers: Tells the tools' modules.
        own: Names of modules of the project's own.
        fixtures: What is reached through pytest alone: the values of fixtures.
    """
    first = dict.fromkeys(own)
    modules = [*(sys.modules.get(name) for name in first), *list(sys.modules.values())]
    found = [Root("", module) for module in modules if issubclass(type(module), ModuleType)]
    found += fixtures
    variables = contextvars.copy_context().items()
    found += [Root(f"context variable `{var.name}`", value) for var, value in variables if var.name not in VARIABLES]
    return [root for root in found if id(root.thing) not in barriers.ids and _entered(barriers, root.thing)]


def reach(start: Iterable[Root], barriers: Barriers) -> Reach:
    """Walk from the roots to all that they lead to, past no barrier; weak references lead nowhere.

    Going over the objects through what they refer to, and not through the collector's list, finds also those that
    the collector does not follow: strings and numbers, and dicts of nothing else. A level at a time is at the speed
    of C: about a second for a million objects.
    """
    passes, enters = barriers.passes, barriers.enters
    seen = set(barriers.ids)
    level = list({id(root.thing): root.thing for root in start}.values())
    seen.update(map(id, level))
    levels: list[list[object]] = []
    while level:
        levels.append(level)
        found = referents(level)
        by_id = dict(zip(map(id, found), found, strict=True))
        level = [thing for key, thing in by_id.items() if key not in seen and (passes[type(thing)] or enters(thing))]
        seen.update(by_id)
    return Reach(levels)


@contextlib.contextmanager
def collected() -> Generator[None]:
    """Collect all garbage, then let the collector rest until the end of the block."""
    enabled = gc.isenabled()
    for _ in range(_COLLECTIONS):
        if not gc.collect():
            break
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


_COLLECTIONS = 3
"""Finalizers may leave garbage of their own."""


def _entered(barriers: Barriers, thing: object) -> bool:
    return barriers.passes[type(thing)] or barriers.enters(thing)


def referents(things: Sequence[object]) -> list[Any]:
    """All that some objects refer to, also what they do not tell the collector."""
    return [*gc.get_referents(*things), *_unfollowed(things)]


def _unfollowed(level: Sequence[object]) -> list[Any]:
    """A dict's keys if all are strings, a thread's own values in a `threading.local`."""
    dicts: list[Any] = [thing for thing in level if isinstance(thing, dict)]
    keys = cast("Any", dict).__iter__  # a subclass may have another one
    found: list[Any] = list(itertools.chain.from_iterable(map(keys, dicts)))
    if threading.local in set(map(type, level)):
        found += [thing.__dict__ for thing in level if type(thing) is threading.local]
    return found


def chain(thing: object, levels: Sequence[list[object]]) -> list[Any]:
    """The objects that lead to `thing`, itself the last, from a root on.

    Args:
        thing: An object that a walk came to in the level after the last of `levels`.
        levels: The levels before it, the roots first.
    """
    links = [thing]
    for level in reversed(levels):
        links.append(_holder(links[-1], level))
    return links[::-1]


def _holder(thing: object, level: Sequence[object]) -> object:
    """The first of a level that refers to `thing`."""
    while len(level) > 1:
        half = len(level) // 2
        refers = id(thing) in map(id, referents(level[:half]))
        level = level[:half] if refers else level[half:]
    return level[0]
