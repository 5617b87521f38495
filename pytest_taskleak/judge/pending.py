"""What is alive in a loop."""

from __future__ import annotations

import asyncio
from typing import Any


def pending_tasks(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """The tasks of a loop that are not done, from any thread, eager ones and users' own kinds among them."""
    return [task for task in asyncio.all_tasks(loop) if not task.done()]


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
