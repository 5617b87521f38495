"""A task whose exception nobody retrieves."""

import asyncio


async def explode():
    raise ValueError("nobody hears this")


async def test_starts_and_forgets():
    asyncio.create_task(explode())
    await asyncio.sleep(0)
