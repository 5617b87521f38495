"""Begins and ends the tasks of an instance."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

__all__ = ["begin", "end"]

T = TypeVar("T")

_AGAIN = 0.25
"""Seconds after which a task that goes on is cancelled once more."""


def begin(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Return a task of the running loop, which the caller keeps.

    Its context is empty: otherwise the variables of whoever came first would live as long as the task.
    """
    return Context().run(asyncio.get_running_loop().create_task, work, name=f"reference_queue {name}")


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
