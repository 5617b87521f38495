"""A worker that is an interpreter of its own within the process (Python 3.14 and newer)."""

from __future__ import annotations

import importlib
import sys
from typing import Any, TypeVar

from reference_queue.errors import InterpretersUnavailable, NotSendable, WorkerNotStarted
from reference_queue.executors._crossing import answer_with, pack_message, unpack
from reference_queue.executors._worker import Worker

__all__ = ["InterpreterWorker", "check_python", "refuse_main"]

M = TypeVar("M")
R = TypeVar("R")

_SINCE = (3, 14)


def check_python() -> None:
    """Raise unless this Python has interpreters for its programs."""
    if sys.version_info < _SINCE:
        raise InterpretersUnavailable(
            f"in_interpreters() needs Python {'.'.join(map(str, _SINCE))} or newer, and this is Python "
            f"{sys.version_info.major}.{sys.version_info.minor}. in_processes() gains as much and can stop a handler."
        )


def refuse_main(handler: object) -> None:
    """Raise if the handler is of the program's main module, which other interpreters do not have."""
    if getattr(handler, "__module__", None) == "__main__":
        raise NotSendable(
            f"The handler {handler!r} cannot be sent to a worker: it is defined in `__main__`, which is another module "
            "in each interpreter. Define it in a module that can be imported."
        )


class InterpreterWorker(Worker[M, R]):
    """An interpreter with a lock of its own: it runs beside others, in the thread that is lent to it."""

    ready = False

    def __init__(self, packed_handler: bytes) -> None:
        self._packed_handler = packed_handler
        self._interpreter: Any = None

    def prepare(self) -> None:
        """Make the interpreter."""
        interpreters: Any = importlib.import_module("concurrent.interpreters")
        self._interpreter = interpreter = interpreters.create()
        try:
            interpreter.prepare_main(path=tuple(sys.path))
            interpreter.exec("import sys; sys.path[:] = path; import reference_queue.executors._crossing")
        except interpreters.ExecutionFailed as error:
            self.close()
            raise WorkerNotStarted(
                f"An interpreter could not be made ready: {error.excinfo.formatted}. The message was not handled."
            ) from error
        self.ready = True

    def work(self, message: M) -> R:
        """Handle a message in the interpreter."""
        result: R = unpack(self._interpreter.call(answer_with, self._packed_handler, pack_message(message)))
        return result

    def close(self) -> None:
        """End the interpreter."""
        interpreter, self._interpreter = self._interpreter, None
        if interpreter is not None:
            interpreter.close()
