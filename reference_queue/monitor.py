"""Monitor: a queue's figures in the log, and an alert when they cross a threshold."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from reference_queue._check import check_callable, check_count, check_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

__all__ = ["Figures", "HasFigures", "Monitor"]

_log = logging.getLogger("reference_queue.monitor")

HIGH_VOLUME = 500
"""Messages queued above which the incident's bot warned."""
TOO_MANY_PENDING = 100
"""Pending promises above which the incident's bot raised its alert."""
_RECOVERED = 0.8


class Figures(Protocol):
    """The incident's four figures; `MemoryStats` has them."""

    @property
    def total_chats(self) -> int: ...  # noqa: D102 - as in `MemoryStats`
    @property
    def total_queued(self) -> int: ...  # noqa: D102
    @property
    def processing(self) -> int: ...  # noqa: D102
    @property
    def pending_promises(self) -> int: ...  # noqa: D102


class HasFigures(Protocol):
    """What can be watched: a `MessageQueue`, for one."""

    def get_memory_stats(self) -> Figures:
        """Return what is held now."""
        ...


class _Alert:
    """Says when a figure crosses its threshold, and when it is well below again."""

    def __init__(self, threshold: int, recovered: float) -> None:
        self.threshold = threshold
        self.on = False
        self._recovered = threshold * recovered

    def crossed(self, figure: int) -> bool:
        """Whether this figure turns the alert on or off."""
        on = figure > self.threshold or (self.on and figure >= self._recovered)
        was, self.on = self.on, on
        return on is not was


class Monitor:
    """Logs what a queue holds, as the incident's bot did after its repair, and alerts on crossing a threshold.

    - DEBUG, at each look: ``Memory - Queue: 45 msgs in 12 chats | Processing: 12 | Promises: 12 | Cache: 234 contacts``
    - WARNING: ``HIGH QUEUE VOLUME - 523 messages queued``
    - ERROR: ``TOO MANY PENDING PROMISES - 250 promises. Possible leak!``

    The last two come once when their figure rises above its threshold, and not again before it has been below 80 % of
    that; an INFO line says so. The logger is ``reference_queue.monitor``; each record has the figures as attributes,
    too: `queue_name`, `total_chats`, `total_queued`, `processing`, `pending_promises`, `cached_contacts`, `alert`
    (``"high volume"``, ``"pending promises"`` or None).

    Use it as a context manager (``async with Monitor(queue):``), whose task ends with the block, or call `look` where
    there is a scheduler already. Whatever fails meanwhile, the queue or the cache's count, is logged once until it
    works again, and ends nothing.

    Args:
        queue: what is watched; anything with ``get_memory_stats()``.
        every: seconds between two looks.
        high_volume: the most messages queued without a warning.
        too_many_pending: the most pending promises without an alert. None: 100, or as many as the queue has workers
            if that is more: each may have one, and then it is work and not a leak.
        cache: returns how many contacts a cache of yours holds; None leaves it out.
        name: tells this queue from others in the records.

    Raises:
        TypeError, ValueError: an argument is not of the kind described; the text says which and what is.
    """

    def __init__(  # noqa: PLR0913 - every option is a keyword with a default
        self,
        queue: HasFigures,
        *,
        every: float = 60.0,
        high_volume: int = HIGH_VOLUME,
        too_many_pending: int | None = None,
        cache: Callable[[], int] | None = None,
        name: str = "",
    ) -> None:
        if isinstance(queue, type) or not callable(getattr(queue, "get_memory_stats", None)):
            raise TypeError(f"queue={queue!r} has no get_memory_stats(). Give a queue, or something else that has it.")
        if cache is not None:
            check_callable("cache", cache, "a function that returns a count")
        check_duration("every", every)
        check_count("high_volume", high_volume)
        if too_many_pending is None:
            workers: int = getattr(queue, "workers", 0)
            too_many_pending = max(TOO_MANY_PENDING, workers)
        check_count("too_many_pending", too_many_pending)
        self._queue = queue
        self._every = every
        self._cache = cache
        self._name = name
        self._volume = _Alert(high_volume, _RECOVERED)
        self._pending = _Alert(too_many_pending, _RECOVERED)
        self._failing: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def alerts(self) -> tuple[str, ...]:
        """The alerts that are on, as of the last look: ``"high volume"``, ``"pending promises"``."""
        alerts = {"high volume": self._volume, "pending promises": self._pending}
        return tuple(name for name, alert in alerts.items() if alert.on)

    def look(self) -> None:
        """Look at the queue once, and log what there is to say. Never raises."""
        figures: dict[str, int] | None = self._ask("The figures of the queue", self._figures)
        if figures is None:
            return
        contacts: int | None = None if self._cache is None else self._ask("The count of the cache", self._cache)
        fields: dict[str, object] = {
            "queue_name": self._name,
            **figures,
            "cached_contacts": contacts,
            "alert": None,
        }
        queued, pending = figures["total_queued"], figures["pending_promises"]
        _log.debug(
            "Memory - Queue: %d msgs in %d chats | Processing: %d | Promises: %d%s",
            queued,
            figures["total_chats"],
            figures["processing"],
            pending,
            "" if contacts is None else f" | Cache: {contacts} contacts",
            extra=fields,
        )
        if self._volume.crossed(queued):
            text = "HIGH QUEUE VOLUME - %d messages queued" if self._volume.on else _NORMAL_VOLUME
            level = logging.WARNING if self._volume.on else logging.INFO
            _log.log(level, text, queued, extra={**fields, "alert": "high volume"})
        if self._pending.crossed(pending):
            text = "TOO MANY PENDING PROMISES - %d promises. Possible leak!" if self._pending.on else _NORMAL_PENDING
            level = logging.ERROR if self._pending.on else logging.INFO
            _log.log(level, text, pending, extra={**fields, "alert": "pending promises"})

    def _figures(self) -> dict[str, int]:
        stats = self._queue.get_memory_stats()
        # Each is made a number here, where a failure is told: one that comes later would end the task.
        return {
            "total_chats": int(stats.total_chats),
            "total_queued": int(stats.total_queued),
            "processing": int(stats.processing),
            "pending_promises": int(stats.pending_promises),
        }

    def _ask(self, what: str, provider: Callable[[], Any]) -> Any:
        try:
            answer = provider()
        except Exception:  # noqa: BLE001 - whatever it is, the monitor goes on; it is logged
            if what not in self._failing:
                self._failing.add(what)
                _log.exception("%s cannot be had; this is said once until it works again", what)
            return None
        self._failing.discard(what)
        return answer

    async def __aenter__(self) -> Self:
        """Begin to look: now, and then every so often.

        Raises:
            RuntimeError: it is looking already.
        """
        if self._task is not None:
            raise RuntimeError("The monitor runs already. Make one for each `async with`.")
        self._task = asyncio.create_task(self._run(), name=f"reference_queue monitor {self._name}".rstrip())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the task, and wait for its end; the figures are looked at once more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self.look()

    async def _run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(self._every)


_NORMAL_VOLUME = "Queue volume is normal again - %d messages queued"
_NORMAL_PENDING = "Pending promises are normal again - %d promises"
