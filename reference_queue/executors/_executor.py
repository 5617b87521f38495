"""The executor: an async callable that hands each message to a free worker and waits until that has really ended."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, get_running_loop
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from reference_queue._check import check_seconds
from reference_queue.errors import (
    CloseTimeout,
    ExecutorClosed,
    HandlerTimeout,
    WorkerNotStarted,
    WrongLoop,
)
from reference_queue.executors._call import Call, Outcome, ThreadForEach, call_in_thread
from reference_queue.executors._worker import NotBegun, Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

__all__ = ["Executor"]

M = TypeVar("M")
R = TypeVar("R")
T = TypeVar("T")

_START_LIMIT = 60.0
"""Seconds that a worker may take to start: it imports what the handler needs."""


class Executor(Generic[M, R]):
    """An async callable that runs a blocking handler in its workers; `in_threads` and its like make one.

    It is the handler to give to a `MessageQueue`, which lets its workers go when it is closed. In a block of
    `async with` they are kept until the end of the block instead, for several queues; afterwards every call is
    refused. An executor without work holds idle workers only, and one that was let go holds none.

    A call that is cancelled ends when the work has really ended. For `MessageQueue` this means that a chat is
    never handled twice at the same time. If the work fails after the cancellation, the call raises that error,
    and `CancelledError` otherwise.

    Its methods are to be called in one event loop.
    """

    def __init__(
        self,
        name: str,
        workers: int,
        make: Callable[[], Worker[M, R]],
        *,
        timeout: float | None = None,
        outlived: bool = False,
    ) -> None:
        """Make one that has no worker yet; ``outlived`` says that Python's end need not wait for what they do."""
        self._name = name
        self._limit = workers
        self._make = make
        self._outlived = outlived
        self._timeout = timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: ThreadPoolExecutor | ThreadForEach | None = None
        self._dismissed: list[ThreadPoolExecutor | ThreadForEach] = []
        """Threads that get no more work and have not been seen to end."""
        self._idle: list[Worker[M, R]] = []
        self._busy: set[Worker[M, R]] = set()
        self._line: OrderedDict[asyncio.Future[Worker[M, R]], None] = OrderedDict()
        """Who waits for a worker, in order; there is nobody while a worker is idle."""
        self._calls: set[Call] = set()
        self._ends: set[asyncio.Future[Outcome]] = set()
        """Workers that are being closed."""
        self._kept = False
        """Whether workers without work are kept for the next message."""
        self._in_block = False
        self._closed = False
        self._free: asyncio.Future[None] | None = None
        """Who closes the executor waits for it until no worker is busy."""

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return (
            f"<{self._name} {state} workers={self._limit} busy={len(self._busy)} idle={len(self._idle)} "
            f"waiting={len(self._line)}>"
        )

    async def __call__(self, message: M) -> R:
        """Have a worker handle the message, as soon as one is free; return its result or raise its error.

        Raises:
            ExecutorClosed: the executor is closed.
            HandlerTimeout: the handler took longer than the executor's ``timeout``.
            NotSendable: the message, its result or its exception cannot cross to the worker or back.
            WorkerDied: the worker's process ended while it handled the message.
            WorkerNotStarted: no worker could be made ready.
            WrongLoop: another event loop's messages are being handled.
        """
        worker = await self._take()
        try:
            for _ in range(2):
                if worker.spent:
                    worker = self._replace(worker)
                if not worker.ready:
                    await self._run(worker, worker.prepare, limit=_START_LIMIT, late=_not_started)
                    if worker.spent:
                        continue  # it was ready in the very moment in which its time was over
                with suppress(NotBegun):
                    return await self._run(worker, worker.work, message, limit=self._timeout, late=self._too_late)
            raise WorkerNotStarted(
                "Two workers in a row ended before they began the message, which was not handled. "
                "Their stderr and the system's log may say what ended them; perhaps it is too large for their memory."
            )
        finally:
            del message  # an error that is kept must not keep it
            self._give_back(worker)

    async def queue_closed(self) -> None:
        """Let the workers go, unless a block keeps them; a queue that uses the executor calls it at its end.

        Those that work for another queue go on, and what that queue sends afterwards starts new ones.
        """
        if not self._in_block:
            await self._let_go()

    async def aclose(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - CloseTimeout says what remains
        """Close the executor and wait until nothing of it is left: no thread, process or interpreter.

        Close the queues that use it first. Messages that still wait for a worker fail with `ExecutorClosed`, and
        so do those in processes, which are stopped; those in threads and interpreters go on to their end.

        It can be called again. A cancelled call leaves the executor closed, and its workers end as their work does.

        Args:
            timeout: seconds that they may take to end; None waits for as long as it takes.

        Raises:
            CloseTimeout: some have not ended; their threads end with them.
            TypeError, ValueError: ``timeout`` is no number of at least 0.
        """
        check_seconds("timeout", timeout, zero=True)
        self._closed = True
        # Now, and not when all work has ended: if this call is cancelled meanwhile, workers end with their work.
        self._kept = False
        self._end_idle()
        while self._line:
            turn, _ = self._line.popitem(last=False)
            if not turn.done():
                turn.set_exception(self._closed_error())
        for call in self._calls:
            call.stop(self._closed_error())
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._busy:
                    if self._free is None or self._free.done():
                        self._free = get_running_loop().create_future()
                    await asyncio.wait([self._free])
        await self._let_go()
        if self._busy:
            raise CloseTimeout(
                f"{len(self._busy)} handlers still run in {self._name}, which takes no more messages. A thread ends "
                "with its handler, and cannot be stopped: run handlers that may hang in processes."
            )

    async def __aenter__(self) -> Self:
        if self._closed:
            raise self._closed_error()
        self._in_block = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_block = False
        await self.aclose()

    # -- workers -----------------------------------------------------------------------------------------

    async def _take(self) -> Worker[M, R]:
        """Return a worker, which is to be given back, as soon as it is the caller's turn."""
        loop = get_running_loop()
        if self._closed:
            raise self._closed_error()
        if loop is not self._loop:
            if (self._busy or self._ends) and self._loop is not None and not self._loop.is_closed():
                raise WrongLoop(
                    f"{self!r} works for {self._loop!r} and was called in {loop!r}. "
                    "Make an executor for each event loop."
                )
            # What a loop left undone when it was closed is nobody's any more.
            self._busy.clear()
            self._ends.clear()
            self._line.clear()
            self._loop = loop
        self._kept = True
        if self._idle:
            worker = self._idle.pop()
        elif len(self._busy) < self._limit:
            worker = self._make()
        else:
            turn: asyncio.Future[Worker[M, R]] = loop.create_future()
            self._line[turn] = None
            try:
                return await turn
            except CancelledError:
                self._line.pop(turn, None)
                if turn.done() and not turn.cancelled() and turn.exception() is None:
                    self._give_back(turn.result())  # it came in the very step of the cancellation
                raise
        self._busy.add(worker)
        return worker

    def _give_back(self, worker: Worker[M, R]) -> None:
        if worker not in self._busy:
            return  # it was left to itself
        while self._line:
            turn, _ = self._line.popitem(last=False)
            if not turn.done():
                turn.set_result(worker)
                return
        self._busy.discard(worker)
        if self._kept and not worker.spent:
            self._idle.append(worker)
        else:
            self._end(worker)
            self._dismiss_threads()
        if not self._busy and self._free is not None and not self._free.done():
            self._free.set_result(None)

    def _replace(self, worker: Worker[M, R]) -> Worker[M, R]:
        self._end(worker)
        self._busy.discard(worker)
        worker = self._make()
        self._busy.add(worker)
        return worker

    async def _let_go(self) -> None:
        """End the workers without work, now, and the others when their work ends, unless more comes."""
        self._kept = False
        self._end_idle()
        while self._ends:
            await asyncio.wait(self._ends)
        self._dismiss_threads()

    def _end_idle(self) -> None:
        while self._idle:
            self._end(self._idle.pop())

    def _end(self, worker: Worker[M, R]) -> None:
        end = self._in_thread(worker.close)
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)

    # -- threads -----------------------------------------------------------------------------------------

    def _in_thread(self, function: Callable[..., object], *arguments: object) -> asyncio.Future[Outcome]:
        """Call a function in a thread; the future is never cancelled and raises nothing."""
        if self._threads is None:
            name = f"reference_queue {self._name}"
            # Twice as many, for those that end while their successors start already.
            self._threads = ThreadForEach(name) if self._outlived else ThreadPoolExecutor(2 * self._limit, name)
        loop = get_running_loop()
        done: asyncio.Future[Outcome] = loop.create_future()
        self._threads.submit(call_in_thread, copy_context(), function, arguments, loop, done)
        return done

    def _dismiss_threads(self) -> None:
        """Let threads end: those that work after their work, the others at once."""
        if self._kept:
            return
        if self._threads is not None:
            self._dismissed.append(self._threads)
            self._threads = None
        # Once they have nothing more to do, to wait for them is to wait for their last lines of code.
        idle = not self._busy and not self._ends
        for threads in self._dismissed:
            threads.shutdown(wait=idle)
        if idle:
            self._dismissed.clear()

    async def _run(
        self,
        worker: Worker[M, R],
        function: Callable[..., T],
        *arguments: Any,
        limit: float | None,
        late: Callable[[float], Exception],
    ) -> T:
        """Call a method of a worker in a thread, and wait until it has really ended, cancelled or not."""
        call = Call(worker, self._in_thread(function, *arguments))
        self._calls.add(call)
        if limit is not None:
            call.timers.append(get_running_loop().call_later(limit, lambda: call.stop(late(limit))))
        try:
            while not call.done.done():
                try:
                    await asyncio.wait([call.done])
                except CancelledError as error:
                    call.stop(error.with_traceback(None))
        finally:
            del arguments
            self._calls.discard(call)
            for timer in call.timers:
                timer.cancel()
            if not call.done.done():
                # The coroutine is being closed, for its loop is gone; what happens in the thread ends there.
                worker.stop()
                self._busy.discard(worker)
        result: T = call.outcome()
        return result

    # -- texts -------------------------------------------------------------------------------------------

    def _too_late(self, limit: float) -> HandlerTimeout:
        return HandlerTimeout(
            f"The handler did not end within {limit:g} s (the timeout of {self._name}), and its worker was stopped. "
            "What it had done by then is done; it is not handled again. Allow more time, or find what held it up."
        )

    def _closed_error(self) -> ExecutorClosed:
        return ExecutorClosed(
            f"{self._name} was closed before the message was handled. Close the queue first, and then its executor: "
            "`async with in_processes(handle) as handler, MessageQueue(handler) as queue:` does."
        )


def _not_started(limit: float) -> WorkerNotStarted:
    return WorkerNotStarted(
        f"A worker was not ready within {limit:g} s and was stopped. The message was not handled. "
        "Look at what the module of the handler does when it is imported."
    )
