"""A task that may be a leak, between the first look and the verdict."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pytest_taskleak.model import Origin, Owner

_PLAIN = (bool, int, float, str, bytes, type(None))


class Suspect:
    """A pending task on the way to its verdict; the only strong reference that the detector keeps, and not for long.

    When a loop is closed, asyncio cancels what is left, and only then come the sync fixtures: an owner that still
    tries to stop its task then is no culprit. So the verdict waits for the end of the teardown, and the suspect
    notes whether anybody called the task's `cancel`, or changed what the task works on (a stop flag, an event).

    Attributes:
        task: The task.
        origin: What was recorded of it, None for one made past the recorder.
        owner: On whose behalf it was started, None where unknown.
        asked_to_end: Whether it was cancelled before anybody looked.
        ended_in_grace: Whether it came to its end while the loop was given time.
        lost: Whether it ended then with an exception that nobody had retrieved so far.
        swept: Whether its loop was closed over it.
        words: What was found out about it while it still waited; made and read by the caller.
        works_on: The objects in whose methods the task stood, and the primitives it waited on.
        promises: The futures that it leaves unsettled, in words.
        stop_tried: Whether its owner still tried to stop it after the loop was closed.
        swallows: Whether it was still alive well after it had been cancelled.
        adopter: The live fixture that keeps it and may yet stop it.
        piled_up: The tests that each left one more with the same fixture; empty where it is no pile.
        piled_with: That fixture.
    """

    __slots__ = (
        "_before",
        "_marks",
        "adopter",
        "asked_to_end",
        "ended_in_grace",
        "lost",
        "origin",
        "owner",
        "piled_up",
        "piled_with",
        "promises",
        "stop_tried",
        "swallows",
        "swept",
        "task",
        "words",
        "works_on",
    )

    def __init__(self, task: asyncio.Task[Any], origin: Origin | None, *, asked_to_end: bool) -> None:
        self.task = task
        self.origin = origin
        self.owner: Owner | None = origin.owner if origin is not None else None
        self.asked_to_end = asked_to_end
        self.ended_in_grace = False
        self.lost = False
        self.swept = False
        self.words: Any = None
        self.stop_tried = False
        self.swallows = False
        self.works_on: list[object] = []
        self.promises: tuple[str, ...] = ()
        self.adopter: Owner | None = None
        self.piled_up: tuple[str, ...] = ()
        self.piled_with: Owner | None = None
        self._marks: tuple[object, ...] = ()
        self._before: tuple[object, ...] = ()

    def watch_for_stop(self) -> None:
        """Start to note attempts to stop the task; call it right after the sweep."""
        self._marks = tuple(self.works_on)
        self._before = tuple(_state(mark) for mark in self._marks)
        task = self.task

        def cancel(*args: Any, **kwargs: Any) -> bool:
            self.stop_tried = True
            return type(task).cancel(task, *args, **kwargs)

        try:
            task.cancel = cancel  # type: ignore[method-assign]
        except AttributeError:
            return  # a task type that takes no attributes: what it works on must tell

    def close(self) -> None:
        """Stop to note, and let go of the user's objects."""
        vars(self.task).pop("cancel", None) if hasattr(self.task, "__dict__") else None
        if any(_state(mark) != before for mark, before in zip(self._marks, self._before, strict=True)):
            self.stop_tried = True
        self._marks = self._before = ()
        self.works_on = []


def _state(thing: object) -> object:
    """What changes when somebody tells `thing` to stop: flags, and which objects it holds; shallow, and compared."""
    if isinstance(thing, asyncio.Event):
        return thing.is_set()
    if isinstance(thing, asyncio.Future):
        return cast("asyncio.Future[object]", thing).done()
    if isinstance(thing, asyncio.Queue):
        queue = cast("asyncio.Queue[object]", thing)
        return queue.qsize(), getattr(queue, "_is_shutdown", False)
    try:
        values: dict[str, object] = vars(thing)
    except TypeError:
        return None
    return {name: _value(value) for name, value in values.items()}


def _value(value: object) -> object:
    if isinstance(value, _PLAIN):
        return value
    key = id(value)
    if isinstance(value, (asyncio.Event, asyncio.Queue)):
        return key, _state(cast("object", value))
    if isinstance(value, (list, dict, set, deque)):
        return key, len(cast("list[object]", value))
    return key
