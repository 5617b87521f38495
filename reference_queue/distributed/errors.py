"""What can go wrong with a queue over a server; all of them are `QueueError` too."""
# ruff: noqa: N818 - as in reference_queue.errors

from __future__ import annotations

from reference_queue.errors import QueueError

__all__ = [
    "EngineLost",
    "EngineRefused",
    "HandlerFailed",
    "MessageDead",
    "MessageTooLarge",
    "NotOpen",
    "OutcomeLost",
    "PartitionMismatch",
]


class EngineLost(QueueError, ConnectionError):
    """The server cannot be reached, or the connection to it was lost."""


class EngineRefused(QueueError):
    """The server was reached and refused what it was asked for; the text has its answer."""


class MessageTooLarge(EngineRefused, ValueError):
    """The message is larger than the server takes. Nothing of what was sent along with it was stored for that."""


class PartitionMismatch(QueueError, ValueError):
    """The queue has another number of partitions on the server than this instance was made with."""


class NotOpen(QueueError, RuntimeError):
    """The queue was used before it was opened."""


class HandlerFailed(QueueError):
    """The handler raised in another process, and its exception is of no class that may be made here.

    Attributes:
        type_name: the module and the name of the exception's class, such as ``"bot.errors.Blocked"``.
        text: what ``str`` made of the exception.
    """

    def __init__(self, type_name: str, text: str) -> None:
        super().__init__(f"{type_name}: {text}")
        self.type_name = type_name
        self.text = text

    def __reduce__(self) -> tuple[type[HandlerFailed], tuple[str, str]]:
        return HandlerFailed, (self.type_name, self.text)


class MessageDead(QueueError):
    """Every delivery of the message ended without an outcome, so it was given up: it may kill its workers."""


class OutcomeLost(QueueError):
    """The message was stored, and the server knows neither it nor its outcome any more."""
