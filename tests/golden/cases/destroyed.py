"""A task that is collected as garbage before it is done."""

import asyncio
import gc


async def wait_for_nobody():
    await asyncio.get_running_loop().create_future()


async def test_drops_its_task():
    asyncio.create_task(wait_for_nobody())
    await asyncio.sleep(0)
    gc.collect()
