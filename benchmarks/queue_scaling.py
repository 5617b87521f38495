"""What a message costs the queue as chats, or the messages of each, become more: it must not depend on them.

One of the two changes at a time: a chat has to be made for its first message and to be forgotten after its last, so a
message of a chat that has a hundred costs less than one that is alone, and the last rows say by how much.

Processor time for each message of a burst, medians of runs in turns, the collector off: what it does depends on how
much is alive, which is the sender's million futures. Where caches end, every design pays: the same loads with one
`asyncio.Queue` show how much of it is the machine's.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
from typing import TYPE_CHECKING, Any

import queue_throughput
from table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    Load = tuple[int, int]
    """Chats, and messages of each."""

BY_CHATS: tuple[Load, ...] = ((1_000, 1), (10_000, 1), (100_000, 1), (1_000_000, 1))
BY_MESSAGES: tuple[Load, ...] = ((1_000, 10), (1_000, 100), (1_000, 1_000))
"""The first of each is what the others are compared with."""

ROUNDS = 3
AT_LEAST = 100_000
"""Messages in a measurement: smaller loads are repeated."""


def cost(design: Any, chats: int, messages: int) -> float:
    """Return the seconds that a message takes."""
    times = max(1, AT_LEAST // (chats * messages))
    return statistics.fmean(1 / asyncio.run(queue_throughput.burst(design, chats, messages)) for _ in range(times))


def rows() -> Iterator[Row]:
    """Two rows for each load: the queue's, and one `asyncio.Queue`'s."""
    designs = (queue_throughput.message_queue, queue_throughput.one_asyncio_queue)
    costs: dict[tuple[object, Load], list[float]] = {}
    gc.disable()
    try:
        for _ in range(ROUNDS):
            for load in (*BY_CHATS, *BY_MESSAGES):
                for design in designs:
                    costs.setdefault((design, load), []).append(cost(design, *load))
                    gc.collect()
    finally:
        gc.enable()
    medians = {key: statistics.median(values) for key, values in costs.items()}

    def row(design: Any, load: Load, first: Load, limit: float | None) -> Row:
        ratio = medians[design, load] / medians[design, first]
        return Row(f"{design.__name__}: {_name(load)}", _name(first), ratio, limit=limit)

    for design, limit in zip(designs, (1.2, None), strict=True):
        for first, *rest in (BY_CHATS, BY_MESSAGES):
            yield from (row(design, load, first, limit) for load in rest)
        yield row(design, BY_CHATS[0], BY_MESSAGES[1], None)


def _name(load: Load) -> str:
    chats, messages = load
    return f"{chats:,} chats × {messages:,}"
