"""The figures of queues for other systems: what each is called, and which queues there are."""

from __future__ import annotations

import dataclasses
import logging
import threading
import weakref
from typing import Any, NamedTuple, Protocol, TypeVar

__all__ = ["BUCKETS", "FIGURES", "Figure", "HasStats", "NamedQueues", "check_name"]

_log = logging.getLogger("reference_queue")

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper bounds in seconds: those that OpenTelemetry advises for messaging, and Prometheus' usual ones too."""


class Figure(NamedTuple):
    """What one field of a queue's statistics is for people and programs outside."""

    name: str
    """With dots, as OpenTelemetry has it; Prometheus has underscores instead."""
    unit: str
    """What is counted, as OpenTelemetry writes it."""
    rises: bool
    """Whether it only ever rises, so that its rate has a meaning."""
    text: str


def _now(name: str, unit: str, text: str) -> Figure:
    return Figure(name, unit, rises=False, text=text)


def _ever(name: str, unit: str, text: str) -> Figure:
    return Figure(name, unit, rises=True, text=text)


FIGURES: dict[str, Figure] = {
    "total_chats": _now("chats.active", "{chat}", "Chats that have work; an idle chat costs nothing."),
    "total_queued": _now("messages.queued", "{message}", "Messages accepted whose handling has not begun."),
    "processing": _now("chats.processing", "{chat}", "Chats that a worker is busy with."),
    "pending_promises": _now(
        "promises.pending", "{promise}", "Handlers begun and not ended; more than chats in process is a leak."
    ),
    "waiting": _now(
        "messages.waiting", "{message}", "Messages that wait for room, or for an outcome from another instance."
    ),
    "ready": _now("chats.ready", "{chat}", "Chats with queued messages that wait for a worker."),
    "workers": _now("workers.live", "{worker}", "Workers that there are now."),
    "overdue": _now("handlers.overdue", "{handler}", "Handlers that go on although their message is settled."),
    "received": _ever("messages.received", "{message}", "Messages taken in; those refused are not among them."),
    "completed": _ever("messages.completed", "{message}", "Messages whose handler returned."),
    "failed": _ever("messages.failed", "{message}", "Messages whose handler raised."),
    "cancelled": _ever("messages.cancelled", "{message}", "Messages given up by the caller, handler or close."),
    "dropped": _ever("messages.dropped", "{message}", "Messages dropped to make room for newer ones."),
    "expired": _ever("messages.expired", "{message}", "Messages whose deadline passed before their end."),
    "rejected": _ever("messages.rejected", "{message}", "Messages refused because a bound was reached."),
    # Those that only a queue over several instances has.
    "sent": _ever("messages.sent", "{message}", "Messages taken in by this instance."),
    "handled": _ever("messages.handled", "{message}", "Messages delivered to this instance, repetitions too."),
    "redelivered": _ever("messages.redelivered", "{message}", "Deliveries that were not their message's first."),
    "given_back": _ever("messages.given_back", "{message}", "Deliveries that ended here without an outcome."),
}
"""By the field of `MemoryStats`, or of another queue's statistics."""


class HasStats(Protocol):
    """What has figures: any kind of queue."""

    def get_memory_stats(self) -> Any:
        """Return a dataclass of counts; called in any thread."""


Q = TypeVar("Q", bound=HasStats)


class NamedQueues:
    """Queues by name, none of which is kept alive; for any thread."""

    def __init__(self) -> None:
        # One thread's garbage collection may come here again while it is here, so it must not wait for itself.
        self.lock = threading.RLock()
        self._queues: weakref.WeakValueDictionary[str, HasStats] = weakref.WeakValueDictionary()
        self._most: weakref.WeakKeyDictionary[HasStats, dict[str, int]] = weakref.WeakKeyDictionary()

    def add(self, name: str, queue: Q) -> Q:
        """Add a queue and return it; raise ValueError if there is one of that name."""
        check_name(name)
        if not callable(getattr(queue, "get_memory_stats", None)):
            raise TypeError(f"{queue!r} has no get_memory_stats(). Give a queue, or something else that has it.")
        with self.lock:
            if name in self._queues:
                raise ValueError(
                    f"There is a queue named {name!r} already. Choose another name, or remove({name!r}) first."
                )
            self._queues[name] = queue
        return queue

    def remove(self, name: str) -> None:
        """Forget the queue of that name, if there is one."""
        with self.lock:
            self._queues.pop(name, None)

    def figures(self) -> list[tuple[str, dict[str, int]]]:
        """Return the figures of each queue that is alive, by field.

        What only ever rises never falls here, although a queue that works while another thread reads it may
        be caught between two counts: a counter that falls is taken for one that began again at 0.
        """
        found: list[tuple[str, dict[str, int]]] = []
        with self.lock:
            for name, queue in sorted(self._queues.items(), key=lambda item: item[0]):
                try:
                    stats = queue.get_memory_stats()
                    figures = {field.name: getattr(stats, field.name) for field in dataclasses.fields(stats)}
                except Exception:  # noqa: BLE001 - one queue's trouble must not hide the others
                    _log.warning("The queue %r could not tell its figures", name, exc_info=True)
                    continue
                most = self._most.setdefault(queue, {})
                for field, count in figures.items():
                    if field in FIGURES and FIGURES[field].rises:
                        figures[field] = most[field] = max(count, most.get(field, 0))
                found.append((name, {field: figures[field] for field in figures if field in FIGURES}))
        return found


def check_name(name: object) -> None:
    """Raise unless it can be the name of a queue."""
    if not isinstance(name, str):
        raise TypeError(f"name={name!r} is not a str. Give the queue a name that stays the same from run to run.")
    if not name:
        raise ValueError("name='' is empty. Give the queue a name that stays the same from run to run.")
