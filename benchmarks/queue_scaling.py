"""What a message costs the queue as chats and messages become more: it must not depend on them.

Processor time for each message of a burst, medians of runs in turns, the collector off: what it does depends on how
much is alive, which is the sender's million futures. Where caches end, every design pays: the same loads with one
`asyncio.Queue` show how much of it is the machine's.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
from typing import TYPE_CHECKING

import queue_throughput
from table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

LOADS = ((1_000, 100), (10_000, 10), (100_000, 1), (1_000, 1_000), (1_000_000, 1))
"""Chats, and messages of each: the first is what the others are compared with."""

ROUNDS = 3


def rows() -> Iterator[Row]:
    """Two rows for each load: the queue's, and one `asyncio.Queue`'s."""
    designs = (queue_throughput.message_queue, queue_throughput.one_asyncio_queue)
    costs: dict[tuple[object, tuple[int, int]], list[float]] = {}
    gc.disable()
    try:
        for _ in range(ROUNDS):
            for load in LOADS:
                for design in designs:
                    rate = asyncio.run(queue_throughput.burst(design, *load))
                    costs.setdefault((design, load), []).append(1 / rate)
                    gc.collect()
    finally:
        gc.enable()
    medians = {key: statistics.median(values) for key, values in costs.items()}
    first, *rest = LOADS
    for design, limit in zip(designs, (1.2, None), strict=True):
        for chats, messages in rest:
            ratio = medians[design, (chats, messages)] / medians[design, first]
            what = f"{design.__name__}: {chats:,} chats × {messages:,}"
            yield Row(what, f"{first[0]:,} × {first[1]:,}", ratio, limit=limit)
