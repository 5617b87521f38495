"""What the plugin adds to a suite that does not leak: wall time of the process, runs taken in turns.

Peers run the same tests in the same turn: no plugin, this one, pyleak's marker on every test (tasks alone, and with
all that it looks for). Growth over the session is compared with `objgraph.typestats` around each test.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import peers
import suites
from table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = 500
ROUNDS = 9
FEWER = 60
"""Tests where each takes a second of `typestats` over a heap of the size of a real suite's."""

OBJECTS = 300_000

MARK = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.no_leaks{args})
"""

ONLY_TASKS = MARK.format(args="(tasks=True, threads=False, blocking=False)")

HEAP = f"""
KEPT = [[number] for number in range({OBJECTS})]
"""

TYPESTATS = (
    HEAP
    + """
import objgraph
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    before = objgraph.typestats()
    result = yield
    grown = {name: count - before.get(name, 0) for name, count in objgraph.typestats().items()}
    return result
"""
)


def rows() -> Iterator[Row]:
    """A row for each peer."""
    python = peers.environment("plugin", [*peers.HARNESS, *peers.PROJECT])
    pyleak = peers.environment("pyleak", [*peers.HARNESS, "pyleak==0.2.0"])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        suite = (suites.ASYNCHRONOUS, suites.ASYNCHRONOUS_TEST, TESTS)
        plain = suites.written(folder / "plain", *suite)
        tasks = suites.written(folder / "tasks", *suite, ONLY_TASKS)
        bare = suites.written(folder / "bare", *suite, MARK.format(args=""))
        ways = {
            "none": lambda: suites.ran(python, plain, *suites.WITHOUT)[0],
            "taskleak": lambda: suites.ran(python, plain, *suites.WITH)[0],
            "taskleak again": lambda: suites.ran(python, plain, *suites.WITH)[0],
            "none again": lambda: suites.ran(python, plain, *suites.WITHOUT)[0],
            "pyleak 0.2.0, tasks only": lambda: suites.ran(pyleak, tasks)[0],
        }
        seconds: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for way, run in ways.items():
                seconds.setdefault(way, []).append(run())
        none = seconds["none"] + seconds["none again"]
        ours = seconds["taskleak"] + seconds["taskleak again"]
        ratio = statistics.median(b / a for a, b in zip(none, ours, strict=True))
        yield Row(f"{TESTS} async tests, wall", "no plugin", ratio, limit=1.03, aim=1.0, digits=3)
        median = statistics.median(none)
        peer = statistics.median(seconds["pyleak 0.2.0, tasks only"]) / median
        yield Row("the same with pyleak 0.2.0, tasks only", "no plugin", peer, digits=1)
        once = suites.ran(pyleak, bare)[0]  # it takes long, so once
        yield Row("the same with pyleak 0.2.0, bare marker", "no plugin", once / median, digits=1)
        yield from _growth(folder, python)


def at_most_and_median(none: list[float], ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """Seconds that ours and theirs add to none.

    Ours is at least what runs alike differ by: less cannot be told from nothing, and a ratio to nothing is of any size.
    """
    base = statistics.median(none)
    return max(statistics.median(ours) - base, max(none) - min(none)), statistics.median(theirs) - base


def _growth(folder: Path, python: str) -> Iterator[Row]:
    suite = (suites.ASYNCHRONOUS, suites.ASYNCHRONOUS_TEST, FEWER)
    plain = suites.written(folder / "heap", *suite, HEAP)
    counted = suites.written(folder / "typestats", *suite, TYPESTATS)
    spent: dict[str, list[float]] = {"none": [], "growth": [], "typestats": []}
    for _ in range(3):
        spent["none"].append(suites.ran(python, plain, *suites.WITH)[1])
        spent["growth"].append(suites.ran(python, plain, *suites.WITH, "--taskleak-growth")[1])
        spent["typestats"].append(suites.ran(python, counted, *suites.WITH)[1])
    ours, theirs = at_most_and_median(spent["none"], spent["growth"], spent["typestats"])
    ratio = theirs / ours
    yield Row("--taskleak-growth, cheaper by at least", "objgraph.typestats", ratio, limit=20, at_least=True, digits=0)
    yield Row("--taskleak-growth, for each test at most", "without it", ours / FEWER * 1000, "ms", digits=1)
