"""What a distributed queue asks of a server: one small protocol, and the records that travel through it."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, TypeAlias
from zlib import crc32

__all__ = ["Counts", "Deliver", "Engine", "Envelope", "Settled", "partition_of"]


def partition_of(chat_id: str, partitions: int) -> int:
    """Return the partition of a chat: the same in every process, which `hash` would not be."""
    return crc32(chat_id.encode()) % partitions


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message on its way from a producer to a handler. An engine stores it whole and looks at nothing but the ids."""

    message_id: str
    """Any text but the empty one; what tells a message that is sent again from a new one."""

    chat_id: str

    body: str
    """The message as text."""

    expires: float | None = None
    """Seconds since the epoch after which it is not to be handled any more; None for never."""

    reply: bool = True
    """Whether the sending instance waits for the outcome."""

    trail: tuple[int, ...] = ()
    """The partitions whose handlers wait, or may wait, for the outcome of this message."""

    def to_json(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Envelope:
        """Return the envelope that `to_json` was called on, without what only a newer version would know."""
        found: dict[str, Any] = json.loads(text)
        known = {field.name: found[field.name] for field in fields(cls) if field.name in found}
        known["trail"] = tuple(known.get("trail", ()))
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Counts:
    """What the server holds now, of all instances together."""

    total_queued: int
    """Messages stored whose delivery has not begun, or that wait to be delivered again."""

    processing: int
    """Messages delivered and not settled; there is at most one in a partition."""

    dead: int
    """Messages given up because every delivery of them ended without an outcome, as far as the server keeps them."""


Deliver: TypeAlias = Callable[[int, Envelope, int], Coroutine[Any, Any, str]]
"""Handles one delivery: partition, envelope, attempt (1 the first time). Returns the outcome as JSON text."""

Settled: TypeAlias = Callable[[str, str], None]
"""Told of a message id and its outcome (JSON text); called in the loop, never raises, ignores ids it does not know."""


class Engine(Protocol):
    """A server that keeps messages in partitions, seen from one instance. It belongs to the loop it is opened in.

    What every engine guarantees:

    - Order: the messages of a partition are delivered in the order in which `send` stored them, one at a time over
      all instances. The next one is delivered when the outcome of the one before is stored, not earlier.
    - At least once: what `send` has returned for is delivered, and delivered again when a delivery ended without an
      outcome: its instance died, was stopped for longer than its lease, or gave the delivery back. The message that
      is delivered again comes before all later ones of its partition. Whose outcome is stored is never delivered
      again. An instance that wakes up after its lease was lost may run beside the new delivery until it is
      cancelled, and its outcome is dropped.
    - An end: a message whose deliveries all ended with the death or the silence of an instance is given up after a
      bounded number of them; its outcome is then `reference_queue.distributed.outcome.dead`. Deliveries that were
      given back by `stop` do not count.
    - Outcomes: the outcome of a message with ``reply`` reaches `Settled` of every instance that sent it and did not
      `forget` it, whatever is lost on the way: an engine compares with what the server stores when it cannot be
      sure to have been told. It may be told twice.
    - Reconnecting: after `open`, an engine that loses its server tries again for as long as it is open, without a
      limit; meanwhile `send` and `counts` raise `EngineLost`, and nothing is delivered.
    - No task, thread or connection is left when `aclose` has returned.
    """

    async def open(self, name: str, partitions: int, settled: Settled) -> None:
        """Connect, and store the number of partitions of the queue `name` if none is stored.

        Raises:
            EngineLost: the server cannot be reached; the engine may be opened again.
            PartitionMismatch: another number is stored; nothing was changed.
        """
        ...

    async def send(self, partition: int, envelopes: Sequence[Envelope]) -> None:
        """Store messages, in this order, behind all that were sent to the partition before.

        Returns when the server has them all as durably as it is set up to. A message id that is known is not
        stored again; the outcome it has, or will have, is told to `Settled` all the same. So a send that failed can
        be repeated with the same envelopes. A caller does not send to a partition while another send to it is under
        way.

        Raises:
            EngineLost: the server was not reached, or was lost meanwhile. What was stored then is a beginning of
                `envelopes`: none, some or all, but never one without those before it.
            EngineRefused: the server answered, and takes none of them.
            MessageTooLarge: so it would, because of one of them, and nothing was sent; the others can be sent without.
        """
        ...

    def forget(self, message_id: str) -> None:
        """Let go of a message that nobody here waits for any more; unknown ids are ignored."""
        ...

    async def consume(self, deliver: Deliver, most: int) -> None:
        """Begin to deliver: at most `most` deliveries at the same time in this instance; return at once.

        A delivery is a call of `deliver` in a task of its own. The engine cancels it when its lease is lost or by
        ``stop(cancel=True)``. If `deliver` raises, a cancellation included, the message is not settled and is
        delivered again.
        """
        ...

    async def stop(self, *, cancel: bool = False) -> None:
        """Deliver nothing new and return when the running deliveries have ended and their outcomes are stored.

        With `cancel` the running deliveries are cancelled first. Those that end without an outcome are given back,
        so that another instance gets them without delay. It can be called again, also while another call is under
        way; a call that is cancelled leaves the engine stopping. If the server is lost, outcomes that cannot be
        stored are dropped with `cancel`, and waited for without.
        """
        ...

    async def counts(self) -> Counts:
        """Return what the server holds.

        Raises:
            EngineLost: the server was not reached.
        """
        ...

    async def aclose(self) -> None:
        """Stop with `cancel`, disconnect, and return when nothing is left. It can be called again, and unopened."""
        ...
