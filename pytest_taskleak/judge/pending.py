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


def pending_tasks(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """The tasks of a loop that are not done, from any thread, eager ones and users' own kinds among them."""
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
