"""A worker that is a process: it can be stopped, and its death is that of one message."""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import signal
import socket
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, TypeVar

from reference_queue.errors import NotSendable, WorkerDied, WorkerNotStarted
from reference_queue.executors._child import BEGUN, READY, serve
from reference_queue.executors._crossing import pack_message, unpack
from reference_queue.executors._wire import TICK, Gone, receive, send
from reference_queue.executors._worker import NotBegun, Worker

if TYPE_CHECKING:
    from collections.abc import Generator
    from multiprocessing.context import SpawnProcess

__all__ = ["ProcessWorker"]

M = TypeVar("M")
R = TypeVar("R")

_GOODBYE = 2.0
"""Seconds that a process may take to end after it was hung up on, and again after SIGTERM."""

_log = logging.getLogger("reference_queue")


class ProcessWorker(Worker[M, R]):
    """A process of its own, started afresh (`spawn`): forking one that has threads copies locks that nobody frees."""

    ready = False

    def __init__(self, packed_handler: bytes) -> None:
        self._packed_handler = packed_handler
        self._process: SpawnProcess | None = None
        self._socket: socket.socket | None = None
        self._stopping = False

    @property
    def spent(self) -> bool:
        """Whether it was stopped, or its process is no more."""
        return self._stopping or (self.ready and not self._is_alive())

    def prepare(self) -> None:
        """Start the process and wait until it can take messages."""
        ours, theirs = socket.socketpair()
        self._socket = ours
        ours.settimeout(TICK)
        process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(theirs, self._packed_handler), name="reference_queue worker"
        )
        try:
            with theirs, _without_interrupts():
                process.start()
        except Exception as error:
            ours.close()
            raise WorkerNotStarted(
                f"No worker process could be started: {error} The message was not handled."
            ) from error
        # For a program that ends without closing. Called before what multiprocessing itself has registered, which
        # waits for every process, however long it takes.
        atexit.register(process.kill)
        self._process = process
        if self._stopping:  # by somebody who found no process to stop yet
            process.terminate()
        try:
            said = receive(ours, self._is_alive)
        except Gone:
            raise WorkerNotStarted(
                f"A worker process ended before it could take a message: {_ending(self._bury())}. The message was not "
                "handled. Its stderr may say more. A program that starts processes needs "
                '`if __name__ == "__main__":` around what it does when it is run.'
            ) from None
        if bytes(said) != READY:
            self._bury()
            raise NotSendable(said.decode())
        self.ready = True

    def work(self, message: M) -> R:
        """Have the process handle a message."""
        frame = pack_message(message)
        sock = self._socket
        assert sock is not None  # noqa: S101 - it is prepared
        begun = False
        try:
            send(sock, frame, self._is_alive)
            begun = bytes(receive(sock, self._is_alive)) == BEGUN
            answered = receive(sock, self._is_alive)
        except Gone:
            code = self._bury()
            if begun:
                raise WorkerDied(
                    f"The worker process died while it handled the message: {_ending(code)}. What it had done by then "
                    "is done; it is not handled again. The process's stderr and, after a SIGKILL, the system's log of "
                    "processes ended for want of memory may say more.",
                    code,
                ) from None
            if not self._stopping:
                _log.warning("An idle worker process ended by itself: %s", _ending(code))
            raise NotBegun from None
        result: R = unpack(answered)
        return result

    def stop(self) -> None:
        """Send SIGTERM."""
        self._stopping = True
        process = self._process
        if process is not None:
            process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Hang up, and see to it that the process ends."""
        if self._process is not None:
            self._bury()

    def _is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def _bury(self) -> int:
        """Return the exit code of the process, once it has ended."""
        process = self._process
        assert process is not None  # noqa: S101 - who calls this has found it running
        if self._socket is not None:
            self._socket.close()
        for insist in (process.terminate, process.kill):
            process.join(_GOODBYE)
            if process.exitcode is None:
                insist()
        process.join()
        atexit.unregister(process.kill)
        code = process.exitcode
        self._process = self._socket = None
        return 0 if code is None else code


@contextmanager
def _without_interrupts() -> Generator[None]:
    """Keep Ctrl+C from a process that is being started, until it can say itself that it ignores it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it would undo what follows
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
