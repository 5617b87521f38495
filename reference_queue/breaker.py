"""MemoryBreaker: no more messages are taken in while memory is nearly full."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Literal, cast

from reference_queue._check import check_callable, check_count, check_duration
from reference_queue.memory import Meter, Reading, give_back

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BreakerState", "MemoryBreaker"]

BreakerState = Literal["closed", "open", "half-open"]

_log = logging.getLogger("reference_queue")


class MemoryBreaker:
    """Says whether there is memory for another message; given to a queue as ``MessageQueue(..., breaker=)``.

    It is *closed* while memory is below `open_at` of the limit, and messages pass. At `open_at` it *opens*: none
    pass, until memory is below `close_at`. The two are apart, so that it does not flutter.

    Memory that was freed may stay with the process. An open breaker asks the C library to give it back, but Python may
    hold it, too, and a breaker that waited for it to fall would be open for ever. So after `retry_after` seconds it is
    *half-open*: `trial` messages pass. If memory is below `open_at` at the next look, it closes; if not, it is open for
    as long again. So, above the mark, at most `trial` messages pass in `retry_after` seconds, and at least one does.

    It looks at memory at most once in `every` seconds, and only when somebody asks: it has no task and no timer. One
    breaker may serve several queues, also those of other threads. (Threads that send in the very same moment may pass
    together on trial: a few messages more then, once, and none later.)

    Opening is logged as a warning by the logger ``reference_queue``, the rest as information. If the meter fails, or
    returns what has no `Reading.ratio`, that is logged once, and messages pass: what is not known keeps nobody out.

    Args:
        open_at: the part of the limit at which it opens; above 0, at most 1.
        close_at: the part below which it closes; above 0, below `open_at`.
        retry_after: seconds after which an open one tries.
        trial: how many messages it lets through to try.
        every: seconds between two looks at memory.
        limit: bytes; a limit for this process's resident set, beside those that the system has set.
        meter: returns the `Reading` to go by; None for a `Meter` of all limits. Not with `limit`.
        clock: seconds that only ever grow.

    Raises:
        MemoryUnknown: the system does not tell what memory is used (as macOS and Windows), and no meter is given.
        TypeError, ValueError: an argument is not of the kind described; the text says which and what is.
    """

    def __init__(  # noqa: PLR0913 - every option is a keyword with a default
        self,
        *,
        open_at: float = 0.8,
        close_at: float = 0.7,
        retry_after: float = 30.0,
        trial: int = 1,
        every: float = 1.0,
        limit: int | None = None,
        meter: Callable[[], Reading] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, mark in (("open_at", open_at), ("close_at", close_at)):
            if not isinstance(cast("object", mark), (int, float)):
                raise TypeError(f"{name}={mark!r} is not a number. Give a part of the limit, such as 0.8.")
        if not 0 < close_at < open_at <= 1:
            raise ValueError(
                f"open_at={open_at!r} and close_at={close_at!r} are no marks to open and close at. "
                "Give parts of the limit, 0 < close_at < open_at <= 1, such as 0.8 and 0.7."
            )
        for name, seconds in (("retry_after", retry_after), ("every", every)):
            check_duration(name, seconds)
        check_count("trial", trial)
        check_callable("clock", clock, "a function that returns seconds")
        if meter is not None:
            check_callable("meter", meter, "a function that returns a Reading")
        if limit is not None:
            check_count("limit", limit)
            if meter is not None:
                raise ValueError(f"limit={limit!r} is for the meter of the system. Leave it out, or the meter.")
        self._open_at = open_at
        self._close_at = close_at
        self._retry_after = retry_after
        self._trial = trial
        self.every = every
        self._meter = Meter(limit) if meter is None else meter
        self._gives_back = meter is None
        self._clock = clock
        self._state: BreakerState = "closed"
        self._reading: Reading | None = None
        self._failing = False
        self._due = clock()
        self._opened_at = 0.0
        self._left = 0
        self._opened = 0
        self._lock = threading.RLock()  # the garbage collection of a thread that has it may send a message

    def __repr__(self) -> str:
        return f"<MemoryBreaker {self._state}, {self._reading or 'not looked yet'}>"

    @property
    def state(self) -> BreakerState:
        """``"closed"``, ``"open"`` or ``"half-open"``, as of the last look."""
        return self._state

    @property
    def reading(self) -> Reading | None:
        """What the last look found; None before the first, and after a meter that failed."""
        return self._reading

    @property
    def opened(self) -> int:
        """How often it has opened, from closed."""
        return self._opened

    @property
    def open_at(self) -> float:
        """The part of the limit at which it opens."""
        return self._open_at

    def allows(self) -> bool:
        """Say whether a message may pass now; looks at memory if it is time to."""
        now = self._clock()
        if now >= self._due:
            with self._lock:
                if now >= self._due:  # else another thread has looked meanwhile
                    self._due = now + self.every
                    self._look(now)
        return self._state == "closed" or self._left > 0

    def passed(self) -> None:
        """Note that a message has been let through."""
        if self._left:
            with self._lock:
                self._left = max(self._left - 1, 0)

    def _look(self, now: float) -> None:
        if self._state != "closed" and self._gives_back:
            give_back()
        reading = self._read()
        if reading is None:
            self._close()
        elif self._state == "closed":
            if reading.ratio >= self._open_at:
                self._opened += 1
                self._open(now)
                _log.warning("Memory breaker open at %s: no more messages are taken in", reading)
        elif reading.ratio < self._close_at or (self._tried() and reading.ratio < self._open_at):
            self._close()
        elif self._tried():
            self._open(now)
        elif self._state == "open" and now - self._opened_at >= self._retry_after:
            self._state = "half-open"
            self._left = self._trial
            _log.info("Memory breaker half-open at %s: %d messages may pass", reading, self._trial)

    def _read(self) -> Reading | None:
        try:
            reading = self._meter()
            _ = reading.ratio >= self._open_at  # that it can be asked is a part of the reading
            self._reading = reading
            self._failing = False
        except Exception:  # noqa: BLE001 - whatever it is, the queue goes on; it is logged
            self._reading = None
            if not self._failing:
                self._failing = True
                _log.exception("Memory breaker: the meter failed, so messages pass until it works again")
        return self._reading

    def _tried(self) -> bool:
        """Whether messages have passed on trial, all that may."""
        return self._state == "half-open" and self._left == 0

    def _open(self, now: float) -> None:
        self._state = "open"
        self._left = 0
        self._opened_at = now

    def _close(self) -> None:
        if self._state != "closed":
            _log.info("Memory breaker closed at %s", self._reading or "an unknown reading")
        self._state = "closed"
        self._left = 0
