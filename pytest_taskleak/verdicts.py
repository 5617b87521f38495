"""A leak with whom it is laid to, and leaks that follow from another put below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_taskleak.model import Leak, Owner, fold

if TYPE_CHECKING:
    from pytest_taskleak.judge import Suspect


class Verdict(NamedTuple):
    """A leak, and whose.

    Attributes:
        owner: Who is to blame, None where that is unknown (reported in strict mode only).
        leak: The leak.
    """

    owner: Owner | None
    leak: Leak


def folded(leaks: list[tuple[Suspect, Verdict]]) -> list[Verdict]:
    """Fold tasks that another leaked task of the same owner waits for under that one."""
    by_id = {id(suspect.task): position for position, (suspect, _) in enumerate(leaks)}
    parent: dict[int, int] = {}
    for position, (suspect, _) in enumerate(leaks):
        for key in suspect.words.on:
            child = by_id.get(key)
            if child is None or child in parent or leaks[child][0].owner is not suspect.owner:
                continue
            if not _leads_to(parent, position, child):
                parent[child] = position
    verdicts: list[Verdict] = []
    for position, (_, verdict) in enumerate(leaks):
        if position in parent:
            continue
        below = [leaks[child][1].leak for child, root in parent.items() if _root(parent, root) == position]
        verdicts.append(verdict._replace(leak=fold(verdict.leak, below)))
    return verdicts


def _root(parent: dict[int, int], position: int) -> int:
    while position in parent:
        position = parent[position]
    return position


def _leads_to(parent: dict[int, int], start: int, goal: int) -> bool:
    """Whether `goal` is above `start` already: tasks may wait for each other in a circle."""
    return _root(parent, start) == goal
