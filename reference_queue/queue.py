"""MessageQueue: the messages of one chat in order, many chats side by side, and nothing left behind."""

from __future__ import annotations

import asyncio
import logging
from asyncio import get_running_loop
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, get_args

from reference_queue._check import check_bound, check_choice, check_count, check_seconds
from reference_queue._intake import Intake
from reference_queue._lookout import Lookout
from reference_queue._message import MessageFuture, Posted
from reference_queue._observed import observed
from reference_queue._pool import Pool
from reference_queue._refusals import called_from_handler, still_running
from reference_queue._room import Policy, Room
from reference_queue._steps import context_of_its_own, inside_handler_of
from reference_queue._threads import send
from reference_queue.breaker import MemoryBreaker
from reference_queue.errors import QueueClosed, WrongLoop
from reference_queue.stats import MemoryStats

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Callable, Coroutine, Hashable
    from types import TracebackType
    from typing import Self

    from reference_queue.observer import Observer

__all__ = ["CloseMode", "MessageQueue", "Policy"]

M = TypeVar("M")
R = TypeVar("R")

CloseMode = Literal["drain", "cancel"]

_log = logging.getLogger("reference_queue")


class MessageQueue(Generic[M, R]):
    """Hands messages to an async handler: in order within a chat, up to `workers` chats at a time.

    What it guarantees:

    - The messages of one chat are handled in the order in which they were accepted, one at a time. No second
      handler of a chat ever runs beside the first, not even when the first ignores its cancellation.
    - Every future it hands out is settled: with the handler's result or exception, a cancellation, or a
      `QueueError` that says what became of the message. The one exception is a loop that is closed without
      cancelling its tasks; `asyncio.run` does cancel them, and futures held by threads are settled even then.
    - Memory and tasks follow the work in flight. Nothing is kept for an idle chat; an idle queue has no task.
    - A handler runs in a copy of the context variables of whoever sent the message.

    Handlers may send to the queue. One that asks for a result of its own chat, directly or by way of others, is
    refused (`ReentrantEnqueue`). What cannot be told from honest waiting is not: two handlers that each await the
    other's chat without having called each other, or as many handlers as there are workers, all awaiting chats
    that have none. A deadline ends both; `post` avoids both.

    A queue belongs to the event loop in which it is first used, for life. Except for `enqueue_threadsafe` and
    `get_memory_stats`, its methods are to be called in that loop's thread.

    Args:
        handler: called with each message; must return an awaitable, as an ``async def`` does. Put the chat
            id into the message if the handler needs it. One that has an async method ``queue_closed`` is told
            that way when the queue is closed. For handlers that block see `reference_queue.executors`.
        workers: the most handlers that run at the same time, over all chats.
        batch: the most messages of one chat that are handled while other chats wait for a worker.
        max_queued: the most messages queued over all chats; None for no bound. Messages being handled do
            not count.
        max_queued_per_chat: the same, for each chat.
        policy: what a new message meets when a bound is reached. ``"wait"``: it waits for room, in order of
            arrival within its chat, chats taking turns. ``"reject"``: `QueueFull` is raised. ``"drop_oldest"``:
            the oldest queued message (of the chat if its bound is reached, of all otherwise) is settled with
            `MessageDropped`.
        default_deadline: seconds, for messages that bring no deadline of their own; None for none.
        breaker: a `MemoryBreaker`; while it is open, a bound over all counts as reached. A message that is not
            taken in for that reason alone meets `MemoryFull`, a `QueueFull`; under ``"drop_oldest"`` only where no
            message is queued that could be dropped. A queue that is closing takes no notice of it.
        observer: is told how long each message waits and is handled, and what becomes of it; see `Observer`.
            None costs nothing.

    Raises:
        TypeError, ValueError: an argument is not of the kind described; the text says which and what is.
    """

    def __init__(  # noqa: PLR0913 - every option is a keyword with a default
        self,
        handler: Callable[[M], Awaitable[R]],
        *,
        workers: int = 64,
        batch: int = 32,
        max_queued: int | None = None,
        max_queued_per_chat: int | None = None,
        policy: Policy = "wait",
        default_deadline: float | None = None,
        breaker: MemoryBreaker | None = None,
        observer: Observer | None = None,
    ) -> None:
        if not callable(handler):
            raise TypeError(f"handler={handler!r} cannot be called. Pass an async function that takes one message.")
        check_count("workers", workers)
        check_count("batch", batch)
        check_bound("max_queued", max_queued)
        check_bound("max_queued_per_chat", max_queued_per_chat)
        check_choice("policy", policy, get_args(Policy))
        check_seconds("default_deadline", default_deadline)
        if breaker is not None and not isinstance(cast("object", breaker), MemoryBreaker):
            raise TypeError(f"breaker={breaker!r} is no breaker. Give a MemoryBreaker(), or None for none.")
        make_room, make_pool, make_intake = (Room, Pool, Intake) if observer is None else observed(observer)
        self._room: Room[M, R] = make_room(max_queued, max_queued_per_chat, policy, breaker)
        self._pool: Pool[M, R] = make_pool(handler, self._room, workers, batch)
        if breaker is not None:
            self._room.lookout = Lookout(self._pool, breaker.every)
        self._chats = self._pool.chats
        self._loop: asyncio.AbstractEventLoop | None = None
        self._intake: Intake[M, R] = make_intake(self._pool, self._room, default_deadline)

    def __repr__(self) -> str:
        stats = self.get_memory_stats()
        state = "closed" if self._intake.closed else "open"
        return (
            f"<MessageQueue {state} chats={stats.total_chats} queued={stats.total_queued} "
            f"processing={stats.processing}>"
        )

    # -- sending -----------------------------------------------------------------------------------------

    def enqueue(self, chat_id: Hashable, message: M, *, deadline: float | None = None) -> asyncio.Future[R]:
        """Take a message in, at once, and return the future of its handler's result.

        The call itself never waits. When a bound is reached under the policy ``"wait"``, the message waits
        for room and the future is pending meanwhile: await it, or `post`, to feel the back-pressure.

        Cancelling the future (as a timeout around ``await`` does) withdraws a message whose handling has not
        begun. A handler that has begun goes on to its end: it may have done half of its work, and the next
        message of the chat has to wait for it either way. To stop it too, give a deadline.

        A failure counts as retrieved: who drops the future is not warned. To have failures reported, `post`.

        Args:
            chat_id: any hashable; messages with equal ids are one chat.
            message: what the handler is called with.
            deadline: seconds from now in which the message is to be handled. When they are over, the future
                raises `DeadlineExceeded`; a message still queued is never handled, a running handler is
                cancelled. None: the queue's ``default_deadline``.

        Raises:
            QueueClosed: the queue is closing or closed.
            QueueFull: a bound is reached, and the policy is ``"reject"``, or it is ``"wait"`` and the caller
                is a handler of this queue, which would wait for room that may need its own end. `MemoryFull`, if
                it is the breaker's.
            ReentrantEnqueue: called while handling a message of the same chat, directly or by way of other
                chats: the result could only come after the handler that asks for it has ended. That the
                result is not awaited cannot be seen; use `post`.
            WrongLoop: no event loop runs here, or another one than the queue's.
            TypeError, ValueError: ``chat_id`` is not hashable, ``deadline`` is no number above 0.
        """
        try:
            loop = get_running_loop()
        except RuntimeError:
            loop = self._running_loop()  # which raises, and says what to do
        if loop is not self._loop:
            loop = self._running_loop()
        entry: MessageFuture[M, R] = MessageFuture(loop=loop)
        entry.context = copy_context()
        self._intake.take(entry, chat_id, message, deadline)
        return entry

    async def post(self, chat_id: Hashable, message: M, *, deadline: float | None = None) -> None:
        """Take a message in without a result; return when it is accepted.

        Under the policy ``"wait"`` this waits for room. If it is cancelled meanwhile, the message is withdrawn,
        unless its handling has begun by then. If it raises anything else, the message was not taken in.

        A handler that fails, and a deadline that passes after acceptance, are reported once to the loop's
        exception handler (`loop.call_exception_handler`), which logs them by default.

        A handler may post to its own chat: the message follows those already queued.

        Args and errors are those of `enqueue`, without `ReentrantEnqueue`; `DeadlineExceeded` and
        `QueueClosed` are also raised when they strike while waiting for room.
        """
        loop = self._running_loop()
        entry: Posted[M, R] = Posted()
        entry.acceptance = None
        entry.context = context_of_its_own()
        self._intake.take(entry, chat_id, message, deadline)
        if entry.waiting:
            entry.acceptance = loop.create_future()
            try:
                await entry.acceptance
            except asyncio.CancelledError:
                if not entry.gone:
                    self._pool.withdraw(entry)
                raise

    def enqueue_threadsafe(
        self, chat_id: Hashable, message: M, *, deadline: float | None = None
    ) -> concurrent.futures.Future[R]:
        """Take a message in from another thread and return the future of its handler's result.

        The future is settled whatever happens, even when the loop is closed before the message reaches it
        (`LoopEnded`). Cancelling it withdraws the message until its handling begins; after that ``cancel()``
        returns False, as for a running call of an executor. Waiting for the result in the loop's own thread
        would block the loop; use `enqueue` there.

        Args are those of `enqueue`. Errors that depend on the queue's state (`QueueClosed`, `QueueFull`,
        `ReentrantEnqueue`) may be raised by the future.

        Raises:
            QueueClosed: the queue is closing or closed.
            WrongLoop: the queue has not been used in its loop yet, or that loop is closed.
            TypeError, ValueError: ``deadline`` is no number above 0.
        """
        if self._loop is None:
            raise WrongLoop(
                "The queue does not know its event loop yet. Enter it there first (`async with queue:`), "
                "then enqueue from other threads."
            )
        return send(self._intake, self._loop, chat_id, message, deadline)

    # -- waiting and closing -----------------------------------------------------------------------------

    async def join(self) -> None:
        """Wait until no message is queued, waiting for room or being handled; at once if there is none.

        Raises:
            CalledFromHandler: a handler of this queue would wait for itself.
            WrongLoop: called in another event loop than the queue's.
        """
        loop = self._running_loop()
        self._refuse_handlers("join")
        if not self._chats:
            return
        idle = loop.create_future()
        self._pool.idle.append(idle)
        try:
            await idle
        finally:
            if idle in self._pool.idle:
                self._pool.idle.remove(idle)

    async def aclose(  # the timeout is of two phases, which no timeout around the call could tell apart
        self,
        mode: CloseMode = "drain",
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - for that reason
    ) -> None:
        """Close the queue and wait until nothing of it is left: no message, no task.

        From the call on, new messages are refused with `QueueClosed`. With ``"drain"`` everything taken in
        before is handled, those that wait for room included. With ``"cancel"``, or when draining takes
        longer than the timeout, messages not begun are settled with `QueueClosed`, and so are those being
        handled, whose handlers are cancelled.

        It can be called again, also while another call is under way: ``aclose("cancel")`` cuts a draining
        short. A cancelled call leaves the queue closed to new messages; what it waited for goes on.

        Args:
            mode: ``"drain"`` or ``"cancel"``.
            timeout: seconds, first for draining and then, afresh, for cancelled handlers to end; None waits
                for as long as it takes.

        Raises:
            CloseTimeout: every future is settled, but handlers that ignore their cancellation still run; the
                text names their chats.
            CalledFromHandler: a handler of this queue would wait for itself.
            WrongLoop: called in another event loop than the queue's.
            TypeError, ValueError: an argument is not of the kind described.
        """
        check_choice("mode", mode, get_args(CloseMode))
        check_seconds("timeout", timeout, zero=True)
        self._running_loop()
        self._refuse_handlers("aclose")
        self._intake.close()
        self._room.ignore_breaker()
        if mode == "cancel":
            self._cancel_all()
        elif not await _within(timeout, self.join()):
            queued, handled = self._cancel_all()
            _log.warning(
                "The queue was not drained within %g s: gave up %d queued messages, cancelled %d handlers",
                timeout,
                queued,
                handled,
            )
        in_time = await _within(timeout, self.join())
        queue_closed = getattr(self._pool.handler, "queue_closed", None)
        if queue_closed is not None:
            await queue_closed()
        stuck = [each.chat.chat_id for each in self._pool.workers if each.chat is not None]
        if stuck and not in_time:
            raise still_running(stuck)
        while self._pool.tasks:
            await asyncio.wait(self._pool.tasks)

    def _cancel_all(self) -> tuple[int, int]:
        """Settle every message with `QueueClosed`; return how many were queued and how many handled."""
        text = "The queue was closed before the message was handled. Close it with 'drain' to have all handled."
        queued = self._pool.give_up(lambda: QueueClosed(text))
        handled = [each.message for each in self._pool.workers if each.message is not None]
        for message in handled:
            self._pool.call_off(message, QueueClosed(text), count_as_cancelled=True)
        return queued, len(handled)

    async def __aenter__(self) -> Self:
        self._running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drain after an orderly end of the block; cancel after an exception."""
        await self.aclose("drain" if kind is None else "cancel")

    # -- looking on --------------------------------------------------------------------------------------

    @property
    def workers(self) -> int:
        """The most handlers that run at the same time."""
        return self._pool.limit

    def get_memory_stats(self) -> MemoryStats:
        """Return what the queue holds now; see `MemoryStats`. Cheap, and callable from any thread."""
        pool, room = self._pool, self._room
        processing = pending = overdue = 0
        for worker in tuple(pool.workers):
            # The message is read before the chat: another thread sees the worker move on in between.
            handling = worker.message is not None
            pending += handling
            overdue += handling and worker.called_off > 0
            processing += handling or worker.chat is not None
        ended = pool.completed + pool.failed + pool.cancelled + self._intake.dropped + self._intake.expired
        queued, waiting = room.queued, room.waiting
        return MemoryStats(
            total_chats=len(self._chats),
            total_queued=queued,
            processing=processing,
            pending_promises=pending,
            waiting=waiting,
            ready=pool.ready.present,
            workers=pool.live,
            overdue=overdue,
            received=ended + queued + waiting + pending - overdue,
            completed=pool.completed,
            failed=pool.failed,
            cancelled=pool.cancelled,
            dropped=self._intake.dropped,
            expired=self._intake.expired,
            rejected=self._intake.rejected,
        )

    # -- inside ------------------------------------------------------------------------------------------

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, which is the queue's from the first time on."""
        try:
            loop = get_running_loop()
        except RuntimeError:
            raise WrongLoop(
                "No event loop runs in this thread. Call the queue from a coroutine of its loop, "
                "or use enqueue_threadsafe() from other threads."
            ) from None
        if loop is not self._loop:
            if self._loop is not None:
                raise WrongLoop(
                    f"The queue belongs to {self._loop!r} and was called in {loop!r}. Make a queue for each event "
                    "loop, or use enqueue_threadsafe() from the threads of other loops."
                )
            self._loop = self._pool.loop = loop
        return loop

    def _refuse_handlers(self, method: str) -> None:
        if inside_handler_of(self._pool):
            raise called_from_handler(method)


async def _within(seconds: float | None, wait: Coroutine[Any, Any, None]) -> bool:
    """Await; return False if that took longer."""
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        return False
    return True
