"""What the user asked for: command line, then marker, then ini; and the texts for what cannot be meant."""

from __future__ import annotations

import fnmatch
import functools
from typing import TYPE_CHECKING, Any

import pytest

from pytest_taskleak import values
from pytest_taskleak.imports import straight
from pytest_taskleak.model import GRACE, KINDS, SEARCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from typing import NotRequired, TypedDict

    class Show(TypedDict):
        """How details are shown.

        Attributes:
            verbosity: pytest's.
            root: The folder that paths are relative to.
            command: How the same is looked for in one test.
            rootdir: The folder that node ids begin at.
            counts: How much went on before the test and after it, where that is known.
        """

        verbosity: int
        root: str
        command: NotRequired[str]
        rootdir: NotRequired[str]
        counts: NotRequired[Mapping[str, tuple[int, int]]]


DEFAULT_KINDS = tuple(KINDS)
"""What is looked for where nothing else is said."""

MARKER = (
    "taskleak(mode=None, *, grace=None, strict=None, cancel=None, blocked=None, expect=(), repeat=None, reason=None): "
    "judge this test's leaks otherwise: mode 'fail', 'warn' or 'off'; grace in seconds; strict and cancel "
    "as bool; blocked in seconds that a callback may block the loop, 0 for off; "
    "repeat runs it as many times and fails it where objects grow with each; "
    "expect names tasks (or coroutines, with * and ?) that may be left, and needs a reason."
)


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

    # Each phase of each test reads it, which is faster so than from a named tuple; a data class costs each run more.
    __slots__ = ("blocked", "cancel", "expect", "grace", "mode", "repeat", "strict")

    def __init__(  # noqa: PLR0913 - all that can be set
        self,
        *,
        mode: values.Mode = "fail",
        grace: float = GRACE,
        strict: bool = False,
        cancel: bool = False,
        blocked: float = 0.0,
        expect: tuple[str, ...] = (),
        repeat: int = 0,
    ) -> None:
        self.mode: values.Mode = mode
        self.grace = grace
        self.strict = strict
        self.cancel = cancel
        self.blocked = blocked
        self.expect = expect
        self.repeat = repeat

    def but(self, given: Mapping[str, Any]) -> Settings:
        """The same with what is given instead."""
        all_of_it: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return Settings(**{**all_of_it, **given})

    def expects(self, task: str, coroutine: str) -> bool:
        """Whether a task of that name or coroutine may be left."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.expect for name in (task, coroutine))


class Growing:
    """How the growth of a whole run is looked at.

    Attributes:
        plot: The file that it is drawn in.
        limit: Objects per test beyond which the run fails.
        freezes: Whether what is there before the first test is frozen (`gc.freeze`), which makes counting cheap.
    """

    def __init__(self, plot: Path | None, limit: float | None, *, freezes: bool = True) -> None:
        self.plot = plot
        self.limit = limit
        self.freezes = freezes


def add_options(parser: pytest.Parser) -> None:
    """Add the command line's options and the ini names."""
    group = parser.getgroup("taskleak", "leaked asyncio tasks")
    group.addoption(
        "--taskleak",
        choices=values.MODES,
        default=None,
        help="what a leaked task does: fail its test (default), warn, or off; comes before markers and ini",
    )
    group.addoption(
        "--taskleak-grace",
        type=functools.partial(values.seconds_of_line, name="grace"),
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
        type=values.times,
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
        type=values.plot,
        default=None,
        metavar="FILE.svg",
        help="draw these counts, too",
    )
    group.addoption(
        "--taskleak-growth-limit",
        type=values.limit,
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
        type=functools.partial(values.seconds_of_line, name="blocked"),
        default=None,
        metavar="SECONDS",
        help="fail tests in which one callback blocks the event loop for longer (default 0: do not look)",
    )
    group.addoption(
        "--taskleak-search",
        type=functools.partial(values.seconds_of_line, name="search"),
        default=None,
        metavar="SECONDS",
        help=f"how long the search for who could wake leaked tasks may take (default {SEARCH:g}; 0: no search)",
    )
    group.addoption(
        "--taskleak-report",
        action="append",
        type=values.report,
        default=None,
        metavar="FORMAT:FILE",
        help=f"write what was found to a file, too ({', '.join(values.FORMATS)}); may be given more than once",
    )
    parser.addini("taskleak", "fail (default), warn or off: what a leaked task does", default="fail")
    parser.addini("taskleak_grace", "seconds that suspects may take to end", type="float", default=GRACE)
    parser.addini("taskleak_strict", "report what cannot be decided too", type="bool", default=False)
    parser.addini("taskleak_cancel", "cancel what was reported", type="bool", default=False)
    parser.addini(
        "taskleak_kinds", f"what is looked for: all, or some of {', '.join(KINDS)}", type="args", default=None
    )
    parser.addini(
        "taskleak_accept", "causes that may stay, a line for each: its fingerprint and why", type="linelist", default=[]
    )
    parser.addini("taskleak_repeat", "how often each test is repeated while objects are counted", type="int", default=0)
    parser.addini("taskleak_blocked", "seconds that a callback may block the loop", type="float", default=0.0)
    parser.addini("taskleak_search", "seconds to search for who could wake leaked tasks", type="float", default=SEARCH)


class Options:
    """The settings of a run, and what a test's markers make of them.

    Attributes:
        run: The settings where no marker says otherwise.
        judges: Whether any of the tests that were checked is judged.
        kinds: What is looked for, by the names of `model.KINDS`.
        repeats: Whether any of them is repeated.
        search: Seconds that the search for who could wake leaked tasks may take; 0 for no search.
        reports: The files that what was found is written to.
        growing: How the growth of the whole run is looked at, None where it is not.
        accepted: The causes that may stay, by fingerprint, with the reason.
        show: How leaks are shown.
    """

    def __init__(self, config: pytest.Config) -> None:
        """Read the command line and the ini file.

        Raises:
            pytest.UsageError: For a value that is not valid, saying what is.
        """
        self._parent: pytest.Collector | None = None
        self._above: tuple[list[pytest.Mark], ...] = ()
        self._line: dict[str, Any] = {
            "mode": config.getoption("--taskleak"),
            "grace": config.getoption("--taskleak-grace"),
            "strict": config.getoption("--taskleak-strict"),
            "cancel": config.getoption("--taskleak-cancel"),
            "repeat": config.getoption("--taskleak-repeat"),
            "blocked": config.getoption("--taskleak-blocked"),
        }
        ini = {
            "mode": _ini(config, "taskleak", "valid are fail, warn, off", values.mode),
            "grace": _ini_seconds(config, "grace"),
            "strict": _ini(config, "taskleak_strict", "give true or false", lambda _where, value: bool(value)),
            "cancel": _ini(config, "taskleak_cancel", "give true or false", lambda _where, value: bool(value)),
            "repeat": _ini(config, "taskleak_repeat", values.REPEAT, values.repeat),
            "blocked": _ini_seconds(config, "blocked"),
        }
        plot, limit = config.getoption("--taskleak-growth-plot"), config.getoption("--taskleak-growth-limit")
        thawed = bool(config.getoption("--taskleak-growth-no-freeze"))
        asked = config.getoption("--taskleak-growth") or plot is not None or limit is not None or thawed
        self.growing = Growing(plot, limit, freezes=not thawed) if asked else None
        search = config.getoption("--taskleak-search")
        self.search: float = search if search is not None else _ini_seconds(config, "search")
        self.reports: tuple[values.Report, ...] = values.reports(config.getoption("--taskleak-report") or ())
        self.accepted: dict[str, str] = _ini(config, "taskleak_accept", "give a list of lines", values.accept)
        self.show: Show = {
            "verbosity": config.get_verbosity(),
            "root": str(config.invocation_params.dir),
            "command": " ".join(["pytest -vv", *_options_given(config)]),
            "rootdir": str(config.rootpath),
        }
        self._ini = Settings(**ini)
        self.kinds = _kinds_asked(config)
        self.judges = self.repeats = False
        self.run = self._ini.but(_given(self._line))

    @property
    def header(self) -> str:
        """A line for the head of the run."""
        words = [self.run.mode, f"grace {self.run.grace:g} s"] if self.run.mode != "off" else ["off"]
        words += [name for name in ("strict", "cancel") if getattr(self.run, name) and self.run.mode != "off"]
        words += [f"repeat {self.run.repeat}"] if self.run.repeat and self.run.mode != "off" else []
        words += [f"blocked {self.run.blocked:g} s"] if self.run.blocked and self.run.mode != "off" else []
        return f"taskleak: {', '.join(words)}"

    @property
    def due(self) -> dict[str, str]:
        """The accepted causes that a run of every test is to meet: none where nothing is looked for."""
        return self.accepted if self.run.mode != "off" else {}

    @property
    def nowhere(self) -> bool:
        """Whether no marker can turn the search on: the command line says off."""
        return bool(self._line["mode"] == "off")

    def of(self, item: pytest.Item) -> Settings:
        """The settings of one test.

        Raises:
            pytest.UsageError: For a marker with arguments that are not valid.
        """
        parent = item.parent
        if parent is not self._parent:
            self._parent, self._above = parent, _markers_above(parent)
        if not _is_marked(item.own_markers) and not (any(self._above) and any(map(_is_marked, self._above))):
            return self.run  # `iter_markers` takes as long as all that is done for a test that leaks nothing
        said_by = _reader_of_markers()
        read = [said_by(mark, item.nodeid) for mark in item.iter_markers("taskleak")]
        expect = tuple(pattern for said in read for pattern in said.pop("expect", ()))
        merged: dict[str, Any] = {}
        for said in reversed(read):  # the closest marker comes first and wins
            merged |= said
        return self._ini.but({**merged, **_given(self._line), "expect": expect})

    def check(self, items: Iterable[pytest.Item]) -> None:
        """Read every marker, so that a wrong one is heard of before the first test runs.

        Raises:
            pytest.UsageError: For the first wrong one.
        """
        judged = [settings for item in items if (settings := self.of(item)).mode != "off"]
        self.judges = bool(judged)
        self.repeats = any(settings.repeat for settings in judged)


@functools.cache
def _reader_of_markers() -> Callable[[pytest.Mark, str], dict[str, Any]]:
    with straight():
        from pytest_taskleak.marks import said  # noqa: PLC0415 - most tests have no marker

    return said


def _is_marked(markers: list[pytest.Mark]) -> bool:
    for mark in markers:  # noqa: SIM110 - a generator would cost each test as much again
        if mark.name == "taskleak":
            return True
    return False


def _markers_above(node: pytest.Collector | None) -> tuple[list[pytest.Mark], ...]:
    """The lists, as they will be, of the markers of a node and all that it is in."""
    lists: list[list[pytest.Mark]] = []
    while node is not None:
        lists.append(node.own_markers)
        node = node.parent
    return tuple(lists)


_SAID_AGAIN = ("grace", "strict", "cancel", "kinds", "repeat", "blocked", "search")


def _options_given(config: pytest.Config) -> list[str]:
    """The options by which leaks are found, as they would be given again."""
    said = [("", config.getoption("--taskleak"))]
    said += [(f"-{name}", config.getoption(f"--taskleak-{name}")) for name in _SAID_AGAIN]
    return [
        f"--taskleak{name}" if value is True else f"--taskleak{name}={value}"
        for name, value in said
        if value is not None
    ]


def _kinds_asked(config: pytest.Config) -> frozenset[str]:
    line = config.getoption("--taskleak-kinds")
    if line is not None:
        return values.kinds("--taskleak-kinds", str(line).split(","))
    asked = _ini(config, "taskleak_kinds", f"give a list of {', '.join(KINDS)}, or all", lambda _where, value: value)
    return values.kinds("ini value `taskleak_kinds`", asked) if asked else frozenset(DEFAULT_KINDS)


def _given(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None}


def _ini(config: pytest.Config, name: str, valid: str, read: Callable[[str, Any], object]) -> Any:
    where = f"ini value `{name}`"
    try:
        value = config.getini(name)
    except (TypeError, ValueError, pytest.UsageError) as error:  # which one depends on pytest's version
        raise pytest.UsageError(f"{where}: {error}; {valid}") from None
    return read(where, value)


def _ini_seconds(config: pytest.Config, name: str) -> Any:
    return _ini(config, f"taskleak_{name}", values.SECONDS[name], functools.partial(values.seconds, name=name))
