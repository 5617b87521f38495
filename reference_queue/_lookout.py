"""The lookout: sees that the breaker has closed, for messages that wait for nothing else."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any

from reference_queue._steps import FATAL

if TYPE_CHECKING:
    from reference_queue._pool import Pool

__all__ = ["Lookout"]


class Lookout:
    """A task that lets messages in when memory allows, alive only while some wait.

    A task and not a timer: a timer is forgotten with its loop, but `asyncio.run` cancels the tasks that are left, and
    then those who wait are settled. There may be no worker then that could do it.

    Beside it is a sentinel, as beside the workers: a lookout that ends alone is replaced, and one that is cancelled
    with everything else is not.
    """

    def __init__(self, pool: Pool[Any, Any], every: float) -> None:
        self._pool = pool
        self._every = every
        self._task: asyncio.Task[None] | None = None
        self._sentinel: asyncio.Task[None] | None = None
        self._over: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """See to it that somebody looks."""
        if self._task is None:
            # An empty context, as for workers.
            Context().run(self._start)

    def stop(self) -> None:
        """Look no more: nobody waits."""
        task, self._task = self._task, None
        over, self._over, self._sentinel = self._over, None, None
        if task is not None and not task.get_loop().is_closed():
            task.cancel()
            if over is not None and not over.done():
                over.set_result(None)

    def _start(self) -> None:
        if self._sentinel is None:
            assert self._pool.loop is not None  # noqa: S101 - the queue binds it before it accepts anything
            self._over = self._pool.loop.create_future()
            self._sentinel = self._pool.spawn(self._watch(self._over), "lookout's sentinel")
        self._task = self._pool.spawn(self._look(), "lookout")
        self._task.add_done_callback(self._ended)

    @staticmethod
    async def _watch(over: asyncio.Future[None]) -> None:
        """Live as long as somebody looks, only to be cancelled when all tasks of the loop are."""
        await over

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            self._pool.room.let_in()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is not self._task:
            return  # it was told to stop
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, FATAL):
            self._pool.report("The lookout of a queue failed; another one goes on", None, error)
        sentinel = self._sentinel
        if sentinel is None or sentinel.done() or sentinel.cancelling():
            self.stop()
            self._pool.abandon()
        else:
            self._task = None
            self.begin()
