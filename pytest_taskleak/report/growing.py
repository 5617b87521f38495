"""Objects that grow with each repetition of a test, or over a run, in words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_taskleak.leak import Leak


_MOST_TYPES = 5
"""Types that are named below the one that tells most."""


def headline(leaks: Sequence[Leak], owner: str) -> str:
    """One line: what grows with whose repetitions."""
    more = f", and {len(leaks) - 1} more" if len(leaks) > 1 else ""
    return f"objects grow with each repetition of {owner}: {leaks[0].verdict}{more}"


def facts(leak: Leak) -> list[str]:
    """How many there were, and who holds them."""
    lines = [f"counted after the warm-ups, then after each repetition: {leak.detail}"]
    lines += [f"held by {leak.holders}"] if leak.holders else []
    if leak.children:
        more = len(leak.children) - _MOST_TYPES
        lines.append(f"with it: {', '.join(leak.children[:_MOST_TYPES])}{f', and {more} more' if more > 0 else ''}")
    return lines


_MOST_ROWS = 10
"""Rows of a table."""


def table(
    processes: Sequence[tuple[str, float | None, int]],
    steps: Iterable[tuple[str, int]],
    types: Iterable[tuple[str, int]],
) -> list[str]:
    """A run's growth.

    Args:
        processes: Each with its name, its objects per test (None where it ran too few to tell) and how many more
            there were at its end.
        steps: Each test with how many objects stayed after it.
        types: Each type with how many more there are of it, once for each process.
    """
    lines: list[str] = []
    for name, slope, more in processes:
        each = "too few tests to tell how many per test" if slope is None else f"{slope:.1f} per test"
        lines.append(f"{f'{name}: ' if name else ''}{more:+,} objects, {each}")
    stayed = Counter[str]()
    for test, number in steps:
        stayed[test] += number
    grown = Counter[str]()
    for name, number in types:
        grown[name] += number
    for heading, counts in (("stayed after", stayed), ("types that grew", grown)):
        rows = [(name, number) for name, number in counts.most_common(_MOST_ROWS) if number > 0]
        lines += [heading, *(f"{number:+8,}  {name}" for name, number in rows)] if rows else []
    return lines
