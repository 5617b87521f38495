"""What the recorder writes down besides the origins of tasks, and whom it tells."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from pytest_taskleak.model import Origin

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pytest_taskleak.findings import Unawaited
    from pytest_taskleak.model import Call, Owner


class Busy(Protocol):
    """Who is busy: what a recorder is told, and what every record is made from.

    Attributes:
        current: The owner that the runner is busy with, None between tests.
        phase: The phase it is in.
        seen: How many tasks and threads were recorded.
    """

    current: Owner | None
    phase: str
    seen: int

    def maker(self) -> Origin | None:
        """Where the task came from that runs in this thread, None where none does."""

    def owner_now(self) -> Owner | None:
        """On whose behalf the code works that is running in this thread."""


class Listener(Protocol):
    """Whoever decides: it is told, and asked nothing."""

    def closing(self, loop: asyncio.AbstractEventLoop, /, *, by_runner: bool) -> Callable[[], None] | None:
        """Hear that a loop is about to be swept or closed; what is returned is called when that is over.

        Args:
            loop: The loop.
            by_runner: Whether a Runner is at it; otherwise whoever made the loop closes it by hand.
        """

    def complained(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any], /) -> None:
        """Hear what a loop's exception handler is about to hear."""

    def unawaited(self, found: Unawaited, /) -> bool:
        """Hear of a coroutine that was freed and never awaited.

        Returns:
            Whether it is told, so that no warning need be.
        """
        ...

    def failed(self, error: Exception, /) -> None:
        """Hear of a defect of the recorder's own, which was contained."""


class LoopRecord:
    """A loop in which a task was made, and the thread in which it was seen running; it keeps neither alive."""

    __slots__ = ("_ident", "_thread", "began_in", "ref")

    def __init__(self, loop: asyncio.AbstractEventLoop, began_in: Owner | None) -> None:
        self.ref = weakref.ref(loop)
        self.began_in = began_in
        self._thread: weakref.ref[threading.Thread] | None = None
        self._ident: int | None = None

    @property
    def ident(self) -> int | None:
        """The thread in which it was last seen running; where no task was made in it, in which it runs just now."""
        # asyncio's own note, which uvloop keeps to itself.
        return self._ident if self._ident is not None else getattr(self.ref(), "_thread_id", None)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, None where it is gone."""
        return self.ref()

    @property
    def thread(self) -> threading.Thread | None:
        """The thread it was last seen running in; where no task was made in it, the one that it runs in just now."""
        if self._thread is not None:
            return self._thread()
        ident = self.ident
        return next((it for it in threading.enumerate() if it.ident == ident), None) if ident is not None else None

    def ran_in(self, ident: int, ref: weakref.ref[threading.Thread]) -> None:
        """Note the thread in which the loop is running."""
        self._ident = ident
        self._thread = ref


ATTRIBUTE = "_taskleak"
"""The attribute of a task, a thread or an executor that carries its origin: it must die with it, and cost next to
nothing."""


class ThreadOrigin:
    """Who started a thread, or made an executor, and where."""

    __slots__ = ("calls", "owner", "phase", "run", "settled")

    def __init__(self, run: object, owner: Owner | None, phase: str, calls: tuple[Call, ...]) -> None:
        self.run = run
        self.owner = owner
        self.phase = phase
        self.calls = calls
        self.settled = False


def origin_of(task: object) -> Origin | None:
    """What any run recorded of a task, None where nothing was."""
    record: object = getattr(task, ATTRIBUTE, None)
    return Origin(record) if type(record) is list else None  # pyright: ignore[reportUnknownArgumentType] - of anything
