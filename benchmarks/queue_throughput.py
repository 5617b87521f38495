"""Throughput of `reference_queue` beside the usual ways to handle messages chat by chat, in one run.

Each design handles every message of every chat with a handler that does nothing, so what is measured is the
queueing alone. *Burst*: all messages are sent at once, then all results awaited. *Awaited*: a producer for each
chat awaits every result before it sends the next message. Rounds alternate between the designs, so a slow
moment of the machine hits all of them; the figures are medians, and the ratios those of medians to one
`asyncio.Queue`. Time is the processor's, so that other work of the machine counts little. The first two rows
have no queue; they show what Python itself costs. The fourth shows the standard way to what the yardstick lacks
and `reference_queue` does for every message: a context of its own for each handler.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
import types
from collections import deque
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import aiojobs
from table import Row

from reference_queue import MessageQueue, Observer
from reference_queue.metrics import QueueMetrics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
    from contextvars import Context

    Send = Callable[[int, int], Awaitable[Any]]


async def handle(message: int) -> int:
    """Do nothing, at the least cost an async function can have."""
    return message


class Deaf(Observer):
    """Is told everything and does nothing with it."""


@asynccontextmanager
async def bare_await() -> AsyncGenerator[Send, None]:
    """`await handler(message)` in the caller: no queue at all."""
    yield lambda _chat, message: handle(message)


@asynccontextmanager
async def bare_future() -> AsyncGenerator[Send, None]:
    """The same with a future for the result, which every queue below has to make."""
    loop = asyncio.get_running_loop()

    async def settle(message: int) -> int:
        future: asyncio.Future[int] = loop.create_future()
        future.set_result(await handle(message))
        return await future

    yield lambda _chat, message: settle(message)


async def _serve(queue: asyncio.Queue[tuple[int, asyncio.Future[int]]]) -> None:
    while True:
        message, future = await queue.get()
        future.set_result(await handle(message))
        queue.task_done()


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def one_asyncio_queue() -> AsyncGenerator[Send, None]:
    """One `asyncio.Queue` and one consumer for everything; the chats do not run side by side."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[int, asyncio.Future[int]]] = asyncio.Queue()
    consumer = asyncio.create_task(_serve(queue))

    def send(_chat: int, message: int) -> asyncio.Future[int]:
        future: asyncio.Future[int] = loop.create_future()
        queue.put_nowait((message, future))
        return future

    yield send
    await _stop([consumer])


@asynccontextmanager
async def asyncio_queue_in_context() -> AsyncGenerator[Send, None]:
    """The same, each handler in a copy of its sender's context, for which asyncio has a task."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[int, asyncio.Future[int], Context]] = asyncio.Queue()

    async def serve() -> None:
        while True:
            message, future, context = await queue.get()
            future.set_result(await loop.create_task(handle(message), context=context))

    consumer = asyncio.create_task(serve())

    def send(_chat: int, message: int) -> asyncio.Future[int]:
        future: asyncio.Future[int] = loop.create_future()
        queue.put_nowait((message, future, copy_context()))
        return future

    yield send
    await _stop([consumer])


class _Withdrawn:
    """Told when a caller cancels its future."""

    __slots__ = ()

    def __call__(self, _future: object) -> None:
        """Take the message out."""


@types.coroutine
def _steps() -> Generator[object, Any, None]:
    """Handle what is sent in: one generator for all, as an own coroutine of each costs twice as much to drive."""
    while True:
        future, message = yield
        future.set_result((yield from handle(message)))


@asynccontextmanager
async def least_that_is_promised() -> AsyncGenerator[Send, None]:
    """What the queue promises for each message and nothing else: no chats, no order, no bounds, no failures.

    A future, to hear of its cancellation while the message is queued, and the handler run in its sender's context.
    """
    loop = asyncio.get_running_loop()
    lane: deque[tuple[Any, _Withdrawn, Context, int]] = deque()
    step: Any = _steps()
    step.send(None)

    def work() -> None:
        while lane:
            future, withdrawn, context, message = lane.popleft()
            if future.remove_done_callback(withdrawn):
                context.run(step.send, (future, message))

    def send(_chat: int, message: int) -> asyncio.Future[int]:
        if asyncio.get_running_loop() is not loop:
            raise RuntimeError("another loop's queue")
        future: asyncio.Future[int] = loop.create_future()
        withdrawn, context = _Withdrawn(), copy_context()
        future.add_done_callback(withdrawn, context=context)
        if not lane:
            loop.call_soon(work)
        lane.append((future, withdrawn, context, message))
        return future

    yield send


class _Receipt(asyncio.Future[int]):
    """A future that is the message as well, and hears of its own cancellation."""

    __slots__ = ("body", "context", "queued")

    body: int
    context: Context
    queued: bool

    def cancel(self, msg: Any = None) -> bool:
        """Take the message out, too."""
        self.queued = False
        return super().cancel(msg)


@asynccontextmanager
async def least_by_a_future_of_its_own() -> AsyncGenerator[Send, None]:
    """The same promises with a kind of future whose `cancel` withdraws it: no callback to add and to remove."""
    loop = asyncio.get_running_loop()
    lane: deque[_Receipt] = deque()
    step: Any = _steps()
    step.send(None)

    def work() -> None:
        while lane:
            receipt = lane.popleft()
            if receipt.queued:
                receipt.queued = False
                body, context = receipt.body, receipt.context
                del receipt.body, receipt.context
                context.run(step.send, (receipt, body))

    def send(_chat: int, message: int) -> asyncio.Future[int]:
        if asyncio.get_running_loop() is not loop:
            raise RuntimeError("another loop's queue")
        receipt = _Receipt(loop=loop)
        receipt.body, receipt.context, receipt.queued = message, copy_context(), True
        if not lane:
            loop.call_soon(work)
        lane.append(receipt)
        return receipt

    yield send


@asynccontextmanager
async def message_queue() -> AsyncGenerator[Send, None]:
    """`reference_queue.MessageQueue`: a ready lane of chats and 64 workers."""
    async with MessageQueue(handle) as queue:
        yield queue.enqueue


@asynccontextmanager
async def message_queue_observed() -> AsyncGenerator[Send, None]:
    """The same with an observer that does nothing: what it costs to tell."""
    async with MessageQueue(handle, observer=Deaf()) as queue:
        yield queue.enqueue


@asynccontextmanager
async def message_queue_metrics() -> AsyncGenerator[Send, None]:
    """The same with the histograms that `reference_queue.metrics` shows to Prometheus."""
    async with MessageQueue(handle, observer=QueueMetrics().observer("benchmark")) as queue:
        yield queue.enqueue


@asynccontextmanager
async def task_per_active_chat() -> AsyncGenerator[Send, None]:
    """A task for each chat while it has messages."""
    loop = asyncio.get_running_loop()
    waiting: dict[int, deque[tuple[int, asyncio.Future[int]]]] = {}
    tasks: set[asyncio.Task[None]] = set()

    async def work(chat: int) -> None:
        messages = waiting[chat]
        while messages:
            message, future = messages.popleft()
            future.set_result(await handle(message))
        del waiting[chat]

    def send(chat: int, message: int) -> asyncio.Future[int]:
        future: asyncio.Future[int] = loop.create_future()
        if chat in waiting:
            waiting[chat].append((message, future))
        else:
            waiting[chat] = deque([(message, future)])
            task = asyncio.create_task(work(chat))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return future

    yield send
    await asyncio.gather(*tasks)


@asynccontextmanager
async def queue_per_chat() -> AsyncGenerator[Send, None]:
    """A queue and a worker for each chat, for ever."""
    loop = asyncio.get_running_loop()
    queues: dict[int, asyncio.Queue[tuple[int, asyncio.Future[int]]]] = {}
    workers: list[asyncio.Task[None]] = []

    def send(chat: int, message: int) -> asyncio.Future[int]:
        queue = queues.get(chat)
        if queue is None:
            queue = queues[chat] = asyncio.Queue()
            workers.append(asyncio.create_task(_serve(queue)))
        future: asyncio.Future[int] = loop.create_future()
        queue.put_nowait((message, future))
        return future

    yield send
    await _stop(workers)


@asynccontextmanager
async def lock_per_chat() -> AsyncGenerator[Send, None]:
    """A lock for each chat and a task for each message."""
    locks: dict[int, asyncio.Lock] = {}

    async def work(chat: int, message: int) -> int:
        async with locks.setdefault(chat, asyncio.Lock()):
            return await handle(message)

    yield lambda chat, message: asyncio.create_task(work(chat, message))


@asynccontextmanager
async def aiojobs_scheduler() -> AsyncGenerator[Send, None]:
    """A job of an aiojobs scheduler for each message, as many at a time as the queue has workers; no order at all."""
    scheduler = aiojobs.Scheduler(limit=64, pending_limit=0)

    async def send(message: int) -> int:
        job = await scheduler.spawn(handle(message))
        return await job.wait()

    yield lambda _chat, message: asyncio.ensure_future(send(message))
    await scheduler.close()


DESIGNS = (
    bare_await,
    bare_future,
    one_asyncio_queue,
    asyncio_queue_in_context,
    least_that_is_promised,
    least_by_a_future_of_its_own,
    message_queue,
    message_queue_observed,
    message_queue_metrics,
    task_per_active_chat,
    queue_per_chat,
    lock_per_chat,
    aiojobs_scheduler,
)
YARDSTICK = one_asyncio_queue


async def burst(design: Any, chats: int, messages: int) -> float:
    """Return the messages per second when all are sent at once."""
    async with design() as send:
        begin = time.process_time()
        results = [send(chat, message) for message in range(messages) for chat in range(chats)]
        for result in results:
            await result
        return chats * messages / (time.process_time() - begin)


async def awaited(design: Any, chats: int, messages: int) -> float:
    """Return the messages per second when each chat awaits a result before it sends again."""
    async with design() as send:

        async def produce(chat: int) -> None:
            for message in range(messages):
                await send(chat, message)

        begin = time.process_time()
        await asyncio.gather(*(produce(chat) for chat in range(chats)))
        return chats * messages / (time.process_time() - begin)


CHATS, MESSAGES, ROUNDS = 1_000, 100, 5
LIMITS: dict[str, tuple[float, float | None]] = {"burst": (1.2, None), "awaited": (0.95, 1.2)}
"""Times the yardstick that the queue must reach and should reach; None for half of what a bare future does."""


def rows() -> Iterator[Row]:
    """A row for each load and design: times as many messages a second as the yardstick."""
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for load in (burst, awaited):
            for design in DESIGNS:
                gc.collect()
                rates.setdefault((load.__name__, design.__name__), []).append(
                    asyncio.run(load(design, CHATS, MESSAGES))
                )
    medians = {key: statistics.median(values) for key, values in rates.items()}
    for load in (burst, awaited):
        yard = medians[load.__name__, YARDSTICK.__name__]
        for design in DESIGNS:
            ratio = medians[load.__name__, design.__name__] / yard
            limit, aim = LIMITS[load.__name__] if design is message_queue else (None, None)
            if limit is not None and aim is None:
                aim = medians[load.__name__, bare_future.__name__] / 2 / yard
            name = design.__name__.replace("_", " ")
            yield Row(
                f"{load.__name__}: {name}", f"one queue, {yard:,.0f}/s", ratio, limit=limit, at_least=True, aim=aim
            )
