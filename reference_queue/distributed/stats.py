"""The figures of one instance of a distributed queue."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["InstanceStats"]


@dataclass(frozen=True, slots=True)
class InstanceStats:
    """What one instance holds now, and what has become of every message it sent or handled.

    All fields are counts of this instance alone; `DistributedQueue.get_server_stats` has those of all instances. The
    first four are the figures to log and to alert on. These relations hold whenever the queue's own thread asks;
    another one may catch it between two counts:

    - ``pending_promises <= processing <= workers``
    - ``total_queued <= sent``
    - ``handled == completed + failed + cancelled + expired + given_back + pending_promises``
    """

    total_chats: int
    """Chats of which this instance has a message on its way, waits for an outcome or runs a handler."""

    total_queued: int
    """Messages taken in here that are not stored on the server yet; it grows only while the server is lost."""

    processing: int
    """Deliveries that this instance is busy with."""

    pending_promises: int
    """Handlers that have begun here and not ended; more than ``processing`` would be a leak."""

    waiting: int
    """Messages sent from here whose outcome somebody here waits for."""

    workers: int
    """The most handlers that this instance runs at the same time; 0 for a producer only."""

    sent: int
    """Messages taken in here since the queue was opened."""

    handled: int = 0
    """Deliveries to this instance; a message that is delivered again counts again."""

    redelivered: int = 0
    """Deliveries to this instance that were not the first of their message."""

    completed: int = 0
    """Deliveries whose handler returned."""

    failed: int = 0
    """Deliveries whose handler raised, or whose message could not be read."""

    cancelled: int = 0
    """Deliveries whose handler cancelled itself."""

    expired: int = 0
    """Deliveries that came, or were still with their handler, when the deadline of the message was over."""

    given_back: int = 0
    """Deliveries that ended without an outcome here, by the close or the loss of the lease; they are made again."""
