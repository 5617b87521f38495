"""What is alive in a loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_tasks_in_python: Callable[[asyncio.AbstractEventLoop], set[asyncio.Task[Any]]] | None = getattr(
    asyncio.tasks, "_py_all_tasks", None
)
"""Gives the tasks of the class that asyncio has in Python: since 3.14 `all_tasks` leaves them out. None before."""


def _registry(name: str) -> Any:
    """One of asyncio's own registers of tasks; None where this version keeps none of that name in Python."""
    return getattr(asyncio.tasks, name, None)


# Weak sets: of 3.11, and of 3.12 and 3.13; later versions keep lists in C, which `all_tasks` walks fast.
_scheduled: Any = getattr(_registry("_all_tasks") or _registry("_scheduled_tasks"), "data", None)
_eager: Any = _registry("_eager_tasks")
_KNOWN = _scheduled is not None and _tasks_in_python is None


def pending_tasks(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """The tasks of a loop that are not done, from any thread, eager ones and users' own kinds among them."""
    if _KNOWN and not _scheduled and not _eager:
        return []  # no task is alive anywhere: `all_tasks` takes 20 times as long to say so, each time a loop ends
    tasks = asyncio.all_tasks(loop)
    if _tasks_in_python is not None:
        tasks |= _tasks_in_python(loop)
    return [task for task in tasks if not task.done()]


def cancel_requested(task: asyncio.Task[Any]) -> bool:
    """Whether somebody asked the task to end."""
    cancelling = getattr(task, "cancelling", None)
    return bool(getattr(task, "_must_cancel", False) or (cancelling is not None and cancelling()))


def lost_exception(task: asyncio.Task[Any]) -> BaseException | None:
    """The exception that a task ended with and that nobody has retrieved; asking does not count as retrieving."""
    if not getattr(task, "_log_traceback", False):
        return None
    error = getattr(task, "_exception", None)
    return error if isinstance(error, BaseException) else None
