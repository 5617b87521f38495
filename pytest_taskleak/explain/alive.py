"""What may act by itself, and what only looks on, among the things that hold others."""

from __future__ import annotations

import asyncio
import selectors
import threading
import types
from typing import Any, cast

_OURS = "pytest_taskleak"
_ALIVE = (
    *(types.ModuleType, type, threading.Thread, selectors.BaseSelector),
    *(asyncio.AbstractEventLoop, asyncio.BaseTransport),
)
_ONLY_WARN = ("asyncio", "anyio")
"""Packages whose `__del__` sets nothing; those of others may."""


def runs_elsewhere(task: asyncio.Task[Any]) -> bool:
    """Whether a task's loop runs in another thread, so that it changes while it is looked at."""
    loop = task.get_loop()
    return loop.is_running() and loop is not asyncio._get_running_loop()  # noqa: SLF001 - documented for event loop writers; never raises


def is_alive(thing: Any) -> bool:
    """Whether a thing may act by itself, or is where anybody may come by."""
    kind = cast("Any", type(thing))  # `isinstance` would ask the user's `__class__`
    if issubclass(kind, _ALIVE) or str(kind.__module__).startswith("uvloop"):
        return True
    if issubclass(kind, asyncio.Handle):
        return not thing.cancelled()
    if issubclass(kind, asyncio.Task):
        return not thing.done() and (getattr(thing, "_fut_waiter", None) is None or runs_elsewhere(thing))
    if kind is dict:
        return "__name__" in thing and "__spec__" in thing  # a module's names
    if kind in _SUSPENDED:
        return bool(getattr(thing, "cr_running", False) or getattr(thing, "gi_running", False))
    mro: tuple[type, ...] = kind.__mro__
    written = any(type(vars(base).get("__del__")) is types.FunctionType for base in mro)
    return written and not str(kind.__module__).startswith(_ONLY_WARN)


def is_ours(thing: Any) -> bool:
    """Whether it is this plugin's, which looks on and wakes nobody."""
    kind = cast("Any", type(thing))
    if kind is types.ModuleType:
        return is_named_ours(thing.__name__)
    if kind is types.FunctionType:
        return is_named_ours(thing.__globals__.get("__name__"))  # a wrapper bears the name of what it wraps
    if kind is dict:
        return "__spec__" in thing and is_named_ours(thing.get("__name__"))
    if kind in _SUSPENDED:
        frame: types.FrameType | None = getattr(thing, "gi_frame", None) or getattr(thing, "cr_frame", None)
        return frame is not None and is_named_ours(frame.f_globals.get("__name__"))
    return is_named_ours(kind.__module__)


_SUSPENDED = (types.CoroutineType, types.GeneratorType)


def is_named_ours(name: object) -> bool:
    """Whether a module of that name is this plugin's."""
    return isinstance(name, str) and (name == _OURS or name.startswith(f"{_OURS}."))


def is_forgotten(holder: Any, held: object) -> bool:
    """Whether pytest keeps it only until the test's fixtures are gone, and hands it to nobody any more."""
    kind = cast("Any", type(holder))
    if kind is dict:  # the attributes of one, where the interpreter keeps them apart
        names: dict[str, Any] = holder if "cached_result" in holder or "funcargs" in holder else {}
    elif any(str(base.__module__).startswith("_pytest.") for base in kind.__mro__):
        names = {name: _attribute(holder, name) for name in ("funcargs", "cached_result", "_scope", "_fixtureinfo")}
    else:
        return False
    if names.get("funcargs") is held:
        return names.get("_fixtureinfo") is not None
    return names.get("cached_result") is held and getattr(names.get("_scope"), "value", "") == "function"


def _attribute(holder: object, name: str) -> object:
    try:
        return object.__getattribute__(holder, name)
    except AttributeError:
        return None
