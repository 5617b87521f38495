"""Whether there is anything to look at when a test is over: for nearly all tests there is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_taskleak.detector import Detector


class Quiet:
    """Tells where nothing need be looked at; asked at the end of each test, so it may cost next to nothing.

    Guarantees: where it says so, no loop is open, nothing of any kind that is looked for goes on, and all that was
    found or heard is told.
    """

    def __init__(self, detector: Detector) -> None:
        """Make it for a detector."""
        watcher = detector.watcher
        self._detector = detector
        self._watcher = watcher
        self._workers = watcher.workers
        self._live = (*watcher.entries, watcher.known, watcher.workers.dropped, detector.lost.heard)

    def __bool__(self) -> bool:
        """Whether nothing is there, as far as is known without a look at it."""
        if any(self._live) or (
            (latest := self._workers.latest) is not None and latest[0]() is not None and self._workers.has_latest()
        ):
            return False
        it = self._detector
        return not (it.suspects or it.leftovers.found or it.workplaces.found or it.stalls.used)

    def settles(self) -> bool:
        """Whether nothing is there but what has ended, which is let go of; looks at no loop."""
        watcher = self._watcher
        workers = watcher.workers
        if (watcher.known or any(workers.entries) or workers.has_latest()) and watcher.loops():
            return False
        for part in (watcher.things, watcher.workers):
            if any(part.entries):
                part.tidy()
        return bool(self)
