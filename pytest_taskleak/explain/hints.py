"""Which sentence says what to change: that of the most specific cause that fits."""

from __future__ import annotations

import ast
import functools
import itertools
import linecache
from typing import TYPE_CHECKING, NamedTuple, TypedDict, Unpack

from pytest_taskleak.distributions import INSTALLED
from pytest_taskleak.explain.causes import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_taskleak.explain.causes.row import Row
    from pytest_taskleak.findings import Place

_MAKERS = ("create_task", "ensure_future")
_OF_TASKS = ("pending", "lost-exception")
_PLAIN = (*_MAKERS, "_ensure_future")
_OF_A_STATE, _OF_A_LIBRARY, _OF_ASYNCIO, _OF_A_WAIT, _OF_A_KIND = 32, 16, 6, 3, 1


class Known(TypedDict, total=False):
    """What else is known of a leak.

    Attributes:
        state: What became of a task, where that decides.
        never: Whether nothing alive can wake it.
        waits: Where it waits, the outermost frame first.
        created: Where it was made, the innermost frame first.
    """

    state: str
    never: bool
    waits: Sequence[Place]
    created: Sequence[Place]


def hint(kind: str, on: str = "", **known: Unpack[Known]) -> str:
    """What to change, in one sentence; for the arguments see `cause`."""
    return TABLE[cause(kind, on, **known)].text


def cause(kind: str, on: str = "", **known: Unpack[Known]) -> str:
    """The most specific cause of the table that fits, by name.

    A library in whose functions it waits, or that made it, is more specific than the call of asyncio that made it,
    that is more than what it waits for, and that more than what it is. What became of it is the most.

    Args:
        kind: What was found, as in `leak.Kind`.
        on: What a task waits for; which sort of its kind another thing is.
        known: What else is known of it.
    """
    waits, created = known.get("waits", ()), known.get("created", ())
    stands, made = set(_functions(waits[::-1])), set(_functions(created))
    if kind in _OF_TASKS and _discarded(created):
        made.add(("", "discarded"))
    if _is_a_librarys(waits, created):
        made.add(("a library", "closing" if _closes(created) else "any"))
    facts = _Facts(kind, on, known.get("state", ""), known.get("never", False), stands, made)
    return max(TABLE, key=lambda name: _fits(TABLE[name], facts))


class _Facts(NamedTuple):
    """What is known of a leak."""

    kind: str
    on: str
    state: str
    never: bool
    stands: set[tuple[str, str]]
    made: set[tuple[str, str]]


def _fits(row: Row, facts: _Facts) -> int:
    """How specific a row is that fits; below 0 where it does not."""
    if row.kinds and facts.kind not in row.kinds:
        return -1
    if (row.on and facts.on not in row.on) or row.state not in ("", facts.state) or row.never > facts.never:
        return -1
    if not _is_there(row, facts):
        return -1
    of_where = _OF_ASYNCIO if row.package in ("", "asyncio") else _OF_A_LIBRARY
    return (
        _OF_A_STATE * bool(row.state)
        + of_where * bool(row.stands or row.made)
        + _OF_A_WAIT * bool(row.on)
        + _OF_A_KIND * bool(row.kinds)
        + row.never
    )


def _is_there(row: Row, facts: _Facts) -> bool:
    """Whether one of the row's functions took part; where it names none, it does not matter who did."""
    if "*" in row.stands:
        return any(package == row.package for package, _ in facts.stands)
    here = any((row.package, name) in facts.stands for name in row.stands)
    return here or any((row.package, name) in facts.made for name in row.made) or not (row.stands or row.made)


def _functions(places: Iterable[Place]) -> Iterator[tuple[str, str]]:
    """Package and name of each function, the innermost first; of asyncio's that call each other only the outermost."""
    last: tuple[str, str] | None = None
    for place in places:
        package = "" if place.own else place.module.partition("/")[0].removesuffix(".py")
        if last is not None and (last[0], package) != ("asyncio", "asyncio"):
            yield last
        last = package, place.function
    if last is not None:
        yield last


def _is_a_librarys(waits: Sequence[Place], created: Sequence[Place]) -> bool:
    """Whether an installed library made it, and no line of the project's own takes part in it."""
    maker = next((place for place in created if not place.module.startswith("asyncio/")), None)
    installed = maker is not None and not maker.own and any(part in maker.path for part in INSTALLED)
    return installed and not any(place.own for place in waits)


def _closes(created: Sequence[Place]) -> bool:
    """Whether it was made by what the project's own code calls to end it."""
    theirs = itertools.takewhile(lambda place: not place.own, created)
    return any(place.function.rpartition(".")[2] in _ENDS for place in theirs)


_ENDS = ("__aexit__", "__exit__", "aclose", "close", "disconnect", "shutdown", "stop")


def _discarded(created: Sequence[Place]) -> bool:
    """Whether the line that made a task does nothing with it: `asyncio.create_task(...)` as a statement of its own."""
    place = next((place for place in created if place.own), None)
    if place is None or any(it.function not in _PLAIN for it in created[: created.index(place)]):
        return False
    name, column = _statements("".join(linecache.getlines(place.path))).get(place.line, ("", 0))
    return name in _MAKERS and place.column in (None, column)


@functools.lru_cache(maxsize=8)
def _statements(source: str) -> dict[int, tuple[str, int]]:
    """The calls that are statements of their own, by line: name of the function, and the column."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # changed meanwhile, or a template
        return {}
    found: dict[int, tuple[str, int]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            name = str(getattr(function, "attr", None) or getattr(function, "id", ""))
            found[node.value.lineno] = name, node.value.col_offset
    return found
