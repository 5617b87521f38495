"""Who holds an object: the shortest way to it from a module, a fixture or a context variable, in words."""

from __future__ import annotations

from types import CellType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_taskleak.growth import heap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LONGEST = 10
"""Links that are shown; of a longer chain the middle is left out."""


class _Step(NamedTuple):
    holder: Any
    name: str
    thing: Any


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


def words(links: Sequence[Any], names: Mapping[int, str]) -> str:
    """A chain as a person reads it: "module.CACHE (dict) -> Session".

    Args:
        links: The objects from a root on.
        names: The roots' names, by address, where they have any.
    """
    first = links[0]
    in_path = isinstance(first, ModuleType)  # the names that follow are the parts of a dotted one
    parts = [first.__name__ if in_path else f"{names.get(id(first), 'something')} ({type(first).__name__})"]
    for holder, name, thing in _steps(links):
        if in_path and name and isinstance(holder, (ModuleType, type)):
            parts[-1] += f".{name}"
            if isinstance(thing, (ModuleType, type)):
                continue
            parts[-1] += f" ({type(thing).__name__})"
        else:
            named = name or (thing.__qualname__ if isinstance(thing, (type, FunctionType)) else "")
            parts.append(f"{named} ({type(thing).__name__})" if named else type(thing).__name__)
        in_path = False
    if len(parts) > _LONGEST:
        parts[_LONGEST // 2 : -_LONGEST // 2] = ["…"]
    return " -> ".join(parts)


def _holder(thing: object, level: Sequence[object]) -> object:
    """The first of a level that refers to `thing`."""
    while len(level) > 1:
        half = len(level) // 2
        refers = id(thing) in map(id, heap.referents(level[:half]))
        level = level[:half] if refers else level[half:]
    return level[0]


def _steps(links: Sequence[Any]) -> Iterator[_Step]:
    """Links with their names; what only stands between an object and its attributes is left out."""
    position = 0
    while position < len(links) - 1:
        holder, thing, *rest = links[position:]
        closure = holder.__closure__ if isinstance(holder, FunctionType) else None
        if rest and _is_namespace(holder, thing):
            yield _Step(holder, _key(thing, rest[0]), rest[0])
            position += 2
        elif closure is not None and thing is closure and len(rest) > 1:
            free = dict(zip(map(id, closure), holder.__code__.co_freevars, strict=True))
            yield _Step(holder, f"closure `{free[id(rest[0])]}`", rest[1])
            position += 3
        else:
            yield _Step(holder, "" if isinstance(holder, CellType) else _key(_attributes(holder), thing), thing)
            position += 1


def _is_namespace(holder: Any, thing: object) -> bool:
    return type(thing) is dict and (isinstance(holder, type) or _attributes(holder) is thing)


def _attributes(holder: Any) -> dict[Any, Any]:
    """An object's own attributes: a chain may pass by the dict that they are in, since there may be none."""
    try:
        found: Any = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        return {}
    names: dict[Any, Any] = {}
    return found if type(found) is type(names) else names


def _key(names: Mapping[Any, Any], thing: object) -> str:
    return next((name for name, value in names.items() if value is thing and isinstance(name, str)), "")
