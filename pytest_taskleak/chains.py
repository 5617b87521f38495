"""A chain of objects, each of which holds the next, in words."""

from __future__ import annotations

from types import AsyncGeneratorType, CellType, CoroutineType, FrameType, FunctionType, GeneratorType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LONGEST = 10
"""Links that are shown; of a longer chain the middle is left out."""


class _Step(NamedTuple):
    holder: Any
    name: str
    thing: Any


class Part(NamedTuple):
    """A link in words.

    Attributes:
        text: "module.CACHE (dict)", "Session", "tasks (set)".
        writer: The object, or the module or class, in which the name stands.
        thing: The object itself.
    """

    text: str
    writer: Any
    thing: Any


def parts(links: Sequence[Any], first: str) -> list[Part]:
    """A chain link by link; what only stands between an object and its attributes is no part of it.

    Args:
        links: The objects from one that is alive on.
        first: What the first is called, where it is no module, whose name is the beginning of a dotted one.
    """
    in_path = isinstance(links[0], ModuleType)
    told = [Part(links[0].__name__ if in_path else first, links[0], links[0])]
    for holder, name, thing in _steps(links):
        if in_path and name and isinstance(holder, (ModuleType, type)):
            dotted = f"{told[-1].text}.{name}"
            is_name = isinstance(thing, (ModuleType, type))
            told[-1] = Part(dotted if is_name else f"{dotted} ({type(thing).__name__})", holder, thing)
            if is_name:
                continue
        else:
            named = name or (thing.__qualname__ if isinstance(thing, (type, FunctionType)) else "")
            kind = type(thing).__name__
            told.append(Part(f"{named} ({kind})" if named else kind, holder, thing))
        in_path = False
    return told


def joined(texts: Sequence[str]) -> str:
    """Parts as a person reads them: "module.CACHE (dict) -> Session"."""
    shown = list(texts)
    if len(shown) > _LONGEST:
        shown[_LONGEST // 2 : -_LONGEST // 2] = ["…"]
    return " -> ".join(shown)


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
            yield _Step(holder, _name(holder, thing), thing)
            position += 1


def _name(holder: Any, thing: object) -> str:
    if isinstance(holder, CellType):
        return ""
    kind = cast("Any", type(holder))
    frame: FrameType | None = holder if kind is FrameType else None
    if issubclass(kind, (CoroutineType, GeneratorType, AsyncGeneratorType)):
        frames = (getattr(holder, name, None) for name in ("cr_frame", "gi_frame", "ag_frame"))
        frame = next((frame for frame in frames if frame is not None), None)
    if frame is not None:
        name = _key(frame.f_locals, thing)
        return f"local `{name}` of `{frame.f_code.co_qualname}`" if name else ""
    return _key(_attributes(holder), thing)


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
    return next((name for name, value in list(names.items()) if value is thing and isinstance(name, str)), "")
