"""DistributedQueue: the promises of `MessageQueue` over any number of processes and machines."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_args
from uuid import uuid4

from reference_queue._check import check_callable, check_choice, check_count, check_seconds, check_text
from reference_queue._refusals import called_from_handler, closed, still_running
from reference_queue.distributed import outcome
from reference_queue.distributed._deliveries import Deliveries, around, text_of
from reference_queue.distributed._promises import Promises
from reference_queue.distributed._tasks import begin, end
from reference_queue.distributed.engine import Counts, Envelope, partition_of
from reference_queue.distributed.errors import NotOpen
from reference_queue.distributed.stats import InstanceStats
from reference_queue.errors import (
    LoopEnded,
    QueueClosed,
    ReentrantEnqueue,
    WrongLoop,
)
from reference_queue.queue import CloseMode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType
    from typing import Self

    from reference_queue.distributed._deliveries import Running
    from reference_queue.distributed.engine import Engine

__all__ = ["DistributedQueue"]

M = TypeVar("M")
R = TypeVar("R")


class DistributedQueue(Generic[M, R]):
    """Hands messages to an async handler in any of several processes: in order within a chat, one at a time.

    What it guarantees, as long as the server keeps what it has stored:

    - The messages of one chat are handled in the order in which one instance took them in, one at a time over all
      instances. Chats share a fixed number of partitions, and it is the partitions that run side by side.
    - Every future it hands out is settled: with the handler's result or exception, a cancellation, or a `QueueError`
      that says what became of the message. With a deadline, and there is one by default, that holds when the server
      never comes back, too.
    - A message that is stored is handled *at least once*: if its worker dies, or is stopped for longer than its
      lease, the message is delivered again, before the later ones of its chat. A worker that wakes up after that may
      run beside the new delivery for a moment. So a handler whose work must not be done twice keeps a note of the
      message ids it has done; `current_delivery` tells it the id and the attempt.
    - A message that takes its worker down each time is given up after a bounded number of deliveries (`MessageDead`).
    - Memory and tasks follow the work in flight, here and on the server.

    A handler that fails is not called again for the message: whoever sent it gets the exception. Retries belong into
    the handler, where the messages behind wait for them; put off to later, they would overtake nothing and be
    overtaken by everything.

    Handlers may send to the queue. One that asks for a result of its own partition, directly or by way of other
    messages of this queue, is refused (`ReentrantEnqueue`): that result could come only after the handler's own end.

    Args:
        engine: the server, as this instance sees it; the queue opens and closes it. One engine for each queue.
        handler: called with each message; must return an awaitable. None makes a producer only.
        name: what the queue is called on the server; instances with the same name share their messages.
        partitions: how many chats at most are handled at the same time over all instances; stored on the server
            by the first instance, and the same for all.
        workers: the most handlers that run at the same time in this instance.
        default_deadline: seconds, for enqueued messages that bring no deadline of their own; None for none. A
            posted message has only the deadline that it brings.
        dumps, loads: make text of messages and results, and the reverse; the same in all instances.
        errors: exceptions of your own that are made again, from their `args`, where the future is. Python's and the
            queue's are; all others arrive as `HandlerFailed`, because nothing is ever unpickled.

    Raises:
        TypeError, ValueError: an argument is not of the kind described; the text says which and what is.
    """

    def __init__(  # noqa: PLR0913 - every option is a keyword with a default
        self,
        engine: Engine,
        handler: Callable[[M], Awaitable[R]] | None = None,
        *,
        name: str,
        partitions: int = 64,
        workers: int = 64,
        default_deadline: float | None = 60.0,
        dumps: Callable[[Any], str] = json.dumps,
        loads: Callable[[str], Any] = json.loads,
        errors: Iterable[type[Exception]] = (),
    ) -> None:
        if handler is not None and not callable(handler):
            raise TypeError(
                f"handler={handler!r} cannot be called. Pass an async function that takes one message, or None for a "
                "producer only."
            )
        if isinstance(cast("object", engine), type) or not callable(getattr(engine, "consume", None)):
            raise TypeError(f"engine={engine!r} is no engine. Give an object, such as BullMQEngine(url).")
        for option, function in (("dumps", dumps), ("loads", loads)):
            check_callable(option, function, "a function such as those of json")
        errors = tuple(errors)
        for kind in cast("tuple[object, ...]", errors):
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                raise TypeError(f"errors={errors!r} has {kind!r} in it, which is no class of exceptions.")
        check_text("name", name)
        check_count("partitions", partitions)
        check_count("workers", workers)
        check_seconds("default_deadline", default_deadline)
        self._engine = engine
        self._name = name
        self._partitions = partitions
        self._workers = workers
        self._default_deadline = default_deadline
        self._dumps = dumps
        self._deliveries = None if handler is None else Deliveries(name, handler, dumps, loads)
        self._promises = Promises(engine, loads, outcome.remakeable(errors))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._turn = asyncio.Lock()
        """Opening, and the end of closing."""
        self._sentinel: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        stats = self.get_memory_stats()
        state = "closed" if self._closed else "open" if self._loop is not None else "not open"
        return (
            f"<DistributedQueue {self._name!r} {state} queued={stats.total_queued} waiting={stats.waiting} "
            f"processing={stats.processing}>"
        )

    # -- sending -----------------------------------------------------------------------------------------

    def enqueue(
        self, chat_id: str, message: M, *, message_id: str | None = None, deadline: float | None = None
    ) -> asyncio.Future[R]:
        """Take a message in, at once, and return the future of its handler's result.

        The call itself never waits: the message is sent to the server behind those before it, and again if the
        server is lost meanwhile. To wait until it is stored, `post` it.

        Cancelling the future withdraws a message that is not on its way to the server yet. Later it means that
        nobody here waits for the result; the message is handled all the same.

        A failure counts as retrieved: who drops the future is not warned.

        Args:
            chat_id: messages with equal ids are one chat.
            message: what the handler is called with, after `dumps` and `loads`.
            message_id: tells a message that is sent again from a new one; unique over all chats. A message whose id
                the server remembers is not handled again: its future gets the outcome of the first, be it that its
                deadline was over. None: a new id.
            deadline: seconds from now in which the message is to be handled. When they are over, the future raises
                `DeadlineExceeded`; a message still queued is not handled when its turn comes, a running handler
                is cancelled. The clocks of the machines should agree. None: the queue's ``default_deadline``.

        Raises:
            QueueClosed: the queue is closing or closed.
            NotOpen: the queue has not been opened.
            ReentrantEnqueue: called while handling a message of the same partition, directly or by way of other
                messages of this queue. That the result is not awaited cannot be seen; use `post`.
            WrongLoop: no event loop runs here, or another one than the queue's.
            TypeError, ValueError: ``chat_id`` or ``message_id`` is no text or empty, ``deadline`` is no number above
                0, ``message_id`` is on its way for another chat, or `dumps` refuses the message.
        """
        self._running_loop()
        seconds = self._default_deadline if deadline is None else deadline
        envelope = self._envelope(chat_id, message, message_id, seconds, reply=True)
        return self._promises.promise(envelope, self._partition(chat_id), seconds)

    async def post(
        self, chat_id: str, message: M, *, message_id: str | None = None, deadline: float | None = None
    ) -> None:
        """Take a message in without a result; return when the server has it.

        If it is cancelled, or raises, before the message is on its way, the message is withdrawn; later, the message
        may be stored all the same. Repeat it with the same ``message_id`` to be sure that it is stored once.

        A handler that fails, and a deadline that passes, are reported once where the message is handled, to that
        loop's exception handler (`loop.call_exception_handler`).

        A handler may post to its own chat: the message follows those already queued.

        Args and errors are those of `enqueue`, without `ReentrantEnqueue`; `EngineRefused`, `DeadlineExceeded` and
        `QueueClosed` are also raised when they strike before the message is stored.
        """
        self._running_loop()
        envelope = self._envelope(chat_id, message, message_id, deadline, reply=False)
        await self._promises.promise(envelope, self._partition(chat_id), deadline)

    def _partition(self, chat_id: str) -> int:
        return partition_of(chat_id, self._partitions)

    def _envelope(
        self, chat_id: str, message: M, message_id: str | None, deadline: float | None, *, reply: bool
    ) -> Envelope:
        """Make what is sent, or raise without a trace of it."""
        if self._closed:
            raise closed()
        check_text("chat_id", chat_id)
        if message_id is not None:
            check_text("message_id", message_id)
        check_seconds("deadline", deadline)
        trail: frozenset[int] = frozenset()
        asking = around(self._name) if reply else None
        if asking is not None:
            trail = asking.trail
            if self._partition(chat_id) in trail:
                raise ReentrantEnqueue(
                    f"A handler enqueued to chat {chat_id!r} of its own partition, directly or by way of other "
                    f"messages of queue {self._name!r}: the result cannot come before that handler ends, so waiting "
                    "for it would be a deadlock. Use `await queue.post(...)` for a message whose result the handler "
                    "does not need, or a queue of another name for messages that handlers wait for."
                )
        return Envelope(
            message_id=uuid4().hex if message_id is None else message_id,
            chat_id=chat_id,
            body=text_of(self._dumps, message, "The message"),
            expires=None if deadline is None else time.time() + deadline,
            reply=reply,
            trail=tuple(sorted(trail)),
        )

    # -- opening, waiting and closing --------------------------------------------------------------------

    async def open(self) -> None:
        """Connect to the server and, with a handler, begin to handle messages; ``async with`` does it.

        Raises:
            EngineLost: the server cannot be reached; `open` can be called again.
            PartitionMismatch: the queue has another number of partitions on the server.
            QueueClosed: the queue has been closed, or is closed meanwhile; make a new one.

        Whatever it raises, a cancellation included, nothing of the instance is left.
        """
        if self._loop is not None:
            self._running_loop()
        async with self._turn:
            if self._loop is None and not self._closed:
                try:
                    await self._engine.open(self._name, self._partitions, self._promises.settled)
                    if self._deliveries is not None:
                        await self._engine.consume(self._deliveries.deliver, self._workers)
                    if not self._closed:
                        self._loop = asyncio.get_running_loop()
                        self._sentinel = begin(self._watch(), "sentinel")
                finally:
                    if self._loop is None:
                        await self._engine.aclose()
            if self._closed:
                raise QueueClosed("The queue is closed and cannot be opened again. Make a new queue, and a new engine.")

    async def join(self) -> None:
        """Wait until no message sent from here is on its way or waited for; at once if there is none.

        Raises:
            CalledFromHandler: a handler of this queue would wait for itself.
            WrongLoop: called in another event loop than the queue's.
        """
        self._running_loop()
        self._refuse_handlers("join")
        await self._promises.join()

    async def aclose(  # the timeout is of two phases, which no timeout around the call could tell apart
        self,
        mode: CloseMode = "drain",
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - for that reason
    ) -> None:
        """Close this instance and wait until nothing of it is left: no task, no connection.

        From the call on, new messages are refused with `QueueClosed`. With ``"drain"``, every message sent from here
        is stored and its outcome awaited, then no more messages are taken from the server, and the handlers that run
        here end. With ``"cancel"``, or when draining takes longer than the timeout, the futures not settled get
        `QueueClosed` and the handlers here are cancelled; their messages go back to the server, which gives them to
        another instance, at the front of their partition.

        Messages that are stored stay stored, whatever the mode: other instances handle them, or this one's successor.

        It can be called again, also while another call is under way: ``aclose("cancel")`` cuts a draining short. A
        cancelled call leaves the queue closed to new messages; what it waited for goes on.

        Args:
            mode: ``"drain"`` or ``"cancel"``.
            timeout: seconds, first for draining and then, afresh, for cancelled handlers to end and for the server to
                take leave; None waits for as long as it takes.

        Raises:
            CloseTimeout: every future is settled, but handlers that ignore their cancellation still run, and the
                connection stays open to keep their chats from other instances; call it again when they have ended.
            CalledFromHandler: a handler of this queue would wait for itself.
            WrongLoop: called in another event loop than the queue's.
            TypeError, ValueError: an argument is not of the kind described.
        """
        check_choice("mode", mode, get_args(CloseMode))
        check_seconds("timeout", timeout, zero=True)
        self._refuse_handlers("aclose")
        if self._loop is not None:
            self._running_loop()
        self._closed = True
        if self._loop is None:
            async with self._turn:  # after an opening that is under way, which finds the queue closed
                await self._engine.aclose()
            return
        if mode == "cancel" or not await self._drained(timeout):
            self._promises.give_up(
                QueueClosed, "The queue was closed before the outcome came.", "Close with 'drain' to wait for it."
            )
        await self._promises.outbox.aclose()
        try:
            async with asyncio.timeout(timeout):
                await self._engine.stop(cancel=True)
        except TimeoutError:
            chats = sorted({running.delivery.chat_id for running in self._deliveries_running()})
            raise still_running(chats) from None
        async with self._turn:
            if self._sentinel is not None:
                await end([self._sentinel])
            await self._engine.aclose()

    async def _watch(self) -> None:
        """Live while the queue is open, only to be cancelled when *all* tasks of the loop are.

        `asyncio.run` cancels every task when its main one is done: then nothing is sent and no outcome is read any
        more, and the futures that somebody still holds would be pending for ever.
        """
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._closed = True
            self._promises.give_up(
                LoopEnded,
                "The event loop cancelled all of its tasks while the outcome was waited for.",
                "Close the queue before its loop ends.",
            )

    async def _drained(self, seconds: float | None) -> bool:
        """Wait for what was sent from here and for the handlers that run here; return False if that took longer."""
        try:
            async with asyncio.timeout(seconds):
                await self.join()
                await self._engine.stop()
        except TimeoutError:
            return False
        return True

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drain after an orderly end of the block; cancel after an exception."""
        await self.aclose("drain" if kind is None else "cancel")

    # -- looking on --------------------------------------------------------------------------------------

    @property
    def workers(self) -> int:
        """The most handlers that run at the same time in this instance; 0 for a producer."""
        return 0 if self._deliveries is None else self._workers

    def get_memory_stats(self) -> InstanceStats:
        """Return what this instance holds now; see `InstanceStats`. Callable from any thread, unlike all else here."""
        deliveries = self._deliveries
        running = self._deliveries_running()
        chats = {each.delivery.chat_id for each in running}
        chats.update(self._promises.chats())
        return InstanceStats(
            total_chats=len(chats),
            total_queued=len(self._promises.outbox),
            processing=len(running),
            pending_promises=len(running),
            waiting=len(self._promises.pending),
            workers=0 if deliveries is None else self._workers,
            sent=self._promises.sent,
            **({} if deliveries is None else deliveries.counts()),
        )

    async def get_server_stats(self) -> Counts:
        """Return what the server holds, of all instances together; see `Counts`.

        Raises:
            EngineLost: the server was not reached.
        """
        self._running_loop()
        return await self._engine.counts()

    # -- inside ------------------------------------------------------------------------------------------

    def _deliveries_running(self) -> list[Running]:
        return [] if self._deliveries is None else list(self._deliveries.running)

    def _running_loop(self) -> None:
        """Raise unless the queue is open and the running loop is its own."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise WrongLoop("No event loop runs in this thread. Call the queue from a coroutine of its loop.") from None
        if self._loop is None and not self._closed:
            raise NotOpen("The queue is not open. Enter it first (`async with queue:`), or await its open().")
        if self._loop is not None and loop is not self._loop:
            raise WrongLoop(
                f"The queue belongs to {self._loop!r} and was called in {loop!r}. Make a queue, and an engine, for "
                "each event loop."
            )

    def _refuse_handlers(self, method: str) -> None:
        running = around(self._name)
        if running is not None and running.owner is self._deliveries:
            raise called_from_handler(method)
