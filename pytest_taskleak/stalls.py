"""Blocked loops, from the monitor's facts to leaks, for those who run tests and for blocks."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING

from pytest_taskleak import explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_taskleak.findings import Stall
    from pytest_taskleak.leak import Leak
    from pytest_taskleak.model import Owner
    from pytest_taskleak.places import Places
    from pytest_taskleak.watch import Watcher
    from pytest_taskleak.watch.blocked import Monitor


class Stalls:
    """Keeps what the monitor tells until its owner has ended.

    Guarantees: nothing is started before the first `watch` with a threshold.

    Attributes:
        used: Whether there is a monitor.
        elsewhere: The threshold, in seconds, for what is none of the watched test's own: a wider fixture's; 0 for off.
    """

    def __init__(self, watcher: Watcher, places: Places, failed: Callable[[Exception], None]) -> None:
        """Make one that watches nothing yet.

        Args:
            watcher: The recorder.
            places: Whose code a line is.
            failed: Told of a defect of the monitor's own.
        """
        self._watcher = watcher
        self.failed = failed
        self.elsewhere = 0.0
        self.used = False
        self._places = places
        self._nodeid = ""
        self._kept: list[tuple[Owner, Stall]] = []
        self._lock = threading.Lock()

    @functools.cached_property
    def monitor(self) -> Monitor:
        """The monitor, made when it is first asked for."""
        from pytest_taskleak.watch.blocked import Monitor  # noqa: PLC0415 - needed only when it is asked for

        self.used = True
        return Monitor(self, self._watcher)

    def watch(self, threshold: float, nodeid: str = "") -> None:
        """Watch on behalf of a test; 0 seconds to watch no more."""
        self._nodeid = nodeid or self._nodeid
        if threshold:
            self.monitor.follow_all()
        if self.used:
            self.monitor.watch(threshold)

    def stalled(self, stall: Stall, /) -> None:
        """Hear from the monitor."""
        owner = stall.owner
        if owner is None or owner.interrupted or (owner.ended and owner.blamed):
            return
        whose = owner.outer or owner
        own = owner.kind == "block" or (whose.of_test and whose.nodeid == self._nodeid)
        if own or 0 < self.elsewhere < stall.seconds:
            with self._lock:
                self._kept.append((owner, stall))

    def stop(self) -> None:
        """Watch no more, and restore everything; harmless when repeated."""
        if self.used:
            self.monitor.stop()
        self._kept.clear()

    def leaks(self) -> list[tuple[Owner, Leak]]:
        """What owners that have ended did, each with the longest of its stalls first; told once."""
        if not (self.used and self.monitor):
            return []
        self.monitor.flush()
        with self._lock:
            ended = [(owner, stall) for owner, stall in self._kept if (owner.outer or owner).ended]
            self._kept = [(owner, stall) for owner, stall in self._kept if not (owner.outer or owner).ended]
        ended.sort(key=lambda pair: _weight(pair[1]), reverse=True)
        return [
            (owner.outer or owner, explain.describe_stall(stall, owner.outer or owner, self._places))
            for owner, stall in ended
            if not (owner.kind == "block" and owner.blamed)  # the block has told it
        ]

    def of_block(self, block: Owner) -> list[Leak]:
        """What a block did, the longest first."""
        self.monitor.flush()
        with self._lock:
            mine = [stall for owner, stall in self._kept if owner is block]
        mine.sort(key=_weight, reverse=True)
        return [explain.describe_stall(stall, block, self._places) for stall in mine]


def _weight(stall: Stall) -> tuple[bool, float]:
    """The longest first, after it those that point to no line."""
    return bool(stall.calls), stall.seconds
