"""What tests of the distributed queue send, and how they wait for its server."""

from __future__ import annotations

import asyncio

from reference_queue.distributed.engine import partition_of


async def shout(message):
    return message.upper()


def chats_of(partitions):
    """A chat of each partition, in order."""
    found = {}
    number = 0
    while len(found) < partitions:
        found.setdefault(partition_of(f"chat {number}", partitions), f"chat {number}")
        number += 1
    return [found[partition] for partition in range(partitions)]


async def until(condition):
    """Wait for what another process brings about, the server, and what nobody here is told of."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - for that reason
            await asyncio.sleep(0.01)
