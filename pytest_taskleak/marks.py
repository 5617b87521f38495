"""What the arguments of a test's marker mean; imported where there is a marker."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from pytest_taskleak import values

if TYPE_CHECKING:
    from collections.abc import Callable

ARGUMENTS = ("mode", "grace", "strict", "cancel", "blocked", "expect", "repeat", "reason")


def said(mark: pytest.Mark, nodeid: str) -> dict[str, Any]:
    """Return what a test's marker says, by the names of the settings.

    Raises:
        pytest.UsageError: For arguments that are not valid, saying what is.
    """
    where = f"{nodeid}: marker `taskleak`"
    given = _arguments(mark, where)
    reason = given.pop("reason", None)
    if reason is not None and not (isinstance(reason, str) and reason.strip()):
        raise pytest.UsageError(f"{where}: reason={reason!r} is not a sentence; give a string that says why")
    if "expect" in given and reason is None:
        raise pytest.UsageError(f"{where}: expect={given['expect']!r} needs a reason=... that says why it may stay")
    readers: dict[str, Callable[[str, Any], object]] = {
        "mode": values.mode,
        "grace": functools.partial(values.seconds, name="grace"),
        "strict": functools.partial(values.flag, name="strict"),
        "cancel": functools.partial(values.flag, name="cancel"),
        "blocked": functools.partial(values.seconds, name="blocked"),
        "expect": values.expect,
        "repeat": values.repeat,
    }
    return {name: readers[name](where, value) for name, value in given.items()}


def _arguments(mark: pytest.Mark, where: str) -> dict[str, Any]:
    if len(mark.args) > 1:
        raise pytest.UsageError(
            f"{where}: got {len(mark.args)} positional arguments {mark.args!r}; only the mode is positional"
        )
    unknown = sorted(set(mark.kwargs) - set(ARGUMENTS))
    if unknown:
        raise pytest.UsageError(f"{where}: unknown argument {unknown[0]!r}; valid are {', '.join(ARGUMENTS)}")
    if mark.args and "mode" in mark.kwargs:
        raise pytest.UsageError(f"{where}: got the mode twice, {mark.args[0]!r} and {mark.kwargs['mode']!r}")
    given = dict(mark.kwargs) | ({"mode": mark.args[0]} if mark.args else {})
    if not given:
        raise pytest.UsageError(f"{where}: says nothing; valid are {', '.join(ARGUMENTS)}")
    return {name: value for name, value in given.items() if value is not None}
