"""Runs handlers, each in the context of its message, inside one worker's task."""

from __future__ import annotations

import inspect
import types
from asyncio import CancelledError, InvalidStateError
from collections.abc import Generator
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar, cast

from reference_queue.errors import HandlerNotAwaitable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextvars import Context

    from reference_queue._message import Chat, Message
    from reference_queue._pool import Pool, Worker
    from reference_queue.observer import HandledAs

    Link = tuple[Worker[Any, Any]]

__all__ = [
    "DONE",
    "FATAL",
    "Steps",
    "as_coroutine",
    "context_of_its_own",
    "drive",
    "handled_around",
    "inside_handler_of",
    "watch",
]

M = TypeVar("M")
R = TypeVar("R")

DONE: Any = object()
"""What a driver yields when a message is settled; anything else is what its handler waits for."""

FATAL = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""What must go on to the event loop, as from any task, once the message is settled."""

_CHAIN: ContextVar[Link | None] = ContextVar("reference_queue_chain", default=None)
"""The handler on whose behalf code runs: its worker, in an object of its own for each message.

The worker has that object while it handles the message, so links that outlive their handler, in the contexts of
tasks it left behind, are harmless. The handler that asked for this one is kept by the worker and let go with the
message, because a chain of links would grow for ever in a relay of messages.
"""


def _running() -> Iterator[Chat[Any, Any]]:
    """Yield the chats of the handlers around the caller, each of which may wait for the one before."""
    link = _CHAIN.get()
    while link is not None:
        (worker,) = link
        chat = worker.chat
        if worker.link is not link or chat is None:
            return
        yield chat
        link = worker.asked_by


def handled_around(chat: Chat[M, R]) -> bool:
    """Say whether the caller runs on behalf of a handler of this chat, directly or through other chats."""
    return any(each is chat for each in _running())


def inside_handler_of(pool: Pool[M, R]) -> bool:
    """Say whether the caller runs on behalf of a handler of this pool."""
    return any(each.pool is pool for each in _running())


def context_of_its_own() -> Context:
    """Return a copy of the caller's context for a message whose result no handler can wait for."""
    context = copy_context()
    if _CHAIN.get() is not None:
        context.run(_CHAIN.set, None)
    return context


def drive(pool: Pool[M, R], worker: Worker[M, R]) -> types.GeneratorType[Any, Message[M, R], None]:
    """Return a generator that handles the messages sent to it; see `_drive`."""
    # types.coroutine marks a generator as fit for `yield from` a coroutine; its type promises less.
    return cast("types.GeneratorType[Any, Message[M, R], None]", _drive(pool, worker))


@types.coroutine
def _drive(pool: Pool[M, R], worker: Worker[M, R]) -> Generator[Any, Message[M, R], None]:
    """Handle each message that is sent in, and settle it; yield `DONE` in between.

    One generator for all messages of a worker, every step of which runs in the context of the message at
    hand: a coroutine driven from outside ends in a raised StopIteration, which costs as much as the rest.
    """
    handler = cast("Callable[[M], Generator[Any, Any, R]]", pool.handler_for(worker))  # what `yield from` makes of it
    chain, extend_chain = _CHAIN.get, _CHAIN.set
    coroutine: Any = types.CoroutineType
    awaitable: Generator[Any, Any, R] | None
    link: Link | None
    try:
        while True:
            message = yield DONE
            worker.asked_by = chain()
            worker.link = link = (worker,)
            extend_chain(link)
            try:
                awaitable = handler(message.body)
                del message.body
                if awaitable.__class__ is not coroutine:
                    awaitable = as_coroutine(handler, awaitable)
                result = yield from awaitable
                if not worker.called_off:
                    pool.completed += 1
                try:  # noqa: SIM105 - suppress() costs, and so does a look: callers rarely go
                    message.succeed(result)
                except InvalidStateError:
                    pass
                del result
            except BaseException as error:
                pool.fail(worker, message, error)
                if isinstance(error, FATAL):
                    raise
            awaitable = None  # `del` would need it to be there, and the handler may have raised at the call
            del message
    finally:
        # CPython 3.12 keeps this frame with a failure that somebody keeps: the handler's leads to it.
        del pool, worker, handler
        awaitable = link = None


def as_coroutine(handler: object, awaitable: object) -> Generator[Any, Any, Any]:
    """Return a coroutine that awaits what the handler returned; raise if that is impossible."""
    if inspect.isawaitable(awaitable):
        return cast("Generator[Any, Any, Any]", _await(awaitable))
    raise HandlerNotAwaitable(
        f"The handler {handler!r} returned {type(awaitable).__name__}, which cannot be awaited. "
        "Define it with `async def`; run blocking code in it with `await asyncio.to_thread(...)`."
    )


async def _await(awaitable: Awaitable[R]) -> R:
    return await awaitable


def watch(
    handler: Callable[[M], Awaitable[R]],
    worker: Worker[M, R],
    begun: Callable[[Message[M, R]], float],
    handled: Callable[[Message[M, R], float, HandledAs, type[BaseException] | None], None],
) -> Callable[[M], Awaitable[R]]:
    """Return a handler that does the same for the worker, and notes when it begins and how it ends."""

    def handle(body: M) -> Awaitable[R]:
        message = cast("Message[M, R]", worker.message)
        since = begun(message)
        try:
            awaitable: Any = handler(body)
            if awaitable.__class__ is not types.CoroutineType:
                awaitable = as_coroutine(handler, awaitable)
        except BaseException as error:
            handled(message, since, _outcome(error), type(error))
            raise
        return follow(message, since, awaitable)

    async def follow(message: Message[M, R], since: float, awaitable: Awaitable[R]) -> R:
        outcome: HandledAs = "completed"
        kind: type[BaseException] | None = None
        try:
            return await awaitable
        except BaseException as error:
            outcome, kind = _outcome(error), type(error)
            raise
        finally:
            handled(message, since, outcome, kind)

    return handle


def _outcome(error: BaseException) -> HandledAs:
    return "cancelled" if isinstance(error, CancelledError) else "failed"


class Steps(Generator[Any, Any, None]):
    """The rest of a message whose handler has suspended; awaiting it runs all of its steps in the context."""

    __slots__ = ("_context", "_driver", "_waits_for")

    def __init__(self, driver: types.GeneratorType[Any, Any, None], context: Context, waits_for: Any) -> None:
        self._driver = driver
        self._context = context
        self._waits_for = waits_for

    @property
    def cr_await(self) -> Any:
        """The handler's coroutine, under the name by which tools follow a chain of coroutines."""
        return self._driver.gi_yieldfrom

    def __await__(self) -> Steps:
        return self

    def __next__(self) -> Any:
        if self._waits_for is not DONE:  # what the first step has yielded already
            waits_for, self._waits_for = self._waits_for, DONE
            return waits_for
        return self.send(None)

    def send(self, value: Any, /) -> Any:
        return self._unless_done(self._context.run(self._driver.send, value))

    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any:
        # A generator's own throw() deprecates the three arguments that the interpreter may pass here.
        error = val if isinstance(val, BaseException) else typ if val is None else typ(val)
        if isinstance(error, type):
            error = error()
        if tb is not None:
            error = error.with_traceback(tb)
        return self._unless_done(self._context.run(self._driver.throw, error))

    def close(self) -> None:
        self._context.run(self._driver.close)

    @staticmethod
    def _unless_done(waits_for: Any) -> Any:
        if waits_for is DONE:
            raise StopIteration
        return waits_for
