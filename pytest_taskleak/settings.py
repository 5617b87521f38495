"""What the user asked for: command line, then marker, then ini; and the texts for what cannot be meant."""

from __future__ import annotations

import dataclasses
import errno
import fnmatch
import functools
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import pytest

from pytest_taskleak.model import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Mode = Literal["fail", "warn", "off"]
MODES = get_args(Mode)
GRACE = 0.1
"""Seconds that suspects are given to end, by default."""
LEAST_REPEAT = 3
"""Repetitions of which it can be told whether objects grow with them."""
_REPEAT = f"give a whole number, {LEAST_REPEAT} or more, or 0 for not at all"

DEFAULT_KINDS = tuple(KINDS)
"""What is looked for where nothing else is said."""

MARKER = (
    "taskleak(mode=None, *, grace=None, strict=None, cancel=None, blocked=None, expect=(), repeat=None, reason=None): "
    "judge this test's leaks otherwise: mode 'fail', 'warn' or 'off'; grace in seconds; strict and cancel "
    "as bool; blocked in seconds that a callback may block the loop, 0 for off; "
    "repeat runs it as many times and fails it where objects grow with each; "
    "expect names tasks (or coroutines, with * and ?) that may be left, and needs a reason."
)
_ARGUMENTS = ("mode", "grace", "strict", "cancel", "blocked", "expect", "repeat", "reason")


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How one test is judged.

    Attributes:
        mode: Whether a leak fails the test, is only shown, or is not looked for.
        grace: Seconds that suspects are given to end.
        strict: Whether what cannot be decided is reported too.
        cancel: Whether what was reported is cancelled.
        blocked: Seconds that one callback, or one step of a task, may keep the loop from turning; 0 for no limit.
        expect: Names of tasks or coroutines that may be left; `*` and `?` match as in file names.
        repeat: How often the test is repeated while objects are counted, 0 for not at all.
    """

    mode: Mode = "fail"
    grace: float = GRACE
    strict: bool = False
    cancel: bool = False
    blocked: float = 0.0
    expect: tuple[str, ...] = ()
    repeat: int = 0

    def expects(self, task: str, coroutine: str) -> bool:
        """Whether a task of that name or coroutine may be left."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.expect for name in (task, coroutine))


@dataclasses.dataclass(frozen=True, slots=True)
class Growing:
    """How the growth of a whole run is looked at.

    Attributes:
        plot: The file that it is drawn in.
        limit: Objects per test beyond which the run fails.
        freezes: Whether what is there before the first test is frozen (`gc.freeze`), which makes counting cheap.
    """

    plot: Path | None
    limit: float | None
    freezes: bool = True


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
    group.addoption(
        "--taskleak-kinds",
        default=None,
        metavar="KINDS",
        help=f"what is looked for, by commas: all, or some of {', '.join(KINDS)} (default: {', '.join(DEFAULT_KINDS)})",
    )
    group.addoption(
        "--taskleak-repeat",
        type=_times,
        default=None,
        metavar="N",
        help="run each test N times, after warm-ups and reported once, and fail it where objects grow with each run",
    )
    group.addoption(
        "--taskleak-growth",
        action="store_true",
        default=None,
        help="count the objects after each test, and show at the end after which they stayed",
    )
    group.addoption(
        "--taskleak-growth-plot",
        type=_plot,
        default=None,
        metavar="FILE.svg",
        help="draw these counts, too",
    )
    group.addoption(
        "--taskleak-growth-limit",
        type=_limit,
        default=None,
        metavar="N",
        help="fail the run where objects grow by more than N per test",
    )
    group.addoption(
        "--taskleak-growth-no-freeze",
        action="store_true",
        default=None,
        help="count so, but leave `gc.freeze` alone: slower, for programs that look at the collector themselves",
    )
    group.addoption(
        "--taskleak-blocked",
        type=_threshold,
        default=None,
        metavar="SECONDS",
        help="fail tests in which one callback blocks the event loop for longer (default 0: do not look)",
    )
    parser.addini("taskleak", "fail (default), warn or off: what a leaked task does", default="fail")
    parser.addini("taskleak_grace", "seconds that suspects may take to end", type="float", default=GRACE)
    parser.addini("taskleak_strict", "report what cannot be decided too", type="bool", default=False)
    parser.addini("taskleak_cancel", "cancel what was reported", type="bool", default=False)
    parser.addini(
        "taskleak_kinds", f"what is looked for: all, or some of {', '.join(KINDS)}", type="args", default=None
    )
    parser.addini("taskleak_repeat", "how often each test is repeated while objects are counted", type="int", default=0)
    parser.addini("taskleak_blocked", "seconds that a callback may block the loop", type="float", default=0.0)


class Options:
    """The settings of a run, and what a test's markers make of them.

    Attributes:
        run: The settings where no marker says otherwise.
        judges: Whether any of the tests that were checked is judged.
        kinds: What is looked for, by the names of `model.KINDS`.
        repeats: Whether any of them is repeated.
        growing: How the growth of the whole run is looked at, None where it is not.
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
            "repeat": config.getoption("--taskleak-repeat"),
            "blocked": config.getoption("--taskleak-blocked"),
        }
        ini = {
            "mode": _ini(config, "taskleak", "valid are fail, warn, off", _mode),
            "grace": _ini(config, "taskleak_grace", "give seconds, 0 or more", _grace),
            "strict": _ini(config, "taskleak_strict", "give true or false", lambda _where, value: bool(value)),
            "cancel": _ini(config, "taskleak_cancel", "give true or false", lambda _where, value: bool(value)),
            "repeat": _ini(config, "taskleak_repeat", _REPEAT, _repeat),
            "blocked": _ini(config, "taskleak_blocked", "give seconds, 0 for off", _blocked),
        }
        plot, limit = config.getoption("--taskleak-growth-plot"), config.getoption("--taskleak-growth-limit")
        thawed = bool(config.getoption("--taskleak-growth-no-freeze"))
        asked = config.getoption("--taskleak-growth") or plot is not None or limit is not None or thawed
        self.growing = Growing(plot, limit, freezes=not thawed) if asked else None
        self._ini = Settings(**ini)
        self.kinds = _kinds_asked(config)
        self.judges = self.repeats = False
        self.run = dataclasses.replace(self._ini, **_given(self._line))

    @property
    def header(self) -> str:
        """A line for the head of the run."""
        words = [self.run.mode, f"grace {self.run.grace:g} s"] if self.run.mode != "off" else ["off"]
        words += [name for name in ("strict", "cancel") if getattr(self.run, name) and self.run.mode != "off"]
        words += [f"repeat {self.run.repeat}"] if self.run.repeat and self.run.mode != "off" else []
        words += [f"blocked {self.run.blocked:g} s"] if self.run.blocked and self.run.mode != "off" else []
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
        judged = [settings for item in items if (settings := self.of(item)).mode != "off"]
        self.judges = bool(judged)
        self.repeats = any(settings.repeat for settings in judged)


def _kinds_asked(config: pytest.Config) -> frozenset[str]:
    line = config.getoption("--taskleak-kinds")
    if line is not None:
        return _kinds("--taskleak-kinds", str(line).split(","))
    asked = _ini(config, "taskleak_kinds", f"give a list of {', '.join(KINDS)}, or all", lambda _where, value: value)
    return _kinds("ini value `taskleak_kinds`", asked) if asked else frozenset(DEFAULT_KINDS)


def _kinds(where: str, names: Iterable[object]) -> frozenset[str]:
    asked = {str(name).strip() for name in names}
    if asked == {"all"}:
        return frozenset(KINDS)
    unknown = sorted(asked - KINDS.keys())
    if unknown or not asked:
        raise pytest.UsageError(f"{where}: {', '.join(unknown)!r} is not a kind; valid are {', '.join(KINDS)}, or all")
    return frozenset(asked)


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
        "blocked": _blocked,
        "expect": _expect,
        "repeat": _repeat,
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


def _repeat(where: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or (value != 0 and value < LEAST_REPEAT):
        raise pytest.UsageError(f"{where}: repeat={value!r} is not valid; {_REPEAT}")
    return value


def _times(text: str) -> int:
    try:
        return _repeat("--taskleak-repeat", int(text))
    except ValueError:
        raise pytest.UsageError(f"--taskleak-repeat: {text!r} is not a whole number; {_REPEAT}") from None


def _limit(text: str) -> float:
    valid = "give objects per test, 0 or more"
    try:
        limit = float(text)
    except ValueError:
        raise pytest.UsageError(f"--taskleak-growth-limit: {text!r} is not a number; {valid}") from None
    if not (0 <= limit < math.inf):
        raise pytest.UsageError(f"--taskleak-growth-limit: {text!r} is not valid; {valid}")
    return limit


def _plot(text: str) -> Path:
    where = f"--taskleak-growth-plot: {text!r}"
    path = Path(text).absolute()
    if path.suffix != ".svg":
        raise pytest.UsageError(f"{where} is not valid; give a name that ends in .svg")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise pytest.UsageError(
            f"{where} cannot be written ({error.strerror}); give a file in a folder that exists and is open to you"
        ) from None
    return path


def _blocked(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (0 <= value < math.inf):
        raise pytest.UsageError(f"{where}: blocked {value!r} is not valid; give seconds, 0 for off")
    return float(value)


def _threshold(text: str) -> float:
    try:
        return _blocked("--taskleak-blocked", float(text))
    except ValueError:
        raise pytest.UsageError(f"--taskleak-blocked: {text!r} is not a number; give seconds, 0 for off") from None


def _ini(config: pytest.Config, name: str, valid: str, read: Callable[[str, Any], object]) -> Any:
    where = f"ini value `{name}`"
    try:
        value = config.getini(name)
    except (TypeError, ValueError, pytest.UsageError) as error:  # which one depends on pytest's version
        raise pytest.UsageError(f"{where}: {error}; {valid}") from None
    return read(where, value)
