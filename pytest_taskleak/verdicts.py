"""A leak with whom it is laid to, and leaks that follow from another put below it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_taskleak import explain
from pytest_taskleak.leak import Leak, fold

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

    from pytest_taskleak.findings import Outlook
    from pytest_taskleak.judge import Suspect
    from pytest_taskleak.model import Origin, Owner


class Verdict(NamedTuple):
    """A leak, and whose.

    Attributes:
        owner: Who is to blame, None where that is unknown (reported in strict mode only).
        leak: The leak.
    """

    owner: Owner | None
    leak: Leak


def accepted(found: Iterable[tuple[Owner | None, Leak]], reasons: Mapping[str, str]) -> list[Verdict]:
    """Verdicts on what was found; a leak whose cause may stay says why.

    Args:
        found: Leaks with their owners.
        reasons: Why causes may stay, by fingerprint.
    """
    return [
        Verdict(owner, dataclasses.replace(leak, accepted=reasons.get(leak.fingerprint, "")) if reasons else leak)
        for owner, leak in found
    ]


_MOST_NAMED = 20
"""Causes of which it is said who holds the first task."""


def outlooks(
    tasks: Iterable[asyncio.Task[Any]],
    seconds: float,
    failed: Callable[[Exception], None],
    *,
    origin: Callable[[asyncio.Task[Any]], Origin | None],
    own: Callable[[str], bool],
) -> Mapping[int, Outlook]:
    """What is to be expected of the pending ones among some tasks, all together: one may hold what wakes the next.

    Who holds it is said of the first of those that the same line made, which is the one that reports show.

    Args:
        tasks: The tasks.
        seconds: Processor time that the search may take, 0 for no search.
        failed: Told of a defect of the search: what cannot be proven is not said, and the rest is.
        origin: Tells what was recorded of a task.
        own: Whether the file of that name is the project's own code.
    """
    pending = [task for task in tasks if not task.done()]
    if not pending or not seconds:
        return {}
    firsts: dict[object, asyncio.Task[Any]] = {}
    for task in pending:
        recorded = origin(task)
        firsts.setdefault(recorded.calls if recorded is not None else id(task), task)
    named = list(firsts.values())[:_MOST_NAMED]
    del firsts
    try:
        return explain.outlooks(pending, seconds, named=named, own=own)
    except Exception as error:  # noqa: BLE001 - see `failed`
        failed(error)
        return {}


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
