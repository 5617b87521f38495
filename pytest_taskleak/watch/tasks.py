"""The recorder of tasks: on whose behalf each is made, and by which line."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Protocol

from pytest_taskleak.model import Origin
from pytest_taskleak.watch.calls import capture, outside_asyncio, three
from pytest_taskleak.watch.records import ATTRIBUTE

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Collection
    from types import FrameType

    from pytest_taskleak.model import Owner
    from pytest_taskleak.watch.patching import Patch
    from pytest_taskleak.watch.records import Listener, LoopRecord

_frame: Callable[[int], FrameType] = sys._getframe  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
# `inspect.currentframe` would add a call to each task that is made

_running_loop = asyncio._get_running_loop  # noqa: SLF001 - documented for writers of event loops; never raises
_current_task = asyncio.current_task

RECORDER = "taskleak_recorder"
"""The attribute of the wrapped `create_task` that leads to the recorder."""


class Run(Protocol):
    """The run that is recorded for: who is busy, and what it knows of loops.

    Attributes:
        current: The owner that the runner is busy with, None between tests.
        phase: The phase it is in.
        seen: How many tasks and threads were recorded.
        known: The loops that it knows, by their ids.
        at: The id of the loop in which the last task was made, where that loop was running; 0 for none.
    """

    current: Owner | None
    phase: str
    seen: int
    known: dict[int, LoopRecord]
    at: int

    def note(self, loop: asyncio.AbstractEventLoop, running: object, /) -> None:
        """Make a record of a loop, and of the thread that it runs in."""

    def owner_outside_tasks(self, running: object, /) -> Owner | None:
        """On whose behalf code works that no recorded task runs."""


class Tasks:
    """Makes what takes the place of `create_task`.

    A call costs what a record does, so all of it is one function, but for what is rare.

    Guarantees: the user's task is made whatever befalls the recorder, with the same arguments, in the same context; its
    exceptions are the original's; nothing of it is kept.
    """

    def __init__(  # noqa: PLR0913 - one more than the others have: what is a runner's own task
        self,
        run: Run,
        owner: contextvars.ContextVar[Owner | None],
        closing: Collection[int],
        *,
        carriers: Collection[str],
        carries: Callable[[object], bool],
        own: Callable[[str], bool],
        listener: Listener,
    ) -> None:
        """Make a recorder of tasks.

        Args:
            run: The run that it records for.
            owner: The context's owner, which a task's context inherits.
            closing: The ids of the loops that are being closed.
            carriers: Names of the coroutines that may work for whatever runs just then.
            carries: Whether such a one does.
            own: Whether a file is the project's own code.
            listener: Hears of defects.
        """
        self._run = run
        self._owner = owner
        self._closing = closing
        self._carriers = carriers
        self._carries = carries
        self._own = own
        self._listener = listener

    def create_task(  # noqa: C901, PLR0915 - a call for each of its parts would cost each task as much as they do
        self, original: Callable[..., Any], patch: Patch
    ) -> Callable[..., Any]:
        """Make what takes the place of `create_task`."""
        run, owner_var, closing, own = self._run, self._owner, self._closing, self._own
        carriers, carries, known, listener = self._carriers, self._carries, self._run.known, self._listener

        def create_task(  # noqa: C901, PLR0912, PLR0915 - as above
            loop: asyncio.AbstractEventLoop, /, *args: Any, **kwargs: Any
        ) -> Any:
            __tracebackhide__ = True
            if not patch.live:
                return patch.stale(loop, *args, **kwargs)
            running = _running_loop()
            if running is None and closing and id(loop) in closing:
                return original(loop, *args, **kwargs)  # what a Runner runs at its end until that is over
            origin = token = task = None
            try:
                run.seen = serial = run.seen + 1
                coro = args[0] if args else kwargs.get("coro")
                if running is not loop:
                    record = known.get(id(loop))
                    if record is None or record.ref() is not loop:
                        run.note(loop, running)
                elif run.at != id(loop):
                    run.note(loop, running)
                name: str = getattr(coro, "__qualname__", "")
                owner = parent = None
                if name in carriers and carries(coro):
                    origin = Origin(run, None, run.phase, name, (), None, run.current)
                else:
                    if running is not None:
                        parent = getattr(_current_task(running), ATTRIBUTE, None)
                        if parent is not None:
                            if parent.run is run:
                                owner = parent.owner
                            else:
                                parent = None
                        frame = _frame(1)
                        code = frame.f_code
                        # `capture` does the same, for a call more.
                        calls = three(frame, code, 1) if own(code.co_filename) else capture(frame, own, depth=2)
                    else:
                        calls = capture(outside_asyncio(1), own)
                    if owner is None:
                        owner = run.owner_outside_tasks(running)
                    origin = Origin(run, owner, run.phase, name, calls, parent, run.current, serial)
                if kwargs and (context := kwargs.get("context")) is not None:
                    self._set_in(context, owner)
                elif owner_var.get() is not owner:
                    token = owner_var.set(owner)
            except Exception as error:  # noqa: BLE001 - the user's task must be made whatever befalls the recorder
                listener.failed(error)
            try:
                task = original(loop, *args, **kwargs)
                if origin is not None:
                    try:
                        task._taskleak = origin  # noqa: SLF001 - ATTRIBUTE, in the fastest way
                        if trace := getattr(task, "_source_traceback", None):
                            _hide(trace)
                    except Exception as error:  # noqa: BLE001 - a user's type may refuse, or its attributes misbehave
                        if not isinstance(error, AttributeError):
                            listener.failed(error)
                return task
            finally:
                if token is not None:
                    owner_var.reset(token)
                # An exception's traceback would keep the task through this frame.
                del task

        setattr(create_task, RECORDER, run)
        return create_task

    def _set_in(self, context: contextvars.Context, owner: Owner | None) -> None:
        if context.get(self._owner) is owner:
            return
        try:
            context.run(self._owner.set, owner)
        except RuntimeError:
            return  # somebody is running in it: it is theirs


def _hide(trace: list[Any]) -> None:
    """Debug mode shows the user's own line last, as it does without the recorder."""
    if trace[-1].filename == __file__:
        del trace[-1]
