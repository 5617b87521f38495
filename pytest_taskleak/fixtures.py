"""What pytest knows of fixtures and tests: what a fixture keeps, whether anything runs at its end, what a test runs."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pytest

_RUNNERS = ("pytest_asyncio.", "anyio.")
"""Modules whose own fixtures keep a loop. A user's async fixture has the user's module, also when it is wrapped."""

_GENERATORS = (types.GeneratorType, types.AsyncGeneratorType)


def roots(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> list[object]:
    """What a fixture keeps: its value, the locals of its suspended generator, the class it sets attributes on."""
    kept = values(fixturedef)
    holder: object = None
    asked: Any = request
    if fixturedef.func.__module__.startswith(_RUNNERS):
        return kept  # it keeps a loop, and nothing of the user's
    if fixturedef.scope == "class":
        holder = asked.cls
    elif fixturedef.scope == "module" and fixturedef.argname.startswith(("_xunit", "_unittest")):
        holder = asked.module
    if holder is not None:
        kept += list(vars(holder).values())
    return kept


def values(fixturedef: pytest.FixtureDef[Any]) -> list[object]:
    """What a fixture alone keeps: its value, and the locals of its suspended generator."""
    cached = fixturedef.cached_result
    kept: list[object] = [cached[0]] if cached is not None else []
    for finalizer in _finalizers(fixturedef):
        for generator in _generators(finalizer):
            frame = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
            kept += list(frame.f_locals.values()) if frame is not None else []
    return kept


def can_clean_up(fixturedef: pytest.FixtureDef[Any]) -> bool:
    """Whether anything of the user's runs when the fixture is finalized."""
    return any(not _of_pytest(finalizer) for finalizer in _finalizers(fixturedef))


def code_of(item: pytest.Item) -> types.CodeType | None:
    """What a test runs, below whatever is wrapped around it; None where it is not a function."""
    known: Any = vars(item)
    function: Any = known.get("_obj")
    if function is None:  # `item.function` would make an instance of the test's class
        holder = getattr(item, "cls", None) or getattr(item, "module", None)
        function = getattr(holder, known.get("originalname") or item.name, None)
    if hasattr(function, "__wrapped__"):
        function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    return code if isinstance(code, types.CodeType) else None


def is_asynchronous(item: pytest.Item) -> bool:
    """Whether a test is an `async def`."""
    code = code_of(item)
    return code is not None and bool(code.co_flags & inspect.CO_COROUTINE)


def tests_at(items: Iterable[pytest.Item], path: str, line: int) -> list[pytest.Item]:
    """The tests whose function has that line, those of functions defined in it among its lines."""
    found: list[pytest.Item] = []
    for item in items:
        code = code_of(item)
        if code is not None and code.co_filename == path and line in _lines(code):
            found.append(item)
    return found


def _lines(code: types.CodeType) -> range:
    last = max((line for *_, line in code.co_lines() if line is not None), default=code.co_firstlineno)
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return range(code.co_firstlineno, max([last, *(_lines(const).stop - 1 for const in inner)]) + 1)


def passing(item: pytest.Item) -> list[object]:
    """What pytest has in hand of a test whose teardown is over, and will let go of: its arguments."""
    return [vars(item).get("funcargs")]


def instance(item: pytest.Item) -> list[object]:
    """The instance of its class that a test ran with, which pytest keeps to the end of the run."""
    known = vars(item)
    return [known.get("_instance"), getattr(known.get("_obj"), "__self__", None)]


def shown() -> list[object]:
    """What the frames of the last failure hold, which `sys` keeps for debuggers."""
    error: object = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    trace = error.__traceback__ if isinstance(error, BaseException) else None
    kept: list[object] = []
    while trace is not None:
        kept += trace.tb_frame.f_locals.values()
        trace = trace.tb_next
    return kept


def _finalizers(fixturedef: pytest.FixtureDef[Any]) -> list[Callable[[], object]]:
    # No public name tells them; without the attribute nothing is adopted through a generator's locals.
    return list(getattr(fixturedef, "_finalizers", ()))


def _of_pytest(finalizer: Callable[[], object]) -> bool:
    """Whether it only ends dependent fixtures, or tells hooks: pytest's own business, or this plugin's."""
    func = finalizer.func if isinstance(finalizer, functools.partial) else finalizer
    if getattr(func, "__module__", "").startswith("pytest_taskleak"):
        return True
    name = getattr(func, "__qualname__", "")
    return name in ("FixtureDef.finish", "FixtureDef.execute.<locals>.<lambda>")


def _generators(finalizer: Callable[[], object]) -> Iterator[object]:
    if isinstance(finalizer, functools.partial):
        candidates: list[object] = [*finalizer.args, *finalizer.keywords.values()]
        function: object = finalizer.func
    else:
        candidates, function = [], finalizer
    for cell in getattr(function, "__closure__", None) or ():
        try:
            candidates.append(cell.cell_contents)
        except ValueError:
            continue  # not assigned yet
    yield from (thing for thing in candidates if isinstance(thing, _GENERATORS))
