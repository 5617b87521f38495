"""What the queue keeps: a message with whoever waits for it, and a chat with messages."""

from __future__ import annotations

import asyncio
import concurrent.futures
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from reference_queue.errors import LoopEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from contextvars import Context

    from reference_queue._lane import Lane
    from reference_queue._pool import Pool, Worker

__all__ = ["BoundedChat", "Chat", "FromThread", "Message", "MessageFuture", "Posted"]

M = TypeVar("M")
R = TypeVar("R")


# Filled in by who makes a message: a call of __init__ for each one is felt in the throughput.
_FIELDS = ("after", "before", "body", "chat", "context", "gone", "since", "timer", "waiting")


class Message(Generic[M, R]):
    """A message and whoever waits for it. What is written here is right where nobody does."""

    posted = False
    """Whether nobody waits for its result."""

    if not TYPE_CHECKING:
        __slots__ = ()  # each class has the fields in slots of its own: a future's layout joins no other

    body: M
    """Deleted when the handling begins, like the context, or when it leaves: nothing outlives its need."""
    context: Context
    chat: Chat[M, R]
    """Deleted when it is settled: by it, whoever holds the future of a message would hold the queue."""
    before: Message[M, R] | None
    """The next older one that is queued for its chat; filled in, like the next, by the chat."""
    after: Message[M, R] | None
    since: float
    """When it was sent, on the loop's clock; filled in where somebody observes the queue, or a thread sent it."""
    gone: bool
    """Whether it has left the lanes: its handling has begun, or it is settled."""
    waiting: bool
    """Whether it waits for room; it is not accepted yet."""
    timer: asyncio.TimerHandle | None

    def left(self) -> bool:
        """Say, just before it is handled, whether its caller has left; after False the caller cannot any more."""
        return False

    def done(self) -> bool:
        """Say whether nobody waits any more for what becomes of it."""
        return True

    def succeed(self, result: R, /) -> None:
        """Settle with the result; if it is settled, do nothing or raise `asyncio.InvalidStateError`."""

    def fail(self, error: BaseException) -> None:
        """Settle with the error, unless settled."""

    def abort(self) -> None:
        """Settle as cancelled, unless settled; it must have left the lanes."""

    def admitted(self) -> None:
        """Note that it has been let in from the line of those that wait for room."""


class MessageFuture(asyncio.Future[R], Message[M, R], Generic[M, R]):
    """A message that is itself the future of its result: what `MessageQueue.enqueue` hands out.

    One object and no callback to add and to remove, which would cost as much as all else that is done for a
    message. Whoever settles it while it is queued, as a timeout around its ``await`` does, takes it out of the
    queue in the loop's next round: not at once, because a finalizer may do it in the midst of the queue's code.
    """

    __slots__ = _FIELDS

    if not TYPE_CHECKING:
        # What is written in C: the queue settles a message past the methods for callers, which are below.
        left = asyncio.Future.done
        succeed = asyncio.Future.set_result

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the future and withdraw the message, if its handling has not begun; as `asyncio.Future.cancel`."""
        self._withdraw()
        return super().cancel(msg)

    def set_result(self, result: R, /) -> None:
        """Settle the future and withdraw the message, if its handling has not begun."""
        self._withdraw()
        super().set_result(result)

    def set_exception(self, exception: type | BaseException, /) -> None:
        """Settle the future and withdraw the message, if its handling has not begun."""
        self._withdraw()
        super().set_exception(exception)

    def fail(self, error: BaseException) -> None:
        """Settle with the error, unless settled.

        The error counts as retrieved: who dropped the future has said that the outcome does not matter, and
        "exception was never retrieved", logged by some later garbage collection, would blame the wrong code.
        """
        if not self.done():
            # On a closed loop the future is settled and only its callbacks, which cannot run, are refused.
            with suppress(RuntimeError):
                super().set_exception(error)
            self.exception()

    def abort(self) -> None:
        super().cancel()

    def _withdraw(self) -> None:
        # Before the future is settled: who awaits it finds the message gone.
        if not (self.gone or self.done() or self.get_loop().is_closed()):
            self.get_loop().call_soon(self._leave, context=self.context)

    def _leave(self) -> None:
        if not self.gone and self.done():
            self.chat.pool.withdraw(self)


class Posted(Message[M, R]):
    """A message without a caller to answer to; at most somebody waits for it to be accepted."""

    __slots__ = (*_FIELDS, "acceptance")

    posted = True
    acceptance: asyncio.Future[None] | None

    def fail(self, error: BaseException) -> None:
        if self.acceptance is not None and not self.acceptance.done():
            with suppress(RuntimeError):
                self.acceptance.set_exception(error)
            self.acceptance.exception()  # the poster may have been cancelled in the same step

    def admitted(self) -> None:
        if self.acceptance is not None and not self.acceptance.done():
            self.acceptance.set_result(None)


class FromThread(Message[M, R]):
    """A message from another thread, which holds `answer`.

    The thread can cancel the answer at any moment, also between a look at it and the next line.
    """

    __slots__ = (*_FIELDS, "__weakref__", "answer")

    answer: concurrent.futures.Future[R]

    def left(self) -> bool:
        return not self.answer.set_running_or_notify_cancel()

    def done(self) -> bool:
        return self.answer.done()

    def succeed(self, result: R) -> None:
        self._settle(lambda: self.answer.set_result(result))

    def fail(self, error: BaseException) -> None:
        self._settle(lambda: self.answer.set_exception(error))

    def abort(self) -> None:
        # An answer that is being computed refuses cancel(): the thread was told so, and waits.
        if not self.answer.cancel():
            self.fail(concurrent.futures.CancelledError())

    @staticmethod
    def _settle(settle: Callable[[], None]) -> None:
        with suppress(concurrent.futures.InvalidStateError):
            settle()

    def __del__(self) -> None:
        # A loop that is closed forgets what other threads have sent it. This message dies with it, and a
        # thread that waits for the answer would wait for ever.
        if not self.answer.done():
            self.fail(
                LoopEnded(
                    "The event loop of the queue ended before the message was handled. "
                    "Close the queue (`await queue.aclose()`) before its loop ends."
                )
            )


class Chat(Generic[M, R]):
    """A chat that has work, and its queued messages, which are linked with each other.

    It is with one worker, or in the ready lane, or (with messages that wait for room only) in neither.

    Filled in by who makes it, as a message is.

    Links, because most chats never have more than one message queued: an empty `deque` takes five times the memory of
    all else that is kept for a chat, and longer to make. A message leaves from the middle without a trace.
    """

    if not TYPE_CHECKING:
        __slots__ = ("chat_id", "gone", "head", "pool", "scheduled", "tail", "worker")

    pool: Pool[M, R]
    chat_id: Hashable
    head: Message[M, R] | None
    """The oldest queued message."""
    tail: Message[M, R] | None
    """The youngest."""
    scheduled: bool
    """Whether it is in the ready lane or with a worker; always, where there are no bounds."""
    worker: Worker[M, R] | None
    gone: bool
    """Whether the queue has forgotten it; a chat of the same id is then another object."""

    # Of a `BoundedChat` only:
    present: int
    """How many messages are queued."""
    line: Lane[Message[M, R]] | None
    """Messages that wait for room, in order; all of them are younger than the queued ones."""
    standing: bool
    """Whether it is among the chats that wait for room over all."""

    def append(self, message: Message[M, R]) -> None:
        """Queue a message."""
        message.after = None
        message.before = tail = self.tail
        if tail is None:
            self.head = message
        else:
            tail.after = message
        self.tail = message

    def leave(self, message: Message[M, R]) -> None:
        """Take a queued message out, wherever it stands."""
        before, after = message.before, message.after
        message.before = message.after = None
        if before is None:
            self.head = after
        else:
            before.after = after
        if after is None:
            self.tail = before
        else:
            after.before = before
        message.gone = True

    def first(self) -> Message[M, R] | None:
        """Return the oldest queued message without removing it, or None if there is none."""
        return self.head


class BoundedChat(Chat[M, R]):
    """A chat of a queue that has bounds, or somebody who looks on as if it had."""

    __slots__ = ("line", "present", "standing")
