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
