"""The interpreter's collector of garbage: who wants to hear of its work, and work that it is asked for."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Collector:
    """Tells several of each collection with one entry in `gc.callbacks`, between the first `hear` and `stop`."""

    def __init__(self) -> None:
        """Make one that hears of nothing yet."""
        self._hearers: list[Callable[[str, int], None]] = []
        self._entry = self._called  # to be known by identity

    def hear(self, hearer: Callable[[str, int], None]) -> None:
        """Call `hearer` with "start" or "stop" and the oldest generation that is collected; once, if repeated."""
        if hearer not in self._hearers:
            self._hearers.append(hearer)
        if self._entry not in gc.callbacks:
            gc.callbacks.append(self._entry)

    def stop(self) -> None:
        """Hear of collections no more; harmless when repeated."""
        self._hearers.clear()
        if self._entry in gc.callbacks:
            gc.callbacks.remove(self._entry)

    def collect(self, generation: int) -> None:
        """Collect the generation and those that are younger; who hears of collections may not hear of this one.

        To call back takes 17,000 instructions, as many as to collect what a small test leaves that is young.
        """
        callbacks = gc.callbacks
        if len(callbacks) == 1 and callbacks[0] is self._entry:
            callbacks.clear()
            try:
                gc.collect(generation)
            finally:
                callbacks.insert(0, self._entry)
        else:
            gc.collect(generation)

    def _called(self, phase: str, info: dict[str, Any]) -> None:
        for hearer in self._hearers:
            hearer(phase, info["generation"])
