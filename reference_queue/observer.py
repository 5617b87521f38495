"""Observer: what a queue tells, as it happens, whoever wants to measure it."""
# ruff: noqa: ARG002 - the methods that a user does not write do nothing

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from reference_queue.errors import QueueError

__all__ = ["GivenUpAs", "HandledAs", "Observer"]

GivenUpAs: TypeAlias = Literal["cancelled", "dropped", "expired"]
HandledAs: TypeAlias = Literal["completed", "failed", "cancelled", "expired"]


@runtime_checkable
class Observer(Protocol):
    """Is told how long each message waited, how long it was handled and what became of it.

    Give one to `MessageQueue(..., observer=...)`. A class that inherits from this one needs only the methods
    it is interested in.

    Every message is told of by `refused` alone, or by `accepted` (unless it is given up while it waits for
    room), and then either by `given_up` or by `begun` and `handled`. The outcomes bear the names of the
    counts in `MemoryStats`, and add up to them.

    No method is told the chat or the message, so that neither can become a label. Times are seconds on the
    clock of the event loop (`loop.time`), from the call that sent the message, in whichever thread that was.

    The methods are called in the loop's thread and in the midst of the queue's work: they are to be quick, must
    not block and must not call the queue. `begun` and `handled` run in the context variables of the message, which
    are a copy of its sender's; so they find the sender's trace, if there is one. What the methods raise harms no
    message: the first error is handed to the loop's exception handler, further ones are kept quiet. Only
    KeyboardInterrupt and SystemExit go on, as from a handler. The queue keeps its observer alive.
    """

    def accepted(self, waited: float, /) -> None:
        """A message was queued, after waiting for room for so many seconds."""
        return

    def refused(self, error: type[QueueError], /) -> None:
        """A message was not taken in for want of room, with an error of that class (`QueueFull`)."""
        return

    def begun(self, waited: float, /) -> None:
        """The handling of a message begins, so many seconds after it was sent."""
        return

    def given_up(self, waited: float, outcome: GivenUpAs, /) -> None:
        """A message left the queue, so many seconds after it was sent, without being handled."""
        return

    def handled(self, took: float, outcome: HandledAs, error: type[BaseException] | None, /) -> None:
        """A handler has ended, so many seconds after it began.

        One that goes on after the deadline of its message or the close of its queue is told of when it ends,
        as ``"expired"`` or ``"cancelled"``, however it ends.

        Args:
            took: seconds, from the call of the handler to its end.
            outcome: what became of the message.
            error: the class of what was raised, or of what the message was settled with before; None if it
                was completed.
        """
        return
