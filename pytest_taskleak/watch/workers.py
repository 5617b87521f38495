"""The recorder of what work runs in: threads, executors and event loops."""

from __future__ import annotations

import concurrent.futures.thread
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from pytest_taskleak.model import CHOSEN_BY, COUNTED
from pytest_taskleak.watch.calls import capture, makers_of_loop
from pytest_taskleak.watch.records import ATTRIBUTE, ThreadOrigin
from pytest_taskleak.watch.registers import Made, Register

if TYPE_CHECKING:
    import asyncio
    import contextvars
    from collections.abc import Callable, Collection, Iterator
    from types import CodeType, FrameType

    from pytest_taskleak.model import Call, Kind, Owner
    from pytest_taskleak.watch.patching import Make, Patch
    from pytest_taskleak.watch.records import Busy, Listener

_frame: Callable[[int], FrameType] = sys._getframe  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as in `things`

_POOL_WORKER: object = getattr(concurrent.futures.thread, "_worker", None)


class Workers:
    """Records who starts which thread, and who makes which executor or loop, for the kinds that were chosen.

    An executor carries its record as a thread does, since it is looked at only where a thread of it is alive: one
    that never got any work is none.

    Guarantees: those of the recorder of tasks.

    Attributes:
        registers: What was started or made; for executors their threads, on behalf of who made the executor.
        entries: Their entries; empty where nothing may go on.
        dropped: Loops that were collected while they were open.
        runner: What of a test's runner makes loops just now, in setup; None where that is not known.
        latest: The entry of the loop that it made last; nearly always it is closed again before anybody looks at loops.
    """

    def __init__(
        self,
        kinds: Collection[str],
        run: Busy,
        owner: contextvars.ContextVar[Owner | None],
        *,
        own: Callable[[str], bool],
        listener: Listener,
    ) -> None:
        """Make a recorder that wraps nothing yet.

        Args:
            kinds: What is recorded; names of kinds that are recorded elsewhere are no fault.
            run: The run that it records for, which tells on whose behalf the caller works.
            owner: The context's owner, for what a thread starts.
            own: Whether a file is the project's own code.
            listener: Hears of defects.
        """
        self.registers: dict[Kind, Register] = {
            kind: Register(over) for kind, over in _OVER.items() if CHOSEN_BY[kind] in kinds
        }
        self.entries = tuple(register.entries for register in self.registers.values())
        self.dropped: list[Made] = []
        self.runner: CodeType | None = None
        self._loops = self.registers.get("open-loop")
        self.latest: tuple[Callable[[], Any], int, Owner | None, str, tuple[Call, ...]] | None = None
        self._run = run
        self._whose = run.owner_now
        self._owner = owner
        self._own = own
        self._listener = listener

    def __bool__(self) -> bool:
        """Whether anything is kept."""
        return bool(self.dropped) or any(self.entries)

    def loops(self) -> list[tuple[asyncio.AbstractEventLoop, Made]]:
        """The loops that are not closed, with how they were made."""
        register = self._loops
        if register is None:
            return []
        self.enter_latest()
        return register.alive() if register.entries else []

    def counts(self) -> dict[str, int]:
        """How many go on, by the names of `model.COUNTED`."""
        return {COUNTED[kind]: len(register.alive()) for kind, register in self.registers.items()}

    def has_latest(self) -> bool:
        """Whether the loop that a test's runner made last is still open."""
        return self.latest is not None and (loop := self.latest[0]()) is not None and not loop.is_closed()

    def enter_latest(self) -> None:
        """Enter the loop that a test's runner made last among the others, if it is still open."""
        if self._loops is not None and self.latest is not None and self.has_latest():
            self._loops.append(self.latest)
        self.latest = None

    def closed(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let go of a loop that was closed."""
        if self._loops is not None:
            self._loops.drop_last(id(loop))

    def tidy(self) -> None:
        """Let go of what has ended."""
        for register in self.registers.values():
            if register.entries:
                register.tidy()

    def stop(self) -> None:
        """Forget everything."""
        self.dropped.clear()
        self.latest = self.runner = None
        for register in self.registers.values():
            register.entries.clear()

    def started(self, thread: threading.Thread, origin: ThreadOrigin) -> None:
        """Note a thread that has just been started."""
        kind: Kind = "thread"
        if is_pooled(thread):
            maker = getattr(executor_of(thread), ATTRIBUTE, None)
            if not isinstance(maker, ThreadOrigin) or maker.run is not self._run:
                return  # its executor is older than the run, or another run's
            kind, origin = "executor", maker
        register = self.registers.get(kind)
        if register is None or origin.owner is None:
            return
        register.append(Made(weakref.ref(thread), id(thread), origin.owner, origin.phase, origin.calls))
        if len(register.entries) > register.limit:
            register.tidy()

    def executors(self) -> Iterator[tuple[type, str, Make]]:
        """What is to be wrapped of executors: classes, names, and what makes the wrapper.

        That of processes only where somebody has imported it: it is dear.
        """
        if "executor" not in self.registers:
            return
        yield concurrent.futures.thread.ThreadPoolExecutor, "__init__", self._executor_init
        processes = getattr(sys.modules.get("concurrent.futures.process"), "ProcessPoolExecutor", None)
        if isinstance(processes, type):
            yield processes, "__init__", self._executor_init

    def wrappers(self, cls: type) -> Iterator[tuple[str, Make]]:
        """What is to be wrapped on a class of loops: names, and what makes the wrapper."""
        if "open-loop" in self.registers:
            yield "__init__", self._loop_init
            if hasattr(cls, "__del__"):
                yield "__del__", self._loop_del

    def thread_start(self, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        """Make what takes the place of `Thread.start`."""

        def start(thread: threading.Thread, /) -> None:
            __tracebackhide__ = True
            if not patch.live:
                patch.stale(thread)
                return
            if getattr(thread, ATTRIBUTE, None) is not None:
                original(thread)  # `ignore`d
                return
            origin = None
            try:
                owner = None if is_pooled(thread) else self._whose()
                origin = ThreadOrigin(self._run, owner, self._run.phase, capture(_frame(1), self._own))
                setattr(thread, ATTRIBUTE, origin)
                self._run.seen += 1
                if owner is not None:
                    self._carry_into(thread, owner)
            except Exception as error:  # noqa: BLE001 - the thread must start
                self._listener.failed(error)
            original(thread)
            try:
                if origin is not None:
                    self.started(thread, origin)
            except Exception as error:  # noqa: BLE001 - it runs already
                self._listener.failed(error)

        return start

    def _carry_into(self, thread: threading.Thread, owner: Owner) -> None:
        """Set the owner in the thread's own context, which is empty: what it submits to a loop copies that.

        The way of error trackers that follow threads: the instance's `run`, for the one call.
        """
        if "run" in vars(thread):
            return  # somebody else's arrangement
        run = thread.run

        def run_for_owner() -> None:
            __tracebackhide__ = True
            del vars(thread)["run"]
            self._owner.set(owner)
            run()

        vars(thread)["run"] = run_for_owner

    def _executor_init(self, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        def __init__(executor: object, /, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - the method that it wraps
            __tracebackhide__ = True
            if not patch.live:
                patch.stale(executor, *args, **kwargs)
                return
            original(executor, *args, **kwargs)
            try:
                calls = capture(_frame(1), self._own)
                setattr(executor, ATTRIBUTE, ThreadOrigin(self._run, self._whose(), self._run.phase, calls))
            except Exception as error:  # noqa: BLE001 - the user's executor must be made whatever befalls the recorder
                self._listener.failed(error)

        return __init__

    def _loop_init(self, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        register = self.registers["open-loop"]

        def __init__(loop: asyncio.AbstractEventLoop, /, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - as above
            __tracebackhide__ = True
            if not patch.live:
                patch.stale(loop, *args, **kwargs)
                return
            original(loop, *args, **kwargs)
            try:
                busy, runner = self._run, self.runner
                phase = busy.phase
                if runner is not None and phase == "setup":
                    # Each asynchronous test has such a loop; to find out who makes it is dear.
                    if (before := self.latest) is not None and before[0]() is not None:
                        self.enter_latest()
                    self.latest = weakref.ref(loop), id(loop), busy.current, phase, ((runner, -1),)
                else:
                    calls = makers_of_loop(1, self._own)
                    register.append((weakref.ref(loop), id(loop), self._whose(), phase, calls))
                if len(register.entries) > register.limit:
                    register.tidy()
            except Exception as error:  # noqa: BLE001 - the user's loop must be made whatever befalls the recorder
                self._listener.failed(error)

        return __init__

    def _loop_del(self, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        def __del__(loop: asyncio.AbstractEventLoop, /) -> None:  # noqa: N807 - as above
            if not patch.live:
                patch.stale(loop)
                return
            try:
                if not loop.is_closed():
                    self._drop(loop)
            except Exception as error:  # noqa: BLE001 - the loop's own end goes on
                self._listener.failed(error)
            original(loop)

        return __del__

    def _drop(self, loop: asyncio.AbstractEventLoop) -> None:
        register = self.registers["open-loop"]
        if self.latest is not None and self.latest[1] == id(loop):
            register.append(self.latest)  # its weak reference may be dead already
            self.latest = None
        made = register.find(loop)
        if made is not None:
            register.settle({made.key})
            self.dropped.append(made)


def is_pooled(thread: threading.Thread) -> bool:
    """Whether the thread is an executor's: it works for whoever submits, not for who happened to start it."""
    return getattr(thread, "_target", None) is _POOL_WORKER or hasattr(thread, "executor_reference")


def executor_of(thread: threading.Thread) -> Any:
    """The executor that a thread works for, None where it is gone, or where there is none."""
    # The thread of an executor of processes has it as an attribute, the worker of one of threads as an argument.
    ref = getattr(thread, "executor_reference", None) or next(iter(getattr(thread, "_args", ())), None)
    return ref() if isinstance(ref, weakref.ref) else None  # pyright: ignore[reportUnknownVariableType] - of anything


def is_shut_down(executor: Any) -> bool:
    """Whether an executor takes no more work."""
    return bool(getattr(executor, "_shutdown", False) or getattr(executor, "_shutdown_thread", False))


def _has_ended(thread: threading.Thread) -> bool:
    return not threading.Thread.is_alive(thread)  # a user's own class may see that otherwise


_OVER: dict[Kind, Callable[[Any], bool]] = {
    "thread": _has_ended,
    "executor": _has_ended,
    "open-loop": lambda loop: loop.is_closed(),
}
"""When one has ended, by kind; of executors, a thread."""
