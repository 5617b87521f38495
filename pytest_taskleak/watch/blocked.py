"""A loop that one callback, or one step of a task, keeps from turning: measured from a thread outside of the loop."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pytest_taskleak.findings import Stall
from pytest_taskleak.watch.calls import LOOP_STEP
from pytest_taskleak.watch.patching import Patch
from pytest_taskleak.watch.records import origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType, FrameType

    from pytest_taskleak.model import Call, Origin, Owner
    from pytest_taskleak.watch.watcher import Watcher

THREAD = "taskleak-monitor"
"""The name of the thread that looks."""

_SHORTEST, _LONGEST = 0.005, 0.05
"""Seconds between two looks: an eighth of the threshold, within these. The interpreter changes threads every 5 ms."""

_MOST_STACKS = 64
"""Different stacks kept of one step, at most."""

_DEBUGGERS = (f"{os.sep}pdb.py", f"{os.sep}bdb.py")
_DEBUGGER_PACKAGES = ("pydevd", "debugpy")

_frames: Callable[[], Mapping[int, FrameType]] = sys._current_frames  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
# documented, for looks like these


class StallListener(Protocol):
    """Whoever decides: it is told, in whichever thread the step was seen to end, and must not look back."""

    def stalled(self, stall: Stall, /) -> None:
        """Hear of a step that ran for longer than the threshold, when it is over."""

    def failed(self, error: Exception, /) -> None:
        """Hear of a defect of the monitor's own, after which it looks no more."""


class Monitor:
    """Looks at the loops that run, from `watch` to `stop`, in a thread of its own.

    A loop that is in the middle of a step is sent a beat (`call_soon_threadsafe`). As the loop works in the order of
    asking, no task gets a second step before the beat is answered: a task that is seen at work again and again
    before that is in one and the same step. A loop that waits for events is sent nothing.

    Guarantees: no thread before the first `watch` with a threshold, no wrapper before `follow_all`; a step is told
    once, and never as longer than it was; no loop, task, handle or frame is kept alive by it; time in which the
    monitor could not look (a stopped machine, a collection of garbage) counts as half the threshold at most, so that
    it is nobody's fault.
    """

    def __init__(
        self, listener: StallListener, watcher: Watcher, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make a monitor that does nothing yet.

        Args:
            listener: Told of steps that took too long.
            watcher: The recorder, which knows on whose behalf a task runs.
            clock: Seconds; another one in tests.
        """
        self._listener = listener
        self._watcher = watcher
        self._clock = clock
        self._threshold = 0.0
        self._runs: dict[int, _Run] = {}
        self._patches: dict[type, Patch] = {}
        self._codes: set[CodeType] = set()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._stopped = False

    # -- what whoever decides asks for, in any thread but the monitor's

    def __bool__(self) -> bool:
        """Whether it was ever asked to look."""
        return self._thread is not None

    def watch(self, threshold: float) -> None:
        """Tell of steps that take longer than `threshold` seconds from now on; 0 for none."""
        if threshold != self._threshold:
            with self._changed:
                self.flush()
                self._threshold = threshold
                self._changed.notify_all()
        if threshold and self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
            self._watcher.ignore(self._thread)
            self._thread.start()

    def follow_all(self) -> None:
        """Look at every loop that runs from now on, and at those that the recorder knows to run; harmless to repeat."""
        with self._changed:
            self._wrap()
            self._catch_up()
            self._changed.notify_all()

    def follow(self, loop: asyncio.AbstractEventLoop, ident: int) -> None:
        """Look at a loop that runs already, in the thread `ident`."""
        with self._changed:
            self._runs.setdefault(id(loop), _Run(loop, ident))
            self._changed.notify_all()

    def flush(self) -> None:
        """Tell now of the steps that have taken too long so far."""
        with self._lock:
            for run in self._runs.values():
                self._finish(run)

    def stop(self) -> None:
        """End the thread and restore everything; harmless when repeated."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for patch in self._patches.values():
            patch.undo()
        self._patches.clear()
        self._runs.clear()

    # -- which loops run, and where

    def _wrap(self) -> None:
        uvloop: Any = getattr(sys.modules.get("uvloop"), "Loop", None)
        for cls in (asyncio.BaseEventLoop, uvloop):
            if isinstance(cls, type) and cls not in self._patches:
                self._patches[cls] = Patch(cls, "run_forever", self._run_forever)

    def _run_forever(self, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        def run_forever(loop: asyncio.AbstractEventLoop, /) -> None:
            __tracebackhide__ = True
            if not patch.live:
                patch.stale(loop)
                return
            self._watcher.seen += 1
            with self._changed:
                self._runs[id(loop)] = _Run(loop, threading.get_ident())
                self._changed.notify_all()
            try:
                original(loop)
            finally:
                with self._lock:
                    if run := self._runs.pop(id(loop), None):
                        self._finish(run)

        self._codes.add(run_forever.__code__)
        return run_forever

    def _catch_up(self) -> None:
        """Look at loops that ran before anything was wrapped."""
        for record in self._watcher.loops():
            loop, ident = record.loop, record.ident
            if loop is not None and ident is not None and id(loop) not in self._runs and loop.is_running():
                self._runs[id(loop)] = _Run(loop, ident)

    # -- the thread

    def _work(self) -> None:
        try:
            while self._wait():
                self.look()
        except Exception as error:  # noqa: BLE001 - no outcome may change by it
            self._listener.failed(error)

    def _wait(self) -> bool:
        with self._changed:
            if not self._stopped:
                interval = min(max(self._threshold / 8, _SHORTEST), _LONGEST)
                self._changed.wait(interval if self._threshold and self._runs else None)
            return not self._stopped

    def look(self) -> None:
        """Look once at every loop that runs."""
        with self._lock:
            if not self._threshold:
                return
            for key, run in list(self._runs.items()):
                loop = run.loop()
                if loop is None or not loop.is_running():
                    self._finish(run)
                    del self._runs[key]
                else:
                    self._look_at(loop, run)

    def _look_at(self, loop: asyncio.AbstractEventLoop, run: _Run) -> None:
        seen = self._see(loop, run.ident)
        beat = run.beat
        if run.step is not None and (seen is None or beat is None or beat.answered or not run.step.is_in(seen)):
            self._finish(run)
        if seen is None:
            return
        now = self._clock()
        if run.step is not None:
            run.step.goes_on(seen, now, owner=self._owner_of(seen, run), most=self._threshold / 2)
            return
        if beat is None or beat.answered:
            run.beat = _Beat()
            try:
                loop.call_soon_threadsafe(run.beat)
            except RuntimeError:
                return  # closed meanwhile
            # What was seen before the beat was sent proves nothing.
            seen = self._see(loop, run.ident)
        if seen is not None:
            run.step = _Step(seen, self._clock(), self._owner_of(seen, run), self._watcher.phase)

    def _owner_of(self, seen: _Seen, run: _Run) -> Owner | None:
        return self._watcher.owner_of_step(seen.origin, seen.handle, run.ident)

    def _see(self, loop: asyncio.AbstractEventLoop, ident: int) -> _Seen | None:
        """What the loop is in the middle of; None where it waits, or was between two steps."""
        task = asyncio.current_task(loop)
        frame = _frames().get(ident)
        if asyncio.current_task(loop) is not task:
            return None
        coroutine = _frame_of(task) if task is not None else None
        calls: list[Call] = []
        handle: object = None
        while frame is not None:
            code = frame.f_code
            if code is LOOP_STEP:
                handle = frame.f_locals.get("self")
                break
            if code in self._codes:
                if task is None and (isinstance(loop, asyncio.BaseEventLoop) or not calls):
                    return None  # asyncio's own bookkeeping, or waiting in C
                break
            calls.append((code, frame.f_lasti))
            if frame is coroutine:
                break
            frame = frame.f_back
        if frame is None and task is None:
            return None
        return _Seen(task, handle, tuple(calls))

    def _finish(self, run: _Run) -> None:
        step, run.step = run.step, None
        if step is None or step.debugged or not self._threshold or step.counted <= self._threshold:
            return
        self._listener.stalled(step.told(self._threshold))


class _Beat:
    """What a loop is asked to answer."""

    __slots__ = ("answered",)

    def __init__(self) -> None:
        self.answered = False

    def __call__(self) -> None:
        self.answered = True


class _Run:
    """A loop while it runs: from the entry of `run_forever` to its return."""

    __slots__ = ("beat", "ident", "loop", "step")

    def __init__(self, loop: asyncio.AbstractEventLoop, ident: int) -> None:
        self.loop = weakref.ref(loop)
        self.ident = ident
        self.beat: _Beat | None = None
        self.step: _Step | None = None


class _Seen(NamedTuple):
    """One look at a loop that works; it holds the user's objects: drop it at once.

    Attributes:
        task: The task whose step it is, None for a plain callback.
        handle: asyncio's handle of the callback, None where the loop has no such thing.
        calls: The stack, the innermost call first, as far as the loop.
    """

    task: asyncio.Task[Any] | None
    handle: object
    calls: tuple[Call, ...]

    @property
    def origin(self) -> Origin | None:
        """What was recorded of the task."""
        return origin_of(self.task)


class _Step:
    """One step while it lasts."""

    __slots__ = ("_key", "_last", "_phase", "_since", "_stacks", "_task", "counted", "debugged")

    def __init__(self, seen: _Seen, now: float, owner: Owner | None, phase: str) -> None:
        self._key = _key(seen)
        self._since = self._last = now
        self._phase = phase
        self._stacks: Counter[tuple[tuple[Call, ...], Owner | None]] = Counter()
        self._task = (*_names(seen), seen.origin)
        self.counted = 0.0
        self.debugged = False
        self._note(seen, owner)

    def is_in(self, seen: _Seen) -> bool:
        """Whether it is this step that was seen, provided that no beat was answered since it began."""
        key = _key(seen)
        return key is not None and key is self._key  # of one object there is one weak reference

    def goes_on(self, seen: _Seen, now: float, *, owner: Owner | None, most: float) -> None:
        """It was seen again; at most `most` seconds count, however long nobody looked.

        The owner may be another by now: a block can begin and end within one step.
        """
        self.counted += min(now - self._last, most)
        self._last = now
        self._note(seen, owner)

    def _note(self, seen: _Seen, owner: Owner | None) -> None:
        key = seen.calls, owner
        if len(self._stacks) < _MOST_STACKS or key in self._stacks:
            self._stacks[key] += 1
        self.debugged = self.debugged or any(_of_debugger(code.co_filename) for code, _ in seen.calls)

    def told(self, threshold: float) -> Stall:
        """The facts, for good."""
        task, runs, is_task, origin = self._task
        (((calls, owner), _),) = self._stacks.most_common(1)
        return Stall(
            seconds=self._last - self._since,
            threshold=threshold,
            owner=owner,
            phase=self._phase,
            task=task,
            runs=runs,
            is_task=is_task,
            calls=calls,
            origin=origin,
        )


def _key(seen: _Seen) -> object:
    """What tells one step from another.

    uvloop tells nobody which callback it runs: there, calls of the same function in the same turn are one step.
    """
    if seen.task is not None:
        return weakref.ref(seen.task)
    if seen.handle is not None:
        return weakref.ref(seen.handle)
    return seen.calls[-1][0] if seen.calls else None


def _names(seen: _Seen) -> tuple[str, str, bool]:
    """The task's name, what it or the callback runs, and whether it is a task."""
    task = seen.task
    if task is not None:
        coroutine = task.get_coro()
        return task.get_name(), str(getattr(coroutine, "__qualname__", type(coroutine).__qualname__)), True
    if seen.calls:
        return "", seen.calls[-1][0].co_qualname, False
    callback = getattr(seen.handle, "_callback", None)
    return "", str(getattr(callback, "__qualname__", type(callback).__qualname__)), False


def _frame_of(task: asyncio.Task[Any]) -> FrameType | None:
    coroutine = task.get_coro()
    frame: FrameType | None = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
    return frame


def _of_debugger(filename: str) -> bool:
    return filename.endswith(_DEBUGGERS) or any(name in filename for name in _DEBUGGER_PACKAGES)
