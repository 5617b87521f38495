"""What is to be expected of leaked tasks: whether anything could wake them, and who holds them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from pytest_taskleak.explain.alive import runs_elsewhere
from pytest_taskleak.explain.heap import Heap
from pytest_taskleak.explain.keepers import keepers
from pytest_taskleak.explain.wakes import asleep
from pytest_taskleak.findings import NOT_EXAMINED, Outlook

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from pytest_taskleak.findings import Prospect


def outlooks(
    tasks: Sequence[asyncio.Task[Any]],
    budget: float,
    *,
    named: Sequence[asyncio.Task[Any]] = (),
    own: Callable[[str], bool] = lambda _: True,
) -> dict[int, Outlook]:
    """Say of each pending task, by its id, whether anything that is alive could wake it, and of some who holds them.

    Guarantees: "never wakes" is said only of what is proven, see `wakes.asleep`; what is not certain "may wake".

    Args:
        tasks: Theirs; the list itself does not count as somebody who holds them.
        budget: Seconds of processor time of this thread from which on those that are still open are "not examined".
        named: Those of which it is said who holds them, unless their loop runs in another thread meanwhile.
        own: Whether the file of that name is the project's own code.
    """
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return {id(task): NOT_EXAMINED for task in tasks}  # references are not counted there, or not exactly
    heap = Heap(time.thread_time() + budget)
    roots = {id(task): root for task in tasks if not runs_elsewhere(task) and (root := heap.root(task))}
    heap.own(tasks, named)
    sleepers = asleep(heap, roots)
    found: Prospect = "not examined" if sleepers is None else "never wakes"
    told: dict[int, Prospect] = dict.fromkeys(roots if sleepers is None else sleepers, found)
    kept = keepers(heap, [id(task) for task in named if not runs_elsewhere(task)], own)
    return {id(task): Outlook(told.get(id(task), "may wake"), *kept.get(id(task), ("", ""))) for task in tasks}
