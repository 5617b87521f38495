"""One worker: what does one message at a time, in a thread that is lent to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NotBegun", "ThreadWorker", "Worker"]

M = TypeVar("M")
R = TypeVar("R")


class NotBegun(Exception):  # noqa: N818 - a condition, never seen by a user
    """The worker had died before it began the message, which may be given to another one."""


class Worker(ABC, Generic[M, R]):
    """What the executor asks of a worker, and what one that needs nothing answers.

    `prepare`, `work` and `close` run in threads, one of them at a time; all else is called in that of the loop.
    """

    ready = True
    """Whether it can work without being prepared first."""

    @property
    def spent(self) -> bool:
        """Whether it was stopped or has died, and is to be replaced by another one."""
        return False

    def prepare(self) -> None:
        """Start what does the work."""

    @abstractmethod
    def work(self, message: M) -> R:
        """Handle a message."""

    def stop(self) -> None:
        """Ask what it is doing to end, and return at once."""

    def kill(self) -> None:
        """End what it is doing by force, and return at once."""

    def close(self) -> None:
        """End what `prepare` started, and wait for it: a few seconds at most."""


class ThreadWorker(Worker[M, R]):
    """Calls the handler in the thread itself."""

    def __init__(self, handler: Callable[[M], R]) -> None:
        self._handler = handler

    def work(self, message: M) -> R:
        """Call the handler."""
        return self._handler(message)
