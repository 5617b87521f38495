"""What can go wrong with a queue: one class for each condition, all of them `QueueError`.

The first sentence of an error's text is the fact; what follows says what to do about it.
"""
# ruff: noqa: N818 - the names are conditions a reader meets in `except`; "QueueFull" is asyncio's own style

from __future__ import annotations

__all__ = [
    "CalledFromHandler",
    "CloseTimeout",
    "DeadlineExceeded",
    "ExecutorClosed",
    "HandlerNotAwaitable",
    "HandlerTimeout",
    "InterpretersUnavailable",
    "LoopEnded",
    "MemoryFull",
    "MemoryUnknown",
    "MessageDropped",
    "NotSendable",
    "QueueClosed",
    "QueueError",
    "QueueFull",
    "ReentrantEnqueue",
    "WorkerDied",
    "WorkerNotStarted",
    "WrongLoop",
]


class QueueError(Exception):
    """The base of every error that the queue itself raises or settles a future with."""


class QueueClosed(QueueError):
    """The queue is closing or closed: it takes no message, or it gave up one that it had taken."""


class QueueFull(QueueError):
    """A bound is reached, and the policy (or the place of the call) does not allow waiting for room."""


class MemoryFull(QueueFull):
    """Memory is nearly full, the queue's breaker is open, and the message cannot wait for it to close."""


class MemoryUnknown(QueueError, OSError):
    """This system does not tell how much memory is used, or how much there is."""


class MessageDropped(QueueError):
    """The message was the oldest one when a newer message needed its room (policy ``drop_oldest``)."""


class DeadlineExceeded(QueueError, TimeoutError):
    """The message was not handled within its deadline; its handler, if it had begun, was cancelled."""


class ReentrantEnqueue(QueueError, RuntimeError):
    """A handler asked for a result that can only come after the handler itself has ended: a deadlock."""


class CalledFromHandler(QueueError, RuntimeError):
    """A handler awaited `join` or `aclose` of the queue that waits for this very handler: a deadlock."""


class WrongLoop(QueueError, RuntimeError):
    """The queue was used outside the event loop it belongs to."""


class LoopEnded(QueueError):
    """The event loop ended, or cancelled all of its tasks, while the message was in the queue."""


class HandlerNotAwaitable(QueueError, TypeError):
    """The handler returned something that cannot be awaited: most often a plain `def`."""


class CloseTimeout(QueueError, TimeoutError):
    """The queue is closed and every future settled, but some handlers go on in spite of cancellation."""


class ExecutorClosed(QueueError):
    """The executor of the handler was closed before the queue that uses it, with the message not yet handled."""


class HandlerTimeout(QueueError, TimeoutError):
    """A handler did not end within the time limit of its worker process, which was stopped."""


class InterpretersUnavailable(QueueError, RuntimeError):
    """This version of Python does not offer interpreters to its programs."""


class NotSendable(QueueError, TypeError):
    """A handler, message, result or exception cannot cross to a worker process or interpreter, or back."""


class WorkerNotStarted(QueueError):
    """No worker process or interpreter could be made ready for the message, which was not handled."""


class WorkerDied(QueueError):
    """A worker process ended while it handled the message, which may be half done and is not handled again.

    Args:
        text: what happened.
        exitcode: the process's exit status; below 0 the number of the signal that killed it.
    """

    def __init__(self, text: str, exitcode: int) -> None:
        super().__init__(text, exitcode)
        self.exitcode = exitcode

    def __str__(self) -> str:
        return str(self.args[0])
