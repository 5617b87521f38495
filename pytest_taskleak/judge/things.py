"""Futures, timers, async generators and what asyncio opens: which of them go on, and whom they serve."""

from __future__ import annotations

import asyncio
import dataclasses
import weakref
from typing import TYPE_CHECKING, Any

from pytest_taskleak.callbacks import callbacks_of, pieces
from pytest_taskleak.judge.transports import (
    server_is_left,
    subprocess_is_left,
    subprocess_is_over,
    transport_is_left,
)

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

    from pytest_taskleak.model import Kind

SOON = 1.0
"""Seconds within which a timer is no leak: it is about to go by itself, and asyncio's own clean-ups are like that."""

_WEAK: tuple[type, ...] = (weakref.ref, weakref.ProxyType, weakref.CallableProxyType)


def future_is_left(future: asyncio.Future[Any]) -> bool:
    """Whether a bare future is pending and nobody is judged in its place: the task that awaits it, a thread's work."""
    if future.done() or isinstance(future, asyncio.Task):
        return False
    for callback, *_ in getattr(future, "_callbacks", None) or ():
        if "_chain_future" in getattr(callback, "__qualname__", ""):
            return False  # a thread's result, or another loop's: it is judged by who works on it
        if any(isinstance(piece, asyncio.Future) and piece is not future for piece in pieces(callback)):
            return False
    return True


def timer_is_left(timer: asyncio.TimerHandle, now: float) -> bool:
    """Whether a timer is scheduled for later than soon, for an object of its own that it keeps alive.

    Args:
        timer: The timer.
        now: The time of its loop.
    """
    if timer.cancelled() or timer.when() - now <= SOON:
        return False
    for piece in pieces(*callbacks_of(timer)):
        if isinstance(piece, asyncio.Future) or type(piece).__module__.startswith("asyncio."):
            return False  # it serves a task or a future, which is judged
        if isinstance(piece, _WEAK):
            return False  # it does nothing when its target is gone
    return True


def generator_is_left(generator: types.AsyncGeneratorType[Any, Any]) -> bool:
    """Whether an async generator stands suspended and nobody is inside it: its consumer left it there."""
    return generator.ag_frame is not None and not generator.ag_running


def known_by(kind: Kind, thing: Any) -> list[object]:
    """The objects by which a fixture may hold a thing: itself, and for a timer what it will call."""
    if kind == "timer":
        return [thing, *(piece for piece in pieces(*callbacks_of(thing)) if not callable(piece))]
    return [thing]


@dataclasses.dataclass(frozen=True, slots=True, eq=False, repr=False)
class ThingRule:
    """How things of one kind are judged.

    Attributes:
        left: Whether one goes on and is judged by itself; given the time of its loop.
        over: Whether one that was left has been ended meanwhile, by an owner that comes late.
        at_runner: Whether one is judged where a Runner closes its loop.
        at_close: Whether also where the loop is closed by hand.
        in_call: Whether also inside the call phase, where the test's own frames may still hold it.
        dies: Whether one ends by itself with whatever holds it, so that what is about to go with its test is none.
        survives: Whether only one that is still alive when its test is over counts.
        graced: Whether one is given the time of its loop: its end may be under way.
    """

    left: Callable[[Any, float], bool]
    over: Callable[[Any], bool]
    at_runner: bool = True
    at_close: bool = False
    in_call: bool = True
    dies: bool = False
    survives: bool = False
    graced: bool = False

    def looked_at(self, *, by_runner: bool, in_teardown: bool) -> bool:
        """Whether such things are judged where a loop closes, and what is left in it."""
        return (self.at_runner if by_runner else self.at_close) and (in_teardown or self.in_call)


def _never(_thing: Any) -> bool:
    return False


THINGS: dict[Kind, ThingRule] = {
    "future": ThingRule(lambda future, _now: future_is_left(future), _never, at_runner=False, dies=True, survives=True),
    "timer": ThingRule(timer_is_left, lambda timer: timer.cancelled()),
    # Closing the loop closes them, so that nothing can be told from them afterwards.
    "generator": ThingRule(lambda generator, _now: generator_is_left(generator), _never, in_call=False, dies=True),
    # They hold a descriptor, or a process, whoever closes the loop: so by hand is no excuse.
    "transport": ThingRule(
        transport_is_left, lambda transport: not transport_is_left(transport), at_close=True, graced=True
    ),
    "server": ThingRule(server_is_left, lambda server: not server_is_left(server), at_close=True, graced=True),
    "subprocess": ThingRule(subprocess_is_left, subprocess_is_over, at_close=True, graced=True),
}
"""By kind of leak."""
