"""Who holds a thing: the nearest object that has a name."""

from __future__ import annotations

import asyncio
import gc
import sys
import types
from typing import Any, cast

from pytest_taskleak.attributes import attributes

_FARTHEST = 5
_MOST = 200
"""Objects looked at per step; a container with a thousand holders is not told apart by their number."""

_CONTAINERS = (dict, list, tuple, set, frozenset)


def held_by(thing: object) -> str:
    """Name what holds `thing`: "`Bot.waiting`", "`bot.PENDING`", "`reader` of `serve`"; "" where nobody does.

    Climbs through plain containers (source of the algorithm: `gc.get_referrers`, breadth first). What is frozen by
    `gc.freeze` is not seen.
    """
    level: list[object] = [thing]
    seen: set[int] = {id(level)}
    frame = sys._getframe()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - this function's own references are nobody's
    for _ in range(_FARTHEST):
        above: list[object] = []
        seen |= {id(above), *(id(it) for it in level)}
        for child in level[:_MOST]:
            for holder in gc.get_referrers(child):
                if id(holder) in seen or holder is frame or _is_ours(holder):
                    continue
                if name := _named(holder, child):
                    return name
                if isinstance(holder, _CONTAINERS) or type(cast("object", holder)).__name__ == "deque":
                    above.append(cast("object", holder))
        level = above
    return ""


def _is_ours(holder: object) -> bool:
    """Whether it is this plugin's, or pytest's, that has the thing in hand just now."""
    if isinstance(holder, types.FrameType):
        return str(holder.f_globals.get("__name__", "")).startswith(_OURS)
    return type(holder).__module__.startswith(_OURS)


_OURS = ("pytest_taskleak", "_pytest", "pluggy")


def _named(holder: object, child: object) -> str:
    """The name under which `holder` holds `child`, "" where it is no more than a container."""
    if isinstance(holder, dict):
        return _in_namespace(cast("dict[object, object]", holder), child)
    if isinstance(holder, (types.FrameType, types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)):
        return _among_locals(holder, child)
    if isinstance(holder, (*_CONTAINERS, types.CellType, types.MethodType, asyncio.Handle)):
        return ""
    name = next((name for name, value in attributes(holder) if value is child), None)
    return f"`{type(holder).__qualname__}.{name}`" if name is not None else ""


def _in_namespace(mapping: dict[object, object], child: object) -> str:
    key = next((key for key, value in list(mapping.items()) if value is child), None)
    for above in gc.get_referrers(mapping):
        if _is_ours(above):
            continue
        if isinstance(above, types.ModuleType):
            return f"`{above.__name__}.{key}`"
        if isinstance(above, type):
            return f"`{above.__qualname__}.{key}`"
        if _is_namespace(above, mapping):
            return f"`{type(above).__qualname__}.{key}`"
    return ""


def _is_namespace(holder: object, mapping: object) -> bool:
    try:
        return object.__getattribute__(holder, "__dict__") is mapping
    except AttributeError:
        return False


def _among_locals(holder: Any, child: object) -> str:
    frames = (getattr(holder, name, None) for name in ("cr_frame", "gi_frame", "ag_frame"))
    frame = holder if isinstance(holder, types.FrameType) else next((it for it in frames if it is not None), None)
    if frame is None:
        return ""
    name = next((name for name, value in list(frame.f_locals.items()) if value is child), None)
    return f"`{name}` of `{frame.f_code.co_qualname}`" if name is not None else ""
