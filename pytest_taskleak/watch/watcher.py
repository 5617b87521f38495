"""The recorder: wraps asyncio's public names for one run and tells a listener at the four moments that matter."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from pytest_taskleak.model import Origin, Owner
from pytest_taskleak.watch.calls import know_runners
from pytest_taskleak.watch.collector import Collector
from pytest_taskleak.watch.coroutines import Coroutines
from pytest_taskleak.watch.patching import Patch
from pytest_taskleak.watch.records import ATTRIBUTE, LoopRecord, ThreadOrigin, origin_of
from pytest_taskleak.watch.tasks import RECORDER, Tasks
from pytest_taskleak.watch.things import Things
from pytest_taskleak.watch.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pytest_taskleak.model import Record
    from pytest_taskleak.watch.patching import Make
    from pytest_taskleak.watch.records import Listener

_running_loop = asyncio._get_running_loop  # noqa: SLF001 - documented for writers of event loops; never raises
_current_task = asyncio.current_task
_ident = threading.get_ident


def _nowhere() -> None:
    """No loop."""


class Watcher:
    """Records who makes which task, from `start` to `stop`.

    Guarantees: what is wrapped keeps its signature, its result and its exceptions; a defect in the recording is
    given to the listener and changes nothing else. No loop, task or thread is kept alive. Records are written on
    the task itself (0.4-0.7 µs, where a weak mapping costs 1.5-2 µs).

    Attributes:
        current: The owner that the runner is busy with, None between tests.
        phase: The phase it is in.
        listener: Whom it tells.
        users: How many rely on it; whoever leaves last calls `stop`.
        seen: How many tasks and threads were recorded, so that a listener can tell whether a test made any.
        things: What it records besides tasks.
        workers: What it records of threads, executors and loops.
        coroutines: What hears of coroutines that nobody awaited.
        set_owner: Sets the present context's owner; `enter` does all that is needed.
        owner_set: Gives it.
        known: The loops that it knows besides those that it saw being made, by their ids; some may be closed by now.
        entries: What it has noted besides tasks; for their lengths only.
        at: Gives the loop in which the last task was made, where that loop was running; None for none.
        imported: How many modules there were when it last looked for kinds of loops; `start` looks again.
    """

    def __init__(
        self,
        listener: Listener,
        *,
        carriers: frozenset[str],
        carries: Callable[[object], bool],
        own: Callable[[str], bool],
        kinds: Collection[str] = (),
    ) -> None:
        """Make a recorder that wraps nothing yet.

        Args:
            listener: Told at the moments that matter, in whichever thread they come.
            carriers: The qualified names that such coroutines have, to ask about few.
            carries: Whether a coroutine is a runner's own, which works for whatever runs just then.
            own: Whether a file is the project's own code.
            kinds: What is recorded besides tasks.
        """
        self.current: Owner | None = None
        self.phase = ""
        self.seen = 0
        self.users = 0
        self.listener = listener
        self._owner: contextvars.ContextVar[Owner | None] = contextvars.ContextVar("taskleak_owner", default=None)
        self.set_owner = self._owner.set
        self.owner_set = self._owner.get
        self._closing: set[int] = set()
        self.known: dict[int, LoopRecord] = {}
        self._collector = Collector()
        self.things = Things(kinds, self, self._owner, own=own, listener=listener)
        self.workers = Workers(kinds, self, self._owner, own=own, listener=listener)
        self.coroutines = Coroutines(kinds, self, self._collector, own=own, listener=listener)
        self._tasks = Tasks(
            *(self, self._owner, self._closing),
            carriers=carriers,
            carries=carries,
            own=own,
            listener=listener,
            workers=self.workers,
        )
        self.entries = (*self.things.entries, *self.workers.entries)
        self._patches: list[Patch] = []
        self.imported = 0
        self.at: Callable[[], asyncio.AbstractEventLoop | None] = _nowhere
        self._patched: set[type] = set()
        self._main = threading.main_thread().ident
        self._main_ref = weakref.ref(threading.main_thread())

    @staticmethod
    def active() -> Watcher | None:
        """The recorder that sees the tasks that are made just now, None where none does."""
        recorder = getattr(asyncio.BaseEventLoop.create_task, RECORDER, None)
        return recorder if isinstance(recorder, Watcher) and recorder._patches else None  # noqa: SLF001 - its own class

    def start(self) -> None:
        """Wrap what has to be seen; harmless when repeated, and catches up with loops imported meanwhile."""
        if self._patches and self.imported == len(sys.modules):
            return
        self.imported = len(sys.modules)
        know_runners()
        if not self._patches:
            if self.things.registers:
                self._collector.hear(self.things.collected)
            self._patches += self.coroutines.start()
            self._patch(threading.Thread, start=self.workers.thread_start)
            self._patch(asyncio.Runner, close=self._runner_close)
            self._patch(asyncio.BaseEventLoop, **self._on_loops(asyncio.BaseEventLoop))
            # Its own close shuts the self-pipe before the base class hears of it: look while the loop can still turn.
            self._patch(asyncio.SelectorEventLoop, close=self._loop_close)
            if sys.platform == "win32":
                self._patch(asyncio.ProactorEventLoop, close=self._loop_close)
            for cls, name, make in self.things.others():
                self._patch(cls, **{name: make})
        uvloop = sys.modules.get("uvloop")
        loop_class = getattr(uvloop, "Loop", None)
        if isinstance(loop_class, type) and loop_class not in self._patched:
            self._patch(loop_class, **self._on_loops(loop_class))
        for executor_class, name, make in self.workers.executors():
            if executor_class not in self._patched:
                self._patch(executor_class, **{name: make})

    def _on_loops(self, cls: type) -> dict[str, Callable[[Callable[..., Any], Patch], Callable[..., Any]]]:
        return {
            "create_task": self._tasks.create_task,
            "close": self._loop_close,
            "call_exception_handler": self._call_exception_handler,
            **dict(self.things.wrappers(cls)),
            **dict(self.workers.wrappers(cls)),
        }

    def stop(self) -> None:
        """Take every wrapper back; harmless when repeated."""
        while self._patches:
            self._patches.pop().undo()
        self._patched.clear()
        self.known.clear()
        self.imported = 0
        self.at = _nowhere
        for part in (self._collector, self.things, self.workers, self.coroutines):
            part.stop()
        self.current = None

    def enter(self, owner: Owner | None, phase: str) -> contextvars.Token[Owner | None]:
        """Make `owner` the one on whose behalf the runner works, in this context as well; `leave` undoes it."""
        self.current = owner
        self.phase = phase
        return self._owner.set(owner)

    def leave(self, token: contextvars.Token[Owner | None], before: Owner | None, phase: str) -> None:
        """Go back to the owner before the matching `enter`."""
        self.current = before
        self.phase = phase
        self._owner.reset(token)

    def loops(self) -> list[LoopRecord]:
        """The loops that are not closed, as far as tasks were made in them, or they were seen being made."""
        known: list[LoopRecord] = []
        for made_loop, made in self.workers.loops():
            record = self.known.get(id(made_loop))
            if record is None or record.ref() is not made_loop:
                self.known[id(made_loop)] = LoopRecord(made_loop, made.owner)
        for key, record in list(self.known.items()):
            loop = record.loop
            if loop is None or loop.is_closed():
                del self.known[key]
            else:
                known.append(record)
        return known

    def lend(self, task: asyncio.Task[Any] | None, owner: Owner | None) -> Owner | None:
        """Make `owner` the one on whose behalf a task, and the present context, work; `lend` again to take it back.

        Returns:
            On whose behalf they worked before.
        """
        before = self._owner.get()
        self._owner.set(owner)
        if task is None:
            return before
        origin = origin_of(task)
        if origin is None or origin.run is not self:
            setattr(task, ATTRIBUTE, Origin.of(self, owner, phase=self.phase, during=owner))
            return before
        before, origin.owner = origin.owner, owner
        return before

    def origin(self, task: asyncio.Task[Any]) -> Origin | None:
        """What was recorded of a task; for one made past `create_task`, what its context tells (3.12+)."""
        origin = origin_of(task)
        if origin is not None:
            return origin
        get_context = getattr(task, "get_context", None)
        if get_context is None:
            return None
        owner = get_context().get(self._owner)
        if owner is None:
            return None
        record = Origin.of(self, owner)
        setattr(task, ATTRIBUTE, record)
        return Origin(record)

    def began_in(self, loop: asyncio.AbstractEventLoop) -> Owner | None:
        """Who was busy when the first task was made in a loop, None where that was nobody, or unseen."""
        record = self.known.get(id(loop))
        if record is not None and record.ref() is loop:
            return record.began_in
        return next((made.owner for made_loop, made in self.workers.loops() if made_loop is loop), None)

    def recorded_elsewhere(self, task: asyncio.Task[Any]) -> bool:
        """Whether the task is another run's business: a run inside this one, or the one around it."""
        origin = origin_of(task)
        return origin is not None and origin.run is not self

    def thread_origin(self, thread: threading.Thread) -> ThreadOrigin | None:
        """Who started a thread, None where that was before this run or unseen."""
        origin = getattr(thread, ATTRIBUTE, None)
        return origin if isinstance(origin, ThreadOrigin) and origin.run is self else None

    def ignore(self, thread: threading.Thread) -> None:
        """Make a thread that has not started yet nobody's business: the plugin's own."""
        setattr(thread, ATTRIBUTE, ThreadOrigin(self, None, "", ()))

    def owner_of_step(self, origin: Origin | None, handle: object, ident: int) -> Owner | None:
        """On whose behalf another thread, which runs a loop, works: its task's, its callback's, the thread's own.

        Args:
            origin: The task's; None for a callback.
            handle: asyncio's handle of the callback; None where the loop has none.
            ident: The thread.
        """
        if origin is not None and origin.run is self and origin.owner is not None:
            return origin.owner
        context = getattr(handle, "_context", None) if origin is None else None
        owner: Owner | None = context.get(self._owner) if context is not None else None
        if owner is None and ident != self._main:
            started = (it for it in threading.enumerate() if it.ident == ident)
            by = next((known for thread in started if (known := self.thread_origin(thread))), None)
            owner = by.owner if by is not None else None
        return owner or self.current

    # -- who asks

    def owner_now(self) -> Owner | None:
        """On whose behalf the code works that is running in this thread."""
        running = _running_loop()
        record = self._of_the_running(running) if running is not None else None
        return (record[1] if record is not None else None) or self.owner_outside_tasks(running)

    def owner_of(self, handle: object) -> Owner | None:
        """On whose behalf a loop calls a handle that has just failed; uvloop is still in its context, and hides it."""
        context: contextvars.Context | None = getattr(handle, "_context", None)
        owner = context.get(self._owner) if context is not None else None
        return owner if owner is not None else self.owner_now()

    def owner_outside_tasks(self, running: object, /) -> Owner | None:
        """On whose behalf code works that no recorded task runs: its context's, its thread's, the runner's."""
        ident = _ident()
        if running is None and ident == self._main:
            # A Runner keeps the context of the fixture that made it; who runs now is better known here.
            return self.current
        owner = self._owner.get()
        if owner is not None:
            return owner
        if ident != self._main:
            thread = self.thread_origin(threading.current_thread())
            if thread is not None and thread.owner is not None:
                return thread.owner
        return self.current

    def _of_the_running(self, running: asyncio.AbstractEventLoop) -> Record | None:
        record: Record | None = getattr(_current_task(running), ATTRIBUTE, None)
        return record if record is not None and record[0] is self else None

    def maker(self) -> Origin | None:
        """Where the task came from that runs in this thread, None where none does."""
        running = _running_loop()
        record = self._of_the_running(running) if running is not None else None
        return Origin(record) if record is not None else None

    # -- the wrappers

    def _patch(self, cls: type, **makers: Make) -> None:
        self._patched.add(cls)
        self._patches += [Patch(cls, name, make) for name, make in makers.items()]

    def note(self, loop: asyncio.AbstractEventLoop, running: object, /) -> None:
        """Make a record of a loop, and of the thread that it runs in."""
        record = self.known.get(id(loop))
        if record is None or record.ref() is not loop:
            record = self.known[id(loop)] = LoopRecord(loop, self.current)
        if running is loop:
            ident = _ident()
            if record.ident != ident:
                main = ident == self._main
                record.ran_in(ident, self._main_ref if main else weakref.ref(threading.current_thread()))
            self.at = record.ref

    def _runner_close(self, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        def close(runner: asyncio.Runner, /) -> None:
            __tracebackhide__ = True
            if not patch.live:
                patch.stale(runner)
                return
            # get_loop() would make a loop where there was none, and `vars` make all that the runner does slower.
            loop = getattr(runner, "_loop", None)
            if loop is None or id(loop) in self._closing:
                original(runner)
            else:
                self._around(loop, original, runner, True)  # noqa: FBT003 - at the end of each asynchronous test, and keywords cost

        return close

    def _loop_close(self, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        closing, around = self._closing, self._around

        def close(loop: asyncio.AbstractEventLoop, /) -> None:
            __tracebackhide__ = True
            if id(loop) in closing:
                original(loop)  # a closer that another has called
            elif patch.live:
                around(loop, original, loop, False)  # noqa: FBT003 - as above
            else:
                patch.stale(loop)

        return close

    def _around(
        self,
        loop: asyncio.AbstractEventLoop,
        close: Callable[[Any], None],
        closed: object,
        by_runner: bool,  # noqa: FBT001 - as above
    ) -> None:
        """Let the listener look before `close(closed)` and after it."""
        __tracebackhide__ = True
        key = id(loop)
        self._closing.add(key)
        after = None
        try:
            try:
                if not loop.is_closed() and not loop.is_running():
                    after = self.listener.closing(loop, by_runner=by_runner)
            except Exception as error:  # noqa: BLE001 - closing goes on whatever befalls the look
                self.listener.failed(error)
            finally:
                close(closed)
        finally:
            self._closing.discard(key)
            try:
                if after is not None:
                    after()
                self._closed(loop)
            except Exception as error:  # noqa: BLE001 - as above
                self.listener.failed(error)

    def _closed(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let go of what has ended with a loop, so that there is nothing to look at when its test has."""
        if loop.is_closed():
            if self.known:
                self.known.pop(id(loop), None)
            self.workers.closed(loop)
        if any(self.things.kept):
            self.things.tidy()

    def _call_exception_handler(self, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        def call_exception_handler(loop: asyncio.AbstractEventLoop, /, *args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            if not patch.live:
                patch.stale(loop, *args, **kwargs)
                return
            try:
                context: dict[str, Any] = args[0] if args else kwargs["context"]
                self.listener.complained(loop, context)
            except Exception as error:  # noqa: BLE001 - the loop's own handling goes on
                self.listener.failed(error)
            original(loop, *args, **kwargs)

        return call_exception_handler
