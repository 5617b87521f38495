"""What the user asked for: command line, then marker, then ini; and the texts for what cannot be meant."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import math
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Mode = Literal["fail", "warn", "off"]
MODES = get_args(Mode)
GRACE = 0.1
"""Seconds that suspects are given to end, by default."""

MARKER = (
    "taskleak(mode=None, *, grace=None, strict=None, cancel=None, expect=(), reason=None): "
    "judge this test's leaked tasks otherwise: mode 'fail', 'warn' or 'off'; grace in seconds; strict and cancel "
    "as bool; expect names tasks (or coroutines, with * and ?) that may be left, and needs a reason."
)
_ARGUMENTS = ("mode", "grace", "strict", "cancel", "expect", "reason")


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How one test is judged.

    Attributes:
        mode: Whether a leak fails the test, is only shown, or is not looked for.
        grace: Seconds that suspects are given to end.
        strict: Whether what cannot be decided is reported too.
        cancel: Whether what was reported is cancelled.
        expect: Names of tasks or coroutines that may be left; `*` and `?` match as in file names.
    """

    mode: Mode = "fail"
    grace: float = GRACE
    strict: bool = False
    cancel: bool = False
    expect: tuple[str, ...] = ()

    def expects(self, task: str, coroutine: str) -> bool:
        """Whether a task of that name or coroutine may be left."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.expect for name in (task, coroutine))


def add_options(parser: pytest.Parser) -> None:
    """Add the command line's options and the ini names."""
    group = parser.getgroup("taskleak", "leaked asyncio tasks")
    group.addoption(
        "--taskleak",
        choices=MODES,
        default=None,
        help="what a leaked task does: fail its test (default), warn, or off; comes before markers and ini",
    )
    group.addoption(
        "--taskleak-grace",
        type=_seconds,
        default=None,
        metavar="SECONDS",
        help=f"how long suspects may take to end (default {GRACE:g}); a clean test never waits",
    )
    group.addoption(
        "--taskleak-strict",
        action="store_true",
        default=None,
        help="report what cannot be decided too: cancelled and not awaited, of unknown owner, stopped too late",
    )
    group.addoption(
        "--taskleak-cancel",
        action="store_true",
        default=None,
        help="cancel what was reported, so that it does not disturb later tests",
    )
    parser.addini("taskleak", "fail (default), warn or off: what a leaked task does", default="fail")
    parser.addini("taskleak_grace", "seconds that suspects may take to end", type="float", default=GRACE)
    parser.addini("taskleak_strict", "report what cannot be decided too", type="bool", default=False)
    parser.addini("taskleak_cancel", "cancel what was reported", type="bool", default=False)


class Options:
    """The settings of a run, and what a test's markers make of them.

    Attributes:
        run: The settings where no marker says otherwise.
        judges: Whether any of the tests that were checked is judged.
    """

    def __init__(self, config: pytest.Config) -> None:
        """Read the command line and the ini file.

        Raises:
            pytest.UsageError: For a value that is not valid, saying what is.
        """
        self._line: dict[str, Any] = {
            "mode": config.getoption("--taskleak"),
            "grace": config.getoption("--taskleak-grace"),
            "strict": config.getoption("--taskleak-strict"),
            "cancel": config.getoption("--taskleak-cancel"),
        }
        ini = {
            "mode": _ini(config, "taskleak", "valid are fail, warn, off", _mode),
            "grace": _ini(config, "taskleak_grace", "give seconds, 0 or more", _grace),
            "strict": _ini(config, "taskleak_strict", "give true or false", lambda _where, value: bool(value)),
            "cancel": _ini(config, "taskleak_cancel", "give true or false", lambda _where, value: bool(value)),
        }
        self._ini = Settings(**ini)
        self.judges = False
        self.run = dataclasses.replace(self._ini, **_given(self._line))

    @property
    def header(self) -> str:
        """A line for the head of the run."""
        words = [self.run.mode, f"grace {self.run.grace:g} s"] if self.run.mode != "off" else ["off"]
        words += [name for name in ("strict", "cancel") if getattr(self.run, name) and self.run.mode != "off"]
        return f"taskleak: {', '.join(words)}"

    @property
    def nowhere(self) -> bool:
        """Whether no marker can turn the search on: the command line says off."""
        return bool(self._line["mode"] == "off")

    def of(self, item: pytest.Item) -> Settings:
        """The settings of one test.

        Raises:
            pytest.UsageError: For a marker with arguments that are not valid.
        """
        markers = list(item.iter_markers("taskleak"))
        if not markers:
            return self.run
        read = [_marker(mark, item.nodeid) for mark in markers]
        expect = tuple(pattern for values in read for pattern in values.pop("expect", ()))
        merged: dict[str, Any] = {}
        for values in reversed(read):  # the closest marker comes first and wins
            merged |= values
        return dataclasses.replace(self._ini, **(merged | _given(self._line)), expect=expect)

    def check(self, items: Iterable[pytest.Item]) -> None:
        """Read every marker, so that a wrong one is heard of before the first test runs.

        Raises:
            pytest.UsageError: For the first wrong one.
        """
        modes = [self.of(item).mode for item in items]
        self.judges = any(mode != "off" for mode in modes)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _marker(mark: pytest.Mark, nodeid: str) -> dict[str, Any]:
    where = f"{nodeid}: marker `taskleak`"
    given = _arguments(mark, where)
    reason = given.pop("reason", None)
    if reason is not None and not (isinstance(reason, str) and reason.strip()):
        raise pytest.UsageError(f"{where}: reason={reason!r} is not a sentence; give a string that says why")
    if "expect" in given and reason is None:
        raise pytest.UsageError(f"{where}: expect={given['expect']!r} needs a reason=... that says why it may stay")
    readers: dict[str, Callable[[str, Any], object]] = {
        "mode": _mode,
        "grace": _grace,
        "strict": functools.partial(_flag, name="strict"),
        "cancel": functools.partial(_flag, name="cancel"),
        "expect": _expect,
    }
    return {name: readers[name](where, value) for name, value in given.items()}


def _arguments(mark: pytest.Mark, where: str) -> dict[str, Any]:
    if len(mark.args) > 1:
        raise pytest.UsageError(
            f"{where}: got {len(mark.args)} positional arguments {mark.args!r}; only the mode is positional"
        )
    unknown = sorted(set(mark.kwargs) - set(_ARGUMENTS))
    if unknown:
        raise pytest.UsageError(f"{where}: unknown argument {unknown[0]!r}; valid are {', '.join(_ARGUMENTS)}")
    if mark.args and "mode" in mark.kwargs:
        raise pytest.UsageError(f"{where}: got the mode twice, {mark.args[0]!r} and {mark.kwargs['mode']!r}")
    given = dict(mark.kwargs) | ({"mode": mark.args[0]} if mark.args else {})
    if not given:
        raise pytest.UsageError(f"{where}: says nothing; valid are {', '.join(_ARGUMENTS)}")
    return _given(given)


def _flag(where: str, value: object, *, name: str) -> bool:
    if not isinstance(value, bool):
        raise pytest.UsageError(f"{where}: {name}={value!r} is not valid; give True or False")
    return value


def _expect(where: str, value: object) -> tuple[str, ...]:
    names: Any = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)):
        raise pytest.UsageError(f"{where}: expect={value!r} is not valid; give a task's name or a list of names")
    for name in cast("list[object]", names):
        if not (isinstance(name, str) and name.strip()):
            raise pytest.UsageError(f"{where}: expect={value!r} holds {name!r}; names are non-empty strings")
    return tuple(cast("list[str]", names))


def _mode(where: str, value: object) -> Mode:
    if value not in MODES:
        raise pytest.UsageError(f"{where}: {value!r} is not valid; valid are {', '.join(MODES)}")
    return cast("Mode", value)


def _grace(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (0 <= value < math.inf):
        raise pytest.UsageError(f"{where}: grace {value!r} is not valid; give seconds, 0 or more")
    return float(value)


def _seconds(text: str) -> float:
    try:
        return _grace("--taskleak-grace", float(text))
    except ValueError:
        raise pytest.UsageError(f"--taskleak-grace: {text!r} is not a number; give seconds, 0 or more") from None


def _ini(config: pytest.Config, name: str, valid: str, read: Callable[[str, Any], object]) -> Any:
    where = f"ini value `{name}`"
    try:
        value = config.getini(name)
    except (TypeError, ValueError, pytest.UsageError) as error:  # which one depends on pytest's version
        raise pytest.UsageError(f"{where}: {error}; {valid}") from None
    return read(where, value)
