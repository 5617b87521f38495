"""Objects over a whole run: how many more there are after each test than before the first."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import itertools
import statistics
import weakref
from typing import TYPE_CHECKING, Any

from pytest_taskleak.growth.barriers import Barriers

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_TESTS = 10
"""Tests from which on a slope is told: the first ones import and fill caches."""

_POINTS = 200
"""Tests that a slope is computed from, spread over the run: it takes each pair of them."""

_LARGEST_REPORT = 10_000
"""Objects of one report that are looked at."""


@dataclasses.dataclass(slots=True)
class Series:
    """What one process has counted.

    Attributes:
        process: The worker's name, "" where there are none.
        tests: In the order in which they ran.
        counts: Objects after each of them, less those before the first.
        types: How many more there are of each type at the end, by objgraph's names; not those of pytest and plugins.
    """

    process: str
    tests: list[str] = dataclasses.field(default_factory=list[str])
    counts: list[int] = dataclasses.field(default_factory=list[int])
    types: dict[str, int] = dataclasses.field(default_factory=dict[str, int])

    @property
    def slope(self) -> float | None:
        """Objects per test; None where there are too few tests to tell."""
        return slope(self.counts) if len(self.counts) >= LEAST_TESTS else None

    @property
    def steps(self) -> list[tuple[str, int]]:
        """How many objects stayed after each test."""
        counts = [0, *self.counts]
        return [
            (test, after - before) for test, (before, after) in zip(self.tests, itertools.pairwise(counts), strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` makes it again."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Series:
        """What `to_json` was asked of."""
        return cls(**data)


_OF_INTERPRETER = 1000
"""Objects, less than which are frozen by nobody but the interpreter: 3.12 starts with a few hundred."""


def slope(counts: list[int]) -> float:
    """The median of the slopes between all pairs of points (Theil and Sen): a jump or two do not change it."""
    every = max(1, -(-len(counts) // _POINTS))
    points = list(enumerate(counts))[::every]
    return statistics.median((y - v) / (x - u) for (u, v), (x, y) in itertools.combinations(points, 2))


class Suite:
    """Counts the objects of this process after each test, from `start` to `stop`.

    What is there before the first test is frozen (`gc.freeze`), so that neither the collector nor the count goes over
    it again; not where that is not wanted, or the user has frozen objects himself. Reports that pytest keeps are not
    counted.

    Attributes:
        series: What was counted so far.
    """

    def __init__(self, process: str, *, freezes: bool = True) -> None:
        """Make it for a process.

        Args:
            process: A worker's name, or "".
            freezes: Whether it may freeze what is there at the start.
        """
        self._freezes = freezes
        self.series = Series(process)
        self._frozen = 0
        self._base = 0
        self._before: dict[str, int] = {}
        self._reports: dict[weakref.ref[object], int] = {}
        self._new: list[weakref.ref[object]] = []
        self._forgets = self._forget  # one bound method for all reports

    def start(self) -> None:
        """All that is there by now is not counted."""
        self._types()  # imports objgraph
        gc.collect()
        if self._freezes and gc.get_freeze_count() < _OF_INTERPRETER:
            gc.freeze()
            self._frozen = gc.get_freeze_count()
        self._before = self._types()
        self._base = self._count()

    def count(self, test: str) -> None:
        """Count what is there after a test."""
        gc.collect()
        for reference in self._new:
            if (report := reference()) is not None:
                self._reports[reference] = _size(report) + 1
        self._new.clear()
        self.series.tests.append(test)
        self.series.counts.append(self._count() - self._base)

    def logged(self, report: object) -> None:
        """A report went out, which pytest keeps, at least for a time."""
        # Of what it consists is looked at after the collector was: it stops to track dicts of plain values.
        self._new.append(weakref.ref(report, self._forgets))

    def stop(self) -> Series:
        """Give what was counted, and thaw what was frozen; what the user has frozen meanwhile stays so."""
        after = self._types()
        grown = {name: number - self._before.get(name, 0) for name, number in after.items()}
        self.series.types = {name: number for name, number in grown.items() if number > 0}
        if self._frozen and gc.get_freeze_count() <= self._frozen:
            gc.unfreeze()
        self._frozen = 0
        self._reports.clear()
        return self.series

    def _count(self) -> int:
        return len(gc.get_objects()) - sum(self._reports.values())

    def _forget(self, reference: weakref.ref[object]) -> None:
        self._reports.pop(reference, None)

    def _types(self) -> dict[str, int]:
        objgraph: Any = importlib.import_module("objgraph")  # needed only when it is asked for
        barriers = Barriers(())

        def counts(thing: object) -> bool:
            return barriers.passes[type(thing)]

        names: dict[str, int] = objgraph.typestats(filter=counts)
        return names


def _size(report: object) -> int:
    """How many objects that the collector knows a report alone consists of."""
    seen, rest = {id(report)}, [report]
    number = 0
    while rest and number < _LARGEST_REPORT:
        thing = rest.pop()
        number += gc.is_tracked(thing)
        for part in gc.get_referents(thing):
            # Of a failure pytest keeps its representation; the test's identity is shared by all its reports.
            if id(part) not in seen and (
                type(part) in (dict, list) or type(part).__module__.startswith("_pytest._code")
            ):
                seen.add(id(part))
                rest.append(part)
    return number
