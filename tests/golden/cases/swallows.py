"""A task that takes its time after it was cancelled."""

import asyncio


async def stubborn():
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        await asyncio.sleep(3)


async def test_stubborn():
    asyncio.create_task(stubborn())
    await asyncio.sleep(0)
