"""What happens to one delivery: the handler is called, and its end becomes an outcome."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from reference_queue._steps import FATAL, as_coroutine
from reference_queue.distributed import outcome
from reference_queue.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reference_queue.distributed.engine import Envelope

__all__ = ["Deliveries", "Delivery", "Running", "around", "current_delivery", "text_of"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """The delivery of a message to a handler."""

    message_id: str
    """The same in every delivery of a message: what a handler recognises work by that it has done already."""

    chat_id: str

    attempt: int
    """1 in the first delivery; more after one that ended without an outcome."""

    expires: float | None
    """Seconds since the epoch at which the handler is cancelled; None for never."""


@dataclass(eq=False, slots=True)
class Running:
    """A delivery whose handler runs, as the handler's own context knows it."""

    delivery: Delivery
    owner: Deliveries
    trail: frozenset[int]
    """Its partition, and those whose handlers wait, or may wait, for its outcome."""
    alive: bool = True
    """False when the handler has ended: tasks that it left behind still have its context."""


_RUNNING: ContextVar[Running | None] = ContextVar("reference_queue_delivery", default=None)


def current_delivery() -> Delivery | None:
    """Return the delivery that the calling handler of a distributed queue is at; None outside of one."""
    running = _RUNNING.get()
    return running.delivery if running is not None and running.alive else None


@dataclass(eq=False, slots=True)
class Deliveries:
    """Handles what the engine delivers to one instance, and counts it."""

    name: str
    """What the queue is called on the server: deliveries of its other instances, here or elsewhere, bear it too."""
    handler: Callable[[Any], Awaitable[Any]]
    dumps: Callable[[Any], str]
    loads: Callable[[str], Any]
    running: set[Running] = field(default_factory=set[Running])
    handled: int = 0
    redelivered: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    given_back: int = 0

    def counts(self) -> dict[str, int]:
        """Return what it has counted, by name."""
        names = ("handled", "redelivered", "completed", "failed", "cancelled", "expired", "given_back")
        return {name: getattr(self, name) for name in names}

    async def deliver(self, partition: int, envelope: Envelope, attempt: int) -> str:
        """Handle a message and return its outcome; this is the engine's `Deliver`.

        Raises:
            BaseException: the engine has cancelled the delivery, or the process is to end: it is to be made again.
        """
        delivery = Delivery(envelope.message_id, envelope.chat_id, attempt, envelope.expires)
        running = Running(delivery, self, frozenset((partition, *envelope.trail)))
        _RUNNING.set(running)  # the task is the delivery's own, and so is its context
        self.running.add(running)
        self.handled += 1
        self.redelivered += attempt > 1
        try:
            return await self._outcome(envelope)
        except BaseException:  # whatever ended it, a cancellation mostly, no outcome was reached; it is raised on
            self.given_back += 1
            raise
        finally:
            running.alive = False
            self.running.discard(running)

    async def _outcome(self, envelope: Envelope) -> str:
        left = None if envelope.expires is None else envelope.expires - time.time()
        if left is not None and left <= 0:
            return self._expire(envelope)
        limit = asyncio.timeout(left)
        try:
            async with limit:
                awaitable = as_coroutine(self.handler, self.handler(self.loads(envelope.body)))
                value = await cast("Awaitable[Any]", awaitable)
            text = outcome.result(text_of(self.dumps, value, "What the handler returned"))
        except asyncio.CancelledError:
            if cast("asyncio.Task[Any]", asyncio.current_task()).cancelling():
                raise
            self.cancelled += 1
            return outcome.CANCELLED
        except BaseException as error:  # it is the sender's
            if isinstance(error, FATAL):
                raise
            if isinstance(error, TimeoutError) and limit.expired():
                return self._expire(envelope)
            self.failed += 1
            self._report(envelope, "A message failed in its handler and nobody waits for it", error)
            return outcome.failure(error)
        self.completed += 1
        return text

    def _expire(self, envelope: Envelope) -> str:
        self.expired += 1
        late = DeadlineExceeded(f"The message of chat {envelope.chat_id!r} was not handled within its deadline.")
        self._report(envelope, "A posted message missed its deadline", late)
        return outcome.EXPIRED

    @staticmethod
    def _report(envelope: Envelope, text: str, error: BaseException) -> None:
        """Tell the loop's exception handler of what nobody else will hear of."""
        if not envelope.reply:
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": f"{text} (chat {envelope.chat_id!r})", "exception": error})


def text_of(dumps: Callable[[Any], Any], value: object, what: str) -> str:
    """Return what `dumps` makes of a value.

    Raises:
        TypeError, ValueError: what `dumps` raises, or that it returned no text.
    """
    text = dumps(value)
    if not isinstance(text, str):
        raise TypeError(
            f"{what} became {type(text).__name__}, not str: dumps={dumps!r} must return text. "
            "For bytes use `base64.b64encode(...).decode()`, and undo it in loads."
        )
    return text


def around(name: str) -> Running | None:
    """Return the delivery on whose behalf the caller runs, if it is one of the queue of this name."""
    running = _RUNNING.get()
    return running if running is not None and running.alive and running.owner.name == name else None
