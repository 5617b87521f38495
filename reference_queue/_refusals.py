"""Errors that the queue in process and the distributed one raise in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_queue.errors import CalledFromHandler, CloseTimeout, QueueClosed

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

__all__ = ["called_from_handler", "closed", "still_running"]

_MOST_NAMED = 5
"""So many chats are named in an error's text."""


def closed() -> QueueClosed:
    """Return the error for a message that comes too late."""
    return QueueClosed(
        "The queue is closed or closing and takes no more messages. "
        "Stop what sends them before aclose(), or make a new queue."
    )


def called_from_handler(method: str) -> CalledFromHandler:
    """Return the error for a handler that would wait for its own end."""
    return CalledFromHandler(
        f"{method}() was awaited in a handler of the queue, which would wait for itself. "
        "Call it where the queue was made, after what sends messages."
    )


def still_running(chats: Collection[Hashable]) -> CloseTimeout:
    """Return the error for handlers, of these chats, that go on although the queue is closed."""
    named = [repr(chat) for chat in chats][:_MOST_NAMED]
    more = ", ..." if len(chats) > _MOST_NAMED else ""
    return CloseTimeout(
        f"{len(chats)} handlers still run after their cancellation, those of the chats {', '.join(named)}{more}. "
        "Every future is settled. "
        "Look for an `except` or `finally` in the handler that swallows CancelledError or waits."
    )
