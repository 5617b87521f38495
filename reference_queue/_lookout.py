"""The lookout: sees that the breaker has closed, for messages that wait for nothing else."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference_queue._pool import Pool

__all__ = ["Lookout"]


class Lookout:
    """A task that lets messages in when memory allows, alive only while some wait.

    A task and not a timer: a timer is forgotten with its loop, but `asyncio.run` cancels the tasks that are left, and
    then those who wait are settled. There may be no worker then that could do it.
    """

    def __init__(self, pool: Pool[Any, Any], every: float) -> None:
        self._pool = pool
        self._every = every
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """See to it that somebody looks."""
        if self._task is None:
            # An empty context, as for workers.
            Context().run(self._start)

    def stop(self) -> None:
        """Look no more: nobody waits."""
        task, self._task = self._task, None
        if task is not None and not task.get_loop().is_closed():
            task.cancel()

    def _start(self) -> None:
        self._task = self._pool.spawn(self._look(), "lookout")
        self._task.add_done_callback(self._ended)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            self._pool.room.let_in()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is self._task:  # cancelled by somebody else: the loop ends
            self._task = None
            self._pool.abandon()
