"""The recorder of tasks: on whose behalf each is made, and by which line."""

from __future__ import annotations

import asyncio
import inspect
import sys
from typing import TYPE_CHECKING, Any, Protocol

from pytest_taskleak.model import CREATE_TASK, LONGEST_CHAIN, Origin
from pytest_taskleak.watch.calls import (
    HOOK_STEP,
    LOOP_STEP,
    MODULE_AT,
    RUNNER_MODULE,
    STEP_MODULE,
    capture,
    is_runners,
    outside_asyncio,
)
from pytest_taskleak.watch.records import ATTRIBUTE

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Collection
    from types import CodeType, FrameType

    from pytest_taskleak.model import Call, Owner, Record
    from pytest_taskleak.watch.patching import Patch
    from pytest_taskleak.watch.records import Listener, LoopRecord
    from pytest_taskleak.watch.workers import Workers

_frame: Callable[[int], FrameType] = sys._getframe  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
# `inspect.currentframe` would add a call to each task that is made

_running_loop = asyncio._get_running_loop  # noqa: SLF001 - documented for writers of event loops; never raises
_current_task = asyncio.current_task

_STEPS = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
"""Of code whose frames may be right above a loop's step."""

RECORDER = "taskleak_recorder"
"""The attribute of the wrapped `create_task` that leads to the recorder."""


class Run(Protocol):
    """The run that is recorded for: who is busy, and what it knows of loops.

    Attributes:
        current: The owner that the runner is busy with, None between tests.
        phase: The phase it is in.
        seen: How many tasks and threads were recorded.
        known: The loops that it knows, by their ids.
        at: Gives the loop in which the last task was made, where that loop was running; None for none.
    """

    current: Owner | None
    phase: str
    seen: int
    known: dict[int, LoopRecord]
    at: Callable[[], asyncio.AbstractEventLoop | None]

    def note(self, loop: Any, running: object, /) -> None:
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
        workers: Workers,
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
            workers: What records the making of loops.
        """
        self._run = run
        self._owner = owner
        self._closing = closing
        self._carriers = carriers
        self._carries = carries
        self._own = own
        self._listener = listener
        self._workers = workers

    def create_task(  # noqa: C901, PLR0915 - a call for each of its parts would cost each task as much as they do
        self, original: Callable[..., Any], patch: Patch
    ) -> Callable[..., Any]:
        """Make what takes the place of `create_task`."""
        run, owner_var, closing, own = self._run, self._owner, self._closing, self._own
        carriers, carries, known, listener = self._carriers, self._carries, self._run.known, self._listener
        workers = self._workers
        # What made the last task, as most are made by what made one before; another thread may set one of the two
        # meanwhile, which changes only what it costs.
        last_own: CodeType | None = None
        steps = False
        ran: tuple[CodeType | None, tuple[Call, ...]] = None, ()
        plain = isinstance(patch.cls, type) and issubclass(patch.cls, asyncio.BaseEventLoop)

        def create_task(  # noqa: C901, PLR0912, PLR0915 - as above
            loop: Any, /, coro: Any, *rest: Any, **kwargs: Any
        ) -> Any:
            nonlocal last_own, steps, ran
            __tracebackhide__ = True
            if not patch.live:
                return patch.stale(loop, coro, *rest, **kwargs)
            running = _running_loop()
            if running is None and closing and id(loop) in closing:
                # What a Runner runs at its end until that is over.
                return original(loop, coro, *rest, **kwargs) if kwargs or rest else original(loop, coro)
            record = token = task = None
            try:
                run.seen = serial = run.seen + 1
                by_runner = running is None and MODULE_AT is not None and MODULE_AT(1) == RUNNER_MODULE
                if running is loop or by_runner:  # a Runner runs it at once, in this thread
                    if run.at() is not loop:
                        if plain and (latest := workers.latest) is not None and latest[0]() is loop:
                            run.at = latest[0]  # its making was seen, and it tells its thread itself
                        else:
                            run.note(loop, loop)
                else:
                    known_loop = known.get(id(loop))
                    if known_loop is None or known_loop.ref() is not loop:
                        run.note(loop, running)
                try:
                    name: str = coro.__qualname__
                except AttributeError:
                    name = ""
                owner: Owner | None = None
                if name in carriers and carries(coro):
                    record = Origin.of(run, None, phase=run.phase, name=name, during=run.current)
                else:
                    parent: Record | None = None
                    depth = at = 0
                    code: Any  # or all of the calls
                    via_at = caller = called_at = outer = outer_at = None
                    if running is None:
                        # Nearly all tasks of tests are made by a Runner at the same line of the tests' runner.
                        try:
                            made_by = _frame(2).f_code if by_runner else None
                        except ValueError:  # a thread may begin with `Runner.run`
                            made_by = None
                        if made_by is not None and made_by is ran[0]:
                            code = ran[1]
                        else:
                            code = capture(outside_asyncio(1), own)
                            if by_runner and code and is_runners(code[0][0]):
                                ran = code[0][0], code
                    else:
                        parent = getattr(_current_task(running), ATTRIBUTE, None)
                        if parent is not None:
                            # By the places of a record: its run, its owner and its depth.
                            if parent[0] is run:
                                owner = parent[1]
                                depth = parent[8] + 1
                                if depth > LONGEST_CHAIN:
                                    parent, depth = None, 0
                            else:
                                parent = None
                        frame = _frame(1)
                        code = frame.f_code
                        at = frame.f_lasti
                        if code is CREATE_TASK and (above := frame.f_back) is not None:
                            via_at, frame = at, above
                            code = frame.f_code
                            at = frame.f_lasti
                        is_own = code is last_own
                        if not is_own:
                            is_own = own(code.co_filename)
                            if is_own:
                                last_own = code
                                steps = bool(code.co_flags & _STEPS)
                            else:
                                code = capture(_frame(1), own, depth=2)
                                via_at = None
                        # `calls.three`, in one piece.
                        if is_own and not (
                            steps and MODULE_AT is not None and MODULE_AT(2 if via_at is None else 3) == STEP_MODULE
                        ):
                            above = frame.f_back
                            if above is not None:
                                caller = above.f_code
                                if caller is LOOP_STEP or caller is HOOK_STEP:
                                    caller = None
                                else:
                                    called_at = above.f_lasti
                                    top = above.f_back
                                    if top is not None:
                                        outer = top.f_code
                                        if outer is LOOP_STEP or outer is HOOK_STEP:
                                            outer = None
                                        else:
                                            outer_at = top.f_lasti
                    if owner is None:
                        owner = run.owner_outside_tasks(running)
                    # `Origin.of`, written out.
                    record = [
                        run,
                        owner,
                        run.phase,
                        name,
                        parent,
                        run.current,
                        serial,
                        owner is not None and owner.ended,
                        depth,
                        False,
                        False,
                        via_at,
                        code,
                        at,
                        caller,
                        called_at,
                        outer,
                        outer_at,
                    ]
                if kwargs and (context := kwargs.get("context")) is not None:
                    if context.get(owner_var) is not owner:
                        _set_in(context, owner_var, owner)
                elif owner_var.get() is not owner:
                    token = owner_var.set(owner)
            except Exception as error:  # noqa: BLE001 - the user's task must be made whatever befalls the recorder
                listener.failed(error)
            try:
                task = original(loop, coro, *rest, **kwargs) if kwargs or rest else original(loop, coro)
                if record is not None:
                    try:
                        task._taskleak = record  # noqa: SLF001 - ATTRIBUTE, in the fastest way
                        if loop._debug if plain else loop.get_debug():  # noqa: SLF001 - the same
                            _hide(getattr(task, "_source_traceback", None))
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


def _set_in(context: contextvars.Context, owner_var: contextvars.ContextVar[Owner | None], owner: Owner | None) -> None:
    try:
        context.run(owner_var.set, owner)
    except RuntimeError:
        return  # somebody is running in it: it is theirs


def _hide(trace: list[Any] | None) -> None:
    """Debug mode shows the user's own line last, as it does without the recorder."""
    if trace and trace[-1].filename == __file__:
        del trace[-1]
