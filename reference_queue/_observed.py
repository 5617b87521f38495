"""The parts of a queue that has an observer: the same ones, telling what they do.

They are chosen once for a queue, so one without an observer has nothing to ask for each message.
"""

from __future__ import annotations

from asyncio import get_running_loop
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from reference_queue._intake import Intake
from reference_queue._message import FromThread
from reference_queue._pool import Pool
from reference_queue._room import Room
from reference_queue._steps import FATAL, watch
from reference_queue.errors import QueueClosed, QueueError, ReentrantEnqueue
from reference_queue.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from reference_queue._message import Message
    from reference_queue._pool import Worker
    from reference_queue.observer import GivenUpAs, HandledAs

__all__ = ["observed"]

M = TypeVar("M")
R = TypeVar("R")


class ObservedPool(Pool[M, R]):
    """A pool that tells how long messages waited, how long they were handled and how they ended."""

    def __init__(self, observer: Observer, *parts: Any) -> None:
        super().__init__(*parts)
        self.observer = observer
        self._observer_failed = False
        self._called_off: dict[Message[M, R], tuple[HandledAs, type[Exception]]] = {}
        """What became of messages whose handlers were called off and have not ended yet."""

    def handler_for(self, worker: Worker[M, R]) -> Callable[[M], Awaitable[R]]:
        return watch(self.handler, worker, self._begun, self._handled)

    def call_off(self, message: Message[M, R], error: Exception, *, count_as_cancelled: bool = False) -> bool:
        called_off = super().call_off(message, error, count_as_cancelled=count_as_cancelled)
        if called_off:
            self._called_off.setdefault(message, ("cancelled" if count_as_cancelled else "expired", type(error)))
        return called_off

    def gave_up(self, message: Message[M, R], outcome: GivenUpAs) -> None:
        self._tell(self.observer.given_up, self._now() - message.since, outcome)

    def accepted(self, message: Message[M, R]) -> None:
        """Note that a message has been queued."""
        self._tell(self.observer.accepted, self._now() - message.since)

    def refused(self, error: QueueError) -> None:
        """Note that a message was not taken in."""
        self._tell(self.observer.refused, type(error))

    def _begun(self, message: Message[M, R]) -> float:
        now = self._now()
        self._tell(self.observer.begun, now - message.since)
        return now

    def _handled(self, message: Message[M, R], begun: float, outcome: HandledAs, error: Any) -> None:
        outcome, error = self._called_off.pop(message, (outcome, error))
        self._tell(self.observer.handled, self._now() - begun, outcome, error)

    def _now(self) -> float:
        assert self.loop is not None  # noqa: S101 - the queue binds it before it accepts anything
        return self.loop.time()

    def _tell(self, notice: Callable[..., None], *facts: Any) -> None:
        try:
            notice(*facts)
        except FATAL:
            raise
        except BaseException as error:  # noqa: BLE001 - not even a CancelledError of its own may harm a message
            if not self._observer_failed:
                self._observer_failed = True
                self.report("The observer of a queue failed; further failures of it are not reported", None, error)


class ObservedRoom(Room[M, R]):
    """A room that tells which messages it lets in."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.bounded = True  # so every message comes through `admit`, also one that no bound can stop

    def admit(self, message: Message[M, R]) -> None:
        super().admit(message)
        pool = message.chat.pool
        assert isinstance(pool, ObservedPool)  # noqa: S101 - the three are made together
        pool.accepted(message)


class ObservedIntake(Intake[M, R]):
    """An intake that notes when a message was sent, and tells which ones it refuses."""

    pool: ObservedPool[M, R]

    def take(self, entry: Message[M, R], chat_id: Hashable, body: M, deadline: float | None) -> None:
        if not isinstance(entry, FromThread):  # the thread has noted when it sent it
            entry.since = get_running_loop().time()
        try:
            super().take(entry, chat_id, body, deadline)
        except (QueueClosed, ReentrantEnqueue):  # the sender's mistake, and no want of room
            raise
        except QueueError as error:
            self.pool.refused(error)
            raise


def observed(observer: Observer) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Return what makes the room, the pool and the intake of a queue with that observer, or raise."""
    # A class has the methods, too, and would be called without an object.
    if isinstance(cast("Any", observer), type) or not isinstance(cast("Any", observer), Observer):
        raise TypeError(
            f"observer={observer!r} is no observer. Give an object of a class that inherits from "
            "reference_queue.Observer, or that has all of its methods."
        )
    return ObservedRoom[Any, Any], partial(ObservedPool[Any, Any], observer), ObservedIntake[Any, Any]
