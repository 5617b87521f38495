"""The figures that tell a healthy queue from a leaking one."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MemoryStats"]


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """What a queue holds now, and what has become of every message since it was made.

    All fields are counts. The first four are the figures to log and to alert on; two relations always hold:

    - ``pending_promises <= processing <= workers``
    - ``received == completed + failed + cancelled + dropped + expired
      + total_queued + waiting + pending_promises - overdue``
    """

    total_chats: int
    """Chats that have a message queued, waiting for room or being handled; an idle chat costs nothing."""

    total_queued: int
    """Messages accepted whose handling has not begun."""

    processing: int
    """Chats that a worker is busy with."""

    pending_promises: int
    """Handlers that have begun and not ended; more than ``processing`` would be a leak."""

    waiting: int
    """Messages that wait for room under the policy ``wait``; not yet among ``total_queued``."""

    ready: int
    """Chats with queued messages that wait for a worker; if it stays high, there are too few workers."""

    workers: int
    """Live worker tasks: none when there is no work, never more than the queue's ``workers``."""

    overdue: int
    """Handlers that go on although their message is settled by a deadline or the close."""

    received: int
    """Messages taken in since the queue was made; those refused are not among them."""

    completed: int
    """Messages whose handler returned."""

    failed: int
    """Messages whose handler raised."""

    cancelled: int
    """Messages given up by the caller, the handler, the close or the end of the loop."""

    dropped: int
    """Messages dropped to make room for newer ones (policy ``drop_oldest``)."""

    expired: int
    """Messages whose deadline passed before they were handled."""

    rejected: int
    """Messages refused because a bound was reached; they were never received."""
