"""A task that was built past `create_task`."""

import asyncio


async def forever():
    await asyncio.Event().wait()


async def test_builds_its_own():
    asyncio.Task(forever(), name="hand-made")
