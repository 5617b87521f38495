"""Ends tasks that run other people's code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["end"]

_AGAIN = 0.25
"""Seconds after which a task that goes on is cancelled once more."""


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and return when all are done.

    A client library may lose a cancellation. The `asyncio.wait_for` of Python 3.11 does so when what it waits for is
    just done, and redis-py writes by way of it: a loop around a command then goes on as if nothing had happened. So a
    task is cancelled until it ends.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN)
