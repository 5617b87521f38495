"""The ready lane and its workers: which chat is handled next, and by whom."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from contextvars import Context
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from reference_queue import _steps
from reference_queue._lane import Lane, new_lane
from reference_queue._steps import DONE, FATAL, Steps, drive
from reference_queue.errors import LoopEnded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable
    from types import TracebackType

    from reference_queue._message import Chat, Message
    from reference_queue._room import Room
    from reference_queue._steps import Link
    from reference_queue.observer import GivenUpAs

__all__ = ["Pool", "Worker"]

M = TypeVar("M")
R = TypeVar("R")


class Worker(Generic[M, R]):
    """What one worker's task is doing; written by the task, so that nothing is lost however it ends."""

    __slots__ = ("asked_by", "called_off", "chat", "link", "looking", "message", "retired", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.chat: Chat[M, R] | None = None
        self.message: Message[M, R] | None = None
        """The message being handled: there is one exactly while its handler is alive."""
        self.link: Link | None = None
        """Names the handling of this message; see `_steps`."""
        self.asked_by: Link | None = None
        """The handler that waits, or may wait, for the message being handled."""
        self.called_off = 0
        """How often the queue itself has cancelled the handler; its message is settled and counted then."""
        self.looking = True
        """Whether it will look into the ready lane when its task goes on."""
        self.retired = False


class Pool(Generic[M, R]):
    """The chats that have work and the workers that do it.

    A worker that is looking for work takes at least one chat before it ends, if any is ready; so work never
    waits for a worker if ``ready <= looking`` or all workers are live. Both are kept by the workers' own
    code, in the step in which the fact changes, never by a callback that runs later.
    """

    def __init__(self, handler: Callable[[M], Awaitable[R]], room: Room[M, R], workers: int, batch: int) -> None:
        self.handler = handler
        self.room = room
        self.limit = workers
        self.batch = batch
        self.loop: asyncio.AbstractEventLoop | None = None
        self.chats: dict[Hashable, Chat[M, R]] = {}
        self.ready: Lane[Chat[M, R]] = new_lane()
        self.live = 0
        """Workers started and not retired."""
        self.looking = 0
        """Live workers that will look for a chat when their tasks go on."""
        self.workers: set[Worker[M, R]] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        """The loop keeps weak references only; nothing is ever counted by this set."""
        self.sentinel: asyncio.Task[None] | None = None
        self.all_retired: asyncio.Future[None] | None = None
        self.idle: list[asyncio.Future[None]] = []
        """Who waits for the last chat to go."""
        self.completed = self.failed = self.cancelled = 0

    # -- chats -------------------------------------------------------------------------------------------

    def schedule(self, chat: Chat[M, R]) -> None:
        """Put a chat with a queued message into the ready lane and see to a worker for it."""
        chat.scheduled = True
        self.ready.append(chat)
        if self.looking < len(self.ready) and self.live < self.limit:
            self.wake()

    def release(self, chat: Chat[M, R]) -> None:
        """Take a chat back from its worker: to the end of the ready lane, or out of mind."""
        chat.worker = None
        if chat.head is not None:
            self.ready.append(chat)
        else:
            chat.scheduled = False
            self.forget_if_idle(chat)

    def forget_if_idle(self, chat: Chat[M, R]) -> None:
        """Keep nothing for a chat that has neither messages nor a worker."""
        if chat.worker is not None or chat.head is not None:
            return
        if self.room.bounded and chat.line is not None and chat.line.present:
            return
        # Identity matters: what is removed must be this chat, not a newer one of the same id.
        if self.chats.get(chat.chat_id) is chat:
            del self.chats[chat.chat_id]
        if chat.scheduled:
            self.ready.leave(chat)
        chat.gone = True
        self.room.forget(chat)
        if self.idle and not self.chats:
            for waiter in self.idle:
                if not waiter.done() and not waiter.get_loop().is_closed():
                    waiter.set_result(None)
            self.idle.clear()

    def withdraw(self, message: Message[M, R]) -> None:
        """Let go of a message whose caller has cancelled it before its handling began."""
        self.take_out(message)
        self.cancelled += 1
        self.gave_up(message, "cancelled")

    def take_out(self, message: Message[M, R]) -> None:
        """Remove a queued or waiting message; whoever waits for its room gets it."""
        chat = message.chat
        del message.body, message.context
        if message.timer is not None:
            message.timer.cancel()
            message.timer = None
        if message.waiting:
            self.room.left_line(message)
        else:
            chat.leave(message)
            self.room.freed(message)
        del message.chat
        self.forget_if_idle(chat)

    # -- what an observed pool tells ---------------------------------------------------------------------

    def handler_for(self, worker: Worker[M, R]) -> Callable[[M], Awaitable[R]]:  # noqa: ARG002 - an observed pool needs it
        """Return what the worker is to call with each message."""
        return self.handler

    def gave_up(self, message: Message[M, R], outcome: GivenUpAs) -> None:
        """Note that a message has left without being handled."""

    # -- workers -----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Start as many workers as ready chats need and the limit allows."""
        while self.live < self.limit and self.looking < self.ready.present:
            # An empty context: otherwise the variables of whoever came first would live as long as the worker.
            Context().run(self._start)

    def _start(self) -> None:
        assert self.loop is not None  # noqa: S101 - the queue binds it before it accepts anything
        if self.sentinel is None:
            self.all_retired = self.loop.create_future()
            self.sentinel = self.spawn(self._watch(self.all_retired), "sentinel")
        worker: Worker[M, R] = Worker()
        self.live += 1
        self.looking += 1
        self.workers.add(worker)
        task = worker.task = self.spawn(self._work(worker), "worker")
        task.add_done_callback(lambda task: self._ended(worker, task))

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that the queue keeps, and waits for when it closes."""
        assert self.loop is not None  # noqa: S101 - as above
        task = self.loop.create_task(coroutine, name=f"reference_queue {name}")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    @staticmethod
    async def _watch(all_retired: asyncio.Future[None]) -> None:
        """Live as long as there are workers, only to be cancelled when *all* tasks of the loop are.

        `asyncio.run` cancels every task when its main one is done. A worker that is cancelled alone is
        replaced; one that is cancelled with everything else must not be: its successor would be destroyed
        with the loop, and the callers of the messages would wait for ever.
        """
        await all_retired

    # One flat loop, because every call in it is felt in the throughput.
    async def _work(self, worker: Worker[M, R]) -> None:  # noqa: C901, PLR0912, PLR0915 - as above
        """Take ready chats in turn and handle at most `batch` messages of each, until none is ready."""
        task = worker.task = cast("asyncio.Task[None]", asyncio.current_task())
        driver = drive(self, worker)
        next(driver)
        step = driver.send
        ready, room, batch, done = self.ready, self.room, self.batch, DONE
        bounded, one_turn = room.bounded, range(batch)
        cancelling = task.cancelling
        budget = batch
        try:
            if task.get_loop().get_task_factory() is not None:
                # Perhaps an eager one, which would run handlers in the midst of the call that sends a message.
                await asyncio.sleep(0)
            self.looking -= 1
            worker.looking = False
            while True:
                if not ready or budget <= 0:
                    # Either let the rest of the loop run, or wait for those who have just got their results:
                    # whoever asks again at once is served without a new task.
                    self.looking += 1
                    worker.looking = True
                    await asyncio.sleep(0)
                    if not ready:
                        return
                    self.looking -= 1
                    worker.looking = False
                    budget = batch
                chat = ready.popleft()
                if chat.gone:
                    ready.holes -= 1
                    continue
                worker.chat = chat
                chat.worker = worker
                for handled in one_turn:  # noqa: B007 - how many is needed after it
                    if (message := chat.head) is None:
                        break
                    # `chat.leave`, in short: it is the first.
                    chat.head = after = message.after
                    if after is None:
                        chat.tail = None
                    else:
                        after.before = message.after = None
                    message.gone = True
                    room.queued -= 1
                    if bounded:
                        chat.present -= 1
                        if room.watched:
                            room.taken(message)
                    context = message.context
                    del message.context
                    if not message.left():
                        worker.message = message
                        waits_for = context.run(step, message)
                        if waits_for is not done:
                            await Steps(driver, context, waits_for)
                            budget = batch
                        worker.message = None
                    else:
                        del message.body
                        self.cancelled += 1
                        self.gave_up(message, "cancelled")
                    del message.chat
                    if message.timer is not None:
                        message.timer.cancel()
                        message.timer = None
                    if worker.called_off or cancelling():
                        self._go_on_unless_cancelled(worker, task)
                else:
                    handled = batch
                budget -= handled
                worker.chat = chat.worker = None
                if chat.head is not None or self.idle or (bounded and chat.line is not None):
                    self.release(chat)
                else:  # the same, in short, for the usual case
                    del self.chats[chat.chat_id]
        finally:
            self._retire(worker)

    def fail(self, worker: Worker[M, R], message: Message[M, R], error: BaseException) -> None:
        """Settle the message with what its handler raised, or report it if nobody can receive it."""
        if isinstance(error, CancelledError):
            self.cancelled += not worker.called_off
            message.abort()
            return
        self.failed += not worker.called_off
        error.__traceback__ = _of_the_handler(error.__traceback__)
        outcome = error
        if isinstance(error, StopIteration):
            # A future refuses it: raised into a coroutine it would look like the coroutine's return.
            outcome = RuntimeError(f"The handler raised {error!r}")
            outcome.__cause__ = error
        nobody = message.posted or message.done()
        message.fail(outcome)
        if nobody and not isinstance(error, FATAL):
            self.report("A message failed in its handler and nobody waits for it", message.chat, outcome)

    @staticmethod
    def _go_on_unless_cancelled(worker: Worker[M, R], task: asyncio.Task[None]) -> None:
        """Take back the queue's own cancellations of the task; obey one that somebody else has asked for."""
        for _ in range(worker.called_off):
            task.uncancel()
        worker.called_off = 0
        if task.cancelling():
            raise CancelledError

    def call_off(self, message: Message[M, R], error: Exception, *, count_as_cancelled: bool = False) -> bool:
        """Settle a message that is being handled and cancel its handler; the chat stays with its worker.

        Returns False if the message is not being handled. A handler that goes on in spite of the
        cancellation keeps its chat, so no second one can begin beside it.
        """
        worker = message.chat.worker
        if worker is None or worker.message is not message or worker.task is None:
            return False
        message.fail(error)
        if message.timer is not None:
            message.timer.cancel()  # or a handler that ignores the close would be counted as expired, too
            message.timer = None
        if worker.called_off == 0:
            self.cancelled += count_as_cancelled
        worker.called_off += 1
        worker.task.cancel()
        return True

    def _retire(self, worker: Worker[M, R]) -> None:
        """Take the worker off the books and see to what it leaves behind; once for each worker."""
        worker.retired = True
        self.workers.discard(worker)
        self.live -= 1
        loop = cast("asyncio.AbstractEventLoop", self.loop)
        worker.link = worker.asked_by = None
        message, worker.message = worker.message, None
        if message is not None:
            del message.chat
            if message.timer is not None:
                message.timer.cancel()
                message.timer = None
            if not message.done() and not loop.is_closed():
                message.abort()
        chat, worker.chat = worker.chat, None
        self.looking -= worker.looking
        worker.looking = False
        if chat is not None:
            self.release(chat)
        cancelled = worker.task is not None and worker.task.cancelling() > 0
        if loop.is_closed() or (cancelled and self._all_cancelled()):
            self.abandon()
        if self.live == 0:
            self._rest(loop)
        if not loop.is_closed():
            self.wake()

    def _all_cancelled(self) -> bool:
        return self.sentinel is not None and (self.sentinel.done() or self.sentinel.cancelling() > 0)

    def _rest(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let go of what only workers need."""
        self.sentinel = None
        if self.all_retired is not None and not self.all_retired.done() and not loop.is_closed():
            self.all_retired.set_result(None)
        if not self.chats:
            self.chats.clear()  # a dict keeps the table of its best days until it is cleared

    def _ended(self, worker: Worker[M, R], task: asyncio.Task[None]) -> None:
        if not worker.retired:
            # Cancelled before its first step: no line of it has run, not even its `finally`.
            self._retire(worker)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, FATAL):
            self.report("A worker ended unexpectedly; its chats go on with another", None, error)

    def give_up(self, error: Callable[[], Exception]) -> int:
        """Settle every message whose handling has not begun; return how many there were."""
        given_up = 0
        chats = list(self.chats.values())
        # Those that wait for room go first, or they would be let in one by one while the others go.
        for lane in [*(chat.line for chat in chats if self.room.bounded), *chats]:
            while lane is not None and (message := lane.first()) is not None:
                self.take_out(message)
                self.gave_up(message, "cancelled")
                message.fail(error())
                given_up += 1
        self.cancelled += given_up
        return given_up

    def abandon(self) -> None:
        """Settle what is queued when the loop ends."""
        self.give_up(
            lambda: LoopEnded(
                "The event loop ended, or all of its tasks were cancelled, while the message was queued. "
                "Close the queue (`await queue.aclose()`, or `async with`) before its loop ends."
            )
        )

    def report(self, text: str, chat: Chat[M, R] | None, error: BaseException) -> None:
        """Hand an error that nobody can receive to the loop's exception handler, as asyncio does."""
        if self.loop is not None:
            where = "" if chat is None else f" (chat {chat.chat_id!r})"
            self.loop.call_exception_handler({"message": f"{text}{where}", "exception": error})


def _of_the_handler(trace: TracebackType | None) -> TracebackType | None:
    """Cut the queue's own frames off: they would keep the worker and all it holds alive with the error."""
    while trace is not None and any(trace.tb_frame.f_globals is own for own in (globals(), vars(_steps))):
        trace = trace.tb_next
    return trace
