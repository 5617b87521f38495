"""A callback that raises: the loop has nobody to raise it to."""

import asyncio


def explode(number):
    raise ValueError(f"nobody hears of {number}")


async def test_schedules_it():
    asyncio.get_running_loop().call_soon(explode, 7)
    await asyncio.sleep(0)
