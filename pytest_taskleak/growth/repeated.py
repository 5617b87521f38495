"""Counts objects while a test is repeated, and tells which of them grow with it."""

from __future__ import annotations

import contextlib
import inspect
import tracemalloc
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_taskleak import chains
from pytest_taskleak.findings import blame
from pytest_taskleak.growth import heap
from pytest_taskleak.growth.barriers import Barriers
from pytest_taskleak.growth.rule import Growth, growth
from pytest_taskleak.leak import Leak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_taskleak.findings import Place
    from pytest_taskleak.growth.heap import Reach, Root
    from pytest_taskleak.model import Owner
    from pytest_taskleak.places import Places

_MOST = 20
"""Types that are told of: where more grow, the rest hang on one of these."""

_CONTAINERS = (dict, list, set, frozenset, tuple)
"""Types that tell nothing: what grows in them is named first."""

_HINTS = {
    "_lru_cache_wrapper": "Bound the cache (`maxsize`); a cached method keeps every `self`: cache in the instance "
    "(`functools.cached_property`), or let a function of plain values be cached."
}
_HINT = (
    "Take out again what the test put in, in the code's own `close()` or in a fixture's teardown; or let the holder "
    "forget: a `deque(maxlen=...)`, an `lru_cache(maxsize=...)`, a weak dictionary."
)


class _Grown(NamedTuple):
    """A type that grows, with one of the instances that the repetitions brought."""

    kind: str
    growth: Growth
    thing: Any
    links: list[Any]


class Counts:
    """The counts of one test, a row for each time; it keeps names and numbers, and nothing of the user's."""

    def __init__(self, tools: Iterable[str], own: Iterable[str], fixtures: Callable[[], list[Root]]) -> None:
        """Make it for a test.

        Args:
            tools: Modules of pytest plugins, by name.
            own: Modules of the project's own, by name.
            fixtures: What live fixtures keep.
        """
        self._tools = tuple(tools)
        self._own = tuple(own)
        self._fixtures = fixtures
        self._rows: list[dict[str, int]] = []
        self._before = array("Q")

    def count(self) -> None:
        """Count what is there: after the warm-ups, then after each repetition."""
        with heap.collected():
            reach, _ = self._reach()
            row: dict[str, int] = {}
            for kind, number in reach.counts().items():
                row[_key(kind)] = row.get(_key(kind), 0) + number
            if not self._rows:
                self._before = array("Q", reach.ids())
            self._rows.append(row)

    def leaks(self, test: Owner, line: Place | None, places: Places) -> list[Leak]:
        """What grows: a leak for each holder.

        Args:
            test: Whose repetitions were counted.
            line: Where it is defined.
            places: Tells the project's own files.
        """
        rows = [[row.get(key, 0) for row in self._rows] for key in self._rows[-1]]
        grows = {key: found for key, row in zip(self._rows[-1], rows, strict=True) if (found := growth(row))}
        if not grows:
            return []
        with heap.collected():
            reach, names = self._reach()
            before = set(self._before)
            groups = _groups(_examples(reach, grows, before), before)
            return [_leak(group, names, test, line, places) for group in groups]

    def _reach(self) -> tuple[Reach, dict[int, str]]:
        barriers = Barriers(self._tools)
        roots = heap.roots(barriers, self._own, self._fixtures())
        return heap.reach(roots, barriers), {id(root.thing): root.name for root in roots}


def _key(kind: type) -> str:
    """The same for a class that each run of the test makes anew."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _examples(reach: Reach, grows: Mapping[str, Growth], before: set[int]) -> list[_Grown]:
    """An instance of each type, the nearest to a root first, and first those that tell more."""
    kinds = {kind: key for kind in reach.counts() if (key := _key(kind)) in grows}
    found: dict[str, _Grown] = {}
    # Where none is new by its address, an old one was replaced by a new one there.
    for old in (before, frozenset[int]()):
        if len(found) == min(len(set(kinds.values())), _MOST):
            break
        for depth, level in enumerate(reach.levels):
            new = {
                kinds[type(thing)]: thing for thing in reversed(level) if type(thing) in kinds and id(thing) not in old
            }
            for key, thing in sorted(new.items(), key=lambda item: (_is_plain(type(item[1])), item[0])):
                if key not in found and len(found) < _MOST:
                    links = heap.chain(thing, reach.levels[:depth])
                    found[key] = _Grown(type(thing).__name__, grows[key], thing, links)
    return list(found.values())


def _is_plain(kind: type) -> bool:
    return kind.__module__ == "builtins"


def _groups(examples: Sequence[_Grown], before: set[int]) -> list[list[_Grown]]:
    """Those with the same holder together, with what they hold themselves."""
    groups: list[list[_Grown]] = []
    for grown in examples:
        above = {type(link).__name__ for link in grown.links[:-1] if id(link) not in before}
        for group in groups:
            same_holder = len(grown.links) > 1 and grown.links[-2] is group[0].links[-2]
            if same_holder or above & {other.kind for other in group}:
                group.append(grown)
                break
        else:
            groups.append([grown])
    telling = [any(type(grown.thing) not in _CONTAINERS for grown in group) for group in groups]
    told = [group for group, tells in zip(groups, telling, strict=True) if tells]
    if told:
        # Whose a plain container is, its type does not tell: it is a cause of its own only where nothing else grows.
        told[0] += [grown for group, tells in zip(groups, telling, strict=True) if not tells for grown in group]
    return told or groups


def _leak(group: Sequence[_Grown], names: Mapping[int, str], test: Owner, line: Place | None, places: Places) -> Leak:
    first = next((grown for grown in group if type(grown.thing) not in _CONTAINERS), group[0])
    made, defined = _made(first.thing, places), _defined(first.thing, places)
    holder = next((type(link).__name__ for link in first.links if type(link).__name__ in _HINTS), "")
    return Leak(
        kind="growth",
        task="",
        coroutine=first.kind,
        verdict=_each_time(first),
        detail=", ".join(map(str, first.growth.counts)),
        hint=_HINTS.get(holder, _HINT),
        settled="",
        waits=(line,) if line is not None else (),
        created=(made,) if made is not None else (),
        ancestors=((first.kind, defined),) if defined is not None else (),
        **blame(test),
        phase="",
        children=tuple(_each_time(grown) for grown in group if grown is not first),
        holders=held_by(first.links, names),
    )


def held_by(links: Sequence[Any], names: Mapping[int, str]) -> str:
    """Who holds the last of a chain, in words; names are those of roots, by id."""
    first = f"{names.get(id(links[0]), 'something')} ({type(links[0]).__name__})"
    return chains.joined([part.text for part in chains.parts(links, first)])


def _each_time(grown: _Grown) -> str:
    """In words: "+1 Session each time (5 of 5)"."""
    steps, times, repetitions = grown.growth.steps, grown.growth.times, grown.growth.repetitions
    least, most = min(steps), max(steps)
    number = f"+{least}" if least == most else f"+{least} to +{most}"
    often = "each time" if times == repetitions else "every other time" if times <= (repetitions + 1) // 2 else "mostly"
    return f"{number} {grown.kind} {often} ({times} of {repetitions})"


def _made(thing: object, places: Places) -> Place | None:
    """The line that made it, where `tracemalloc` was on: the innermost of the project's own."""
    trace = tracemalloc.get_object_traceback(thing)
    frames = list(reversed(trace)) if trace is not None else []
    frame = next((frame for frame in frames if places.own(frame.filename)), None)
    return places.line(frame.filename, frame.lineno) if frame is not None else None


def _defined(thing: object, places: Places) -> Place | None:
    """The line at which its class is defined, where that is the project's own."""
    kind: Any = type(thing)
    with contextlib.suppress(OSError, TypeError):  # made by a function or in C: there is no such line
        path = inspect.getsourcefile(kind)
        if path is not None and places.own(path):
            return places.line(path, inspect.getsourcelines(kind)[1])
    return None
