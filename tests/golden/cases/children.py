"""A task that gathers two more: they are shown under it."""

import asyncio


async def forever(event):
    await event.wait()


async def both():
    event = asyncio.Event()
    await asyncio.gather(forever(event), forever(event))


async def test_gathers():
    asyncio.create_task(both(), name="root")
    await asyncio.sleep(0)
