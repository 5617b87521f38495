"""When a row of counts is growth."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_AT_LEAST = 2
"""Repetitions that must have added something: one may be a cache that is filled late."""


class Growth(NamedTuple):
    """How objects of one type grow.

    Attributes:
        counts: After the warm-ups, then after each repetition.
        times: The repetitions that added some.
    """

    counts: tuple[int, ...]
    times: int

    @property
    def steps(self) -> list[int]:
        """What each repetition that added some has added."""
        return [step for step in _steps(self.counts) if step > 0]

    @property
    def repetitions(self) -> int:
        """How often the test was repeated."""
        return len(self.counts) - 1


def growth(counts: Sequence[int]) -> Growth | None:
    """Whether the counts grow with each repetition.

    They do where every repetition adds some; and where at least half of them do, none takes any away, and no two
    in a row add nothing: one that adds in every other run does so for ever, a cache that fills up does not.

    Args:
        counts: After the warm-ups, then after each repetition.
    """
    steps = _steps(counts)
    added = [step > 0 for step in steps]
    times = sum(added)
    steady = (
        times >= max(_AT_LEAST, len(steps) // 2)
        and min(steps) >= 0
        and all(one or other for one, other in itertools.pairwise(added))
    )
    return Growth(tuple(counts), times) if all(added) or steady else None


def _steps(counts: Sequence[int]) -> list[int]:
    return [after - before for before, after in itertools.pairwise(counts)]
