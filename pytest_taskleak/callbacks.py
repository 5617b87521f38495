"""What a handle calls, and what that is made of: the objects that it works for."""

from __future__ import annotations

import asyncio
import functools
import gc
import types
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator


def callbacks_of(handle: asyncio.Handle) -> tuple[object, ...]:
    """What a handle calls, and with what. uvloop's handles have no attribute for it, and are asked by reference."""
    callback: object = getattr(handle, "_callback", None)
    if callback is not None:
        return callback, *cast("tuple[object, ...]", getattr(handle, "_args", None) or ())
    found: list[object] = []
    for thing in gc.get_referents(handle):
        if isinstance(thing, tuple):
            found += cast("tuple[object, ...]", thing)
        elif not isinstance(thing, (asyncio.AbstractEventLoop, type)) and type(thing).__name__ != "Context":
            found.append(thing)
    return tuple(found)


def pieces(*things: object) -> Iterator[object]:
    """The parts that a callback is made of: a bound object, arguments in a partial or tuple, a function's closure."""
    todo = list(things)
    for thing in todo:  # grows
        if thing is None or len(todo) > _MOST_PIECES:
            continue
        yield thing
        if isinstance(thing, functools.partial):
            partial = cast("functools.partial[object]", thing)
            todo += [partial.func, *partial.args, *partial.keywords.values()]
        elif isinstance(thing, types.FunctionType):
            todo += [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
        elif isinstance(thing, (types.MethodType, types.BuiltinMethodType)):
            todo += [thing.__self__, getattr(thing, "__func__", None)]
        elif type(thing) is tuple:
            todo += cast("tuple[object, ...]", thing)


_MOST_PIECES = 100


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False
