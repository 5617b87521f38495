"""Whether there is anything to look at: for nearly all tests there is not, and nothing that judges is imported."""

from __future__ import annotations

import functools
import gc
import traceback
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pytest_taskleak import explain, judge
from pytest_taskleak.judge import pending
from pytest_taskleak.watch import Watcher

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection

    from pytest_taskleak.findings import Unawaited
    from pytest_taskleak.leak import Leak
    from pytest_taskleak.model import Owner
    from pytest_taskleak.places import Places
    from pytest_taskleak.stalls import Stalls


class Judge(Protocol):
    """Decides what is a leak; in any thread, and, but for `judge_by` and `forget`, from inside a collection."""

    def __bool__(self) -> bool:
        """Whether anything was found or heard of, and is not told yet."""
        ...

    def judge_by(self, grace: float, *, strict: bool) -> None:
        """Give suspects `grace` seconds from now on, and report what cannot be decided where that is asked for."""
        ...

    def closing(
        self, loop: asyncio.AbstractEventLoop, tasks: list[asyncio.Task[Any]], *, by_runner: bool
    ) -> Callable[[], None] | None:
        """Look at a loop that is about to be closed, with these pending tasks; what to call when it is."""
        ...

    def complained(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Hear what a loop's exception handler is about to hear."""
        ...

    def unawaited(self, found: Unawaited) -> bool:
        """Hear of a coroutine that was freed and never awaited; whether it is told."""
        ...

    def forget(self, fixture: Owner) -> None:
        """A fixture has ended."""
        ...


J = TypeVar("J", bound=Judge)


class Gate(Generic[J]):
    """Stands between the recorder and the detector, which is made when there is first something to judge.

    Asked at the end of each test, so it may cost next to nothing.

    Guarantees: where it says that all is quiet, no loop is open, nothing of any kind that is looked for goes on, and
    all that was found or heard is told. Defects of the plugin's own are kept for `take_defects`.

    Attributes:
        watcher: The recorder; whoever runs tests tells it who is busy.
        fixtures: The fixtures that are set up, by any key.
        kinds: What is judged, by the names of `model.KINDS`.
        grace: Seconds that suspects are given to end.
        strict: Whether what cannot be decided is a leak.
        test: The last test that began, None before the first and when all are over.
        blocked: Seconds beyond which a loop is blocked by what is none of the watched test's own; 0 for off.
        defects: The plugin's own failures, in words, until they are taken.
        has_failed: Whether there ever were any.
    """

    _made: J | None = None

    def __init__(self, places: Places, *, kinds: Collection[str], make: Callable[[Gate[J]], J]) -> None:
        """Make a gate that wraps nothing yet.

        Args:
            places: Whose code a line is.
            kinds: What is looked for, by the names of `model.KINDS`.
            make: Makes the detector.
        """
        self.watcher = Watcher(self, carriers=judge.CARRIERS, carries=judge.carries, own=places.own, kinds=kinds)
        self.fixtures: dict[object, judge.LiveFixture] = {}
        self.kinds = kinds
        self.grace = 0.0
        self.strict = False
        self.test: Owner | None = None
        self.blocked = 0.0
        self.defects: list[str] = []
        self.has_failed = False
        self._make = make
        self._places = places
        self._workers = self.watcher.workers
        self._live = (*self.watcher.entries, self.watcher.known, self._workers.dropped)
        self._watches = False

    # -- whether anything is there

    @property
    def quiet(self) -> bool:
        """Whether nothing is there, as far as is known without a look at it."""
        if any(self._live) or (
            (latest := self._workers.latest) is not None and latest[0]() is not None and self._workers.has_latest()
        ):
            return False
        return not (self._made or self.is_watched)

    def settles(self) -> bool:
        """Whether nothing is there but what has ended, which is let go of; looks at no loop."""
        watcher = self.watcher
        workers = watcher.workers
        if (watcher.known or any(workers.entries) or workers.has_latest()) and watcher.loops():
            return False
        for part in (watcher.things, watcher.workers):
            if any(part.entries):
                part.tidy()
        return self.quiet

    @property
    def detector(self) -> J:
        """Who judges."""
        if self._made is not None:
            return self._made
        enabled = gc.isenabled()
        gc.disable()  # what is found by the collector would be told here, in the midst of the import
        try:
            # Two threads may get here at once, and a lock must not be waited for where objects are freed.
            made: J = vars(self).setdefault("_made", self._make(self))
        finally:
            if enabled:
                gc.enable()
        return made

    # -- how it is judged

    def judge_by(self, grace: float, *, strict: bool) -> None:
        """Give suspects `grace` seconds from now on, and report what cannot be decided where that is asked for."""
        self.grace, self.strict = grace, strict
        if self._made is not None:
            self._made.judge_by(grace, strict=strict)

    def start(self) -> None:
        """Begin to record; harmless when repeated."""
        self.watcher.users = max(self.watcher.users, 1)
        self.watcher.start()

    def stop(self) -> None:
        """Restore everything, and let go of all; harmless when repeated."""
        if self._watches:
            self.stalls.stop()
        self.watcher.stop()
        self.fixtures.clear()
        self.test = None
        vars(self).pop("_made", None)

    def ended(self, fixture: Owner) -> None:
        """A fixture's own finalizers are over."""
        if self._made is not None:
            self._made.forget(fixture)

    # -- blocked loops

    @functools.cached_property
    def stalls(self) -> Stalls:
        """Judges blocked loops; made where a test may not block its loop."""
        from pytest_taskleak.stalls import Stalls  # noqa: PLC0415 - needed only where it is asked for

        # What may be needed inside of a step is imported before: that would block the loop as well.
        _ = self.detector, explain.describe_callback, explain.describe_lost
        stalls = Stalls(self.watcher, self._places, self.failed)
        stalls.elsewhere = self.blocked
        self._watches = True
        return stalls

    @property
    def is_watched(self) -> bool:
        """Whether any test was, so far, that may not block its loop."""
        return self._watches and self.stalls.used

    def watch(self, threshold: float, nodeid: str = "") -> None:
        """Watch for blocked loops on behalf of a test; 0 seconds to watch no more."""
        if threshold or self._watches:
            self.stalls.watch(threshold, nodeid)

    def stalled(self) -> list[tuple[Owner, Leak]]:
        """What blocked a loop on behalf of owners that have ended; told once."""
        return self.stalls.leaks() if self._watches else []

    # -- what the recorder tells, in any thread

    def closing(self, loop: asyncio.AbstractEventLoop, /, *, by_runner: bool) -> Callable[[], None] | None:
        """Look at a loop that is about to be swept or closed: whatever is left there outlives its loop."""
        tasks, things = pending.pending_tasks(loop), self.watcher.things
        if not tasks:
            if any(things.entries):
                things.tidy()  # a test may count objects where it closes a loop: what need not be imported there is not
            if not any(things.entries):
                return None
        return self.detector.closing(loop, tasks, by_runner=by_runner)

    def complained(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any], /) -> None:
        """Hear what a loop's exception handler is about to hear."""
        self.detector.complained(loop, context)

    def unawaited(self, found: Unawaited, /) -> bool:
        """Hear of a coroutine that was freed and never awaited."""
        return self.detector.unawaited(found)

    def failed(self, error: Exception, /) -> None:
        """Keep a defect of the plugin's own, in words: its traceback would keep what is the user's alive."""
        self.has_failed = True
        self.defects.append("".join(traceback.format_exception(error)))

    def take_defects(self) -> list[str]:
        """The plugin's own failures since the last time, in words."""
        defects, self.defects = self.defects, []
        return defects
