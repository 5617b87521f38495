"""A call in a thread that is waited for until it has really ended, and why it was asked to stop."""

from __future__ import annotations

import threading
from asyncio import CancelledError, get_running_loop
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from reference_queue.errors import WorkerDied, WorkerNotStarted
from reference_queue.executors._worker import NotBegun, Worker

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context
    from types import TracebackType

__all__ = ["Call", "Outcome", "ThreadForEach", "call_in_thread"]

_GRACE = 1.0
"""Seconds that a worker which is stopped may take before it is killed."""

_PACKAGE = __name__.rpartition(".")[0]

Outcome = tuple[Any, BaseException | None]
"""What a function returned, or what it raised."""


class Call:
    """Something that a worker does, and why it was asked to stop."""

    def __init__(self, worker: Worker[Any, Any], done: asyncio.Future[Outcome]) -> None:
        self.worker = worker
        self.done = done
        self.timers: list[asyncio.TimerHandle] = []
        self.why: BaseException | None = None

    def stop(self, why: BaseException) -> None:
        """Stop the worker, if that is possible; the first reason counts, but for a cancellation."""
        if self.why is None or isinstance(why, CancelledError):
            self.why = why
        if not self.done.done():
            self.worker.stop()
            self.timers.append(get_running_loop().call_later(_GRACE, self.worker.kill))

    def outcome(self) -> Any:
        """Return the result or raise: the error of the work itself, or why it was stopped.

        A result that came before the stop took effect counts, unless nobody is there to take it.
        """
        result, error = self.done.result()
        del self.done  # it has the error, and the error's traceback has frames that have this object
        why, self.why = self.why, None
        stopped = isinstance(error, (NotBegun, WorkerDied, WorkerNotStarted))
        if why is not None and (stopped or (error is None and isinstance(why, CancelledError))):
            error = why
        if error is None:
            return result
        try:
            raise error
        finally:
            del error, result, why, self  # the traceback has this frame, and the frame would have the error


def call_in_thread(
    context: Context,
    function: Callable[..., object],
    arguments: tuple[object, ...],
    loop: asyncio.AbstractEventLoop,
    done: asyncio.Future[Outcome],
) -> None:
    """Call a function in the context and let the loop know what came of it: all this in a thread."""
    outcome: Outcome
    try:
        outcome = context.run(function, *arguments), None
    except BaseException as error:  # noqa: BLE001 - raised where it is waited for
        error.__traceback__ = _of_the_handler(error.__traceback__)
        outcome = None, error
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(done.set_result, outcome)


def _of_the_handler(trace: TracebackType | None) -> TracebackType | None:
    """Cut the executor's own frames off: they would keep the message alive with the error."""
    while trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith(_PACKAGE):
        trace = trace.tb_next
    return trace


class ThreadForEach:
    """A thread for each call, in place of a `ThreadPoolExecutor`: Python does not wait for these when it ends.

    They wait for processes, which are killed when Python ends, and cost little beside these.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._threads: list[threading.Thread] = []

    def submit(self, function: Callable[..., object], /, *arguments: object) -> None:
        """Call the function in a new thread."""
        thread = threading.Thread(target=function, args=arguments, name=self._name, daemon=True)
        self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
        thread.start()

    def shutdown(self, *, wait: bool) -> None:
        """Wait until all threads have ended, or do nothing."""
        while wait and self._threads:
            self._threads.pop().join()
