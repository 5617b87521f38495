"""What the recorder writes down besides the origins of tasks, and whom it tells."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    import threading
    from collections.abc import Callable

    from pytest_taskleak.model import Call, Owner


class Listener(Protocol):
    """Whoever decides: it is told, and asked nothing."""

    def closing(self, loop: asyncio.AbstractEventLoop, /) -> Callable[[], None] | None:
        """Hear that a loop is about to be swept or closed; what is returned is called when that is over."""

    def complained(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any], /) -> None:
        """Hear what a loop's exception handler is about to hear."""

    def failed(self, error: Exception, /) -> None:
        """Hear of a defect of the recorder's own, which was contained."""


class LoopRecord:
    """A loop in which a task was made, and the thread in which it was seen running; it keeps neither alive."""

    __slots__ = ("_thread", "began_in", "ident", "ref")

    def __init__(self, loop: asyncio.AbstractEventLoop, began_in: Owner | None) -> None:
        self.ref = weakref.ref(loop)
        self.began_in = began_in
        self._thread: weakref.ref[threading.Thread] | None = None
        self.ident: int | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, None where it is gone."""
        return self.ref()

    @property
    def thread(self) -> threading.Thread | None:
        """The thread it was last seen running in, where that is not the main one."""
        return self._thread() if self._thread else None

    def ran_in(self, thread: threading.Thread) -> None:
        """Note the thread in which the loop is running."""
        self.ident = thread.ident
        self._thread = weakref.ref(thread)


class ThreadOrigin:
    """Who started a thread, and where."""

    __slots__ = ("calls", "owner", "phase", "run", "settled")

    def __init__(self, run: object, owner: Owner | None, phase: str, calls: tuple[Call, ...]) -> None:
        self.run = run
        self.owner = owner
        self.phase = phase
        self.calls = calls
        self.settled = False
