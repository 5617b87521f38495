"""What the queue keeps when a million chats have fallen silent, and how many tasks it has while they talk."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import TYPE_CHECKING

from table import Row

from reference_queue import MessageQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

CHATS = 1_000_000
AT_A_TIME = 1_000
WORKERS = 64
MB = 1_000_000


async def _handle(message: int) -> int:
    await asyncio.sleep(0)  # so that workers are busy side by side
    return message


async def _measure() -> tuple[float, int]:
    """The bytes that are kept more after all chats than before, and the most tasks there were beside this one."""
    most = 0
    async with MessageQueue(_handle, workers=WORKERS) as queue:
        await queue.enqueue("warm-up", 0)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for first in range(0, CHATS, AT_A_TIME):
            futures = [queue.enqueue(str(chat), chat) for chat in range(first, first + AT_A_TIME)]
            for number, future in enumerate(futures):
                await future
                if first == 0 and number % 10 == 0:
                    most = max(most, len(asyncio.all_tasks()) - 1)
            del futures, future
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    return kept, most


def rows() -> Iterator[Row]:
    """Two rows."""
    kept, most = asyncio.run(_measure())
    yield Row(f"kept after {CHATS:,} chats", "before them", kept / MB, "MB", limit=2, digits=3)
    yield Row(f"tasks at peak, {WORKERS} workers", "", most, "", limit=WORKERS + 1, digits=0)
