"""A task that was started by a task that was started by the test."""

import asyncio


async def inner():
    await asyncio.Event().wait()


async def middle():
    asyncio.create_task(inner(), name="inner")


async def outer():
    await asyncio.create_task(middle(), name="middle")


async def test_chain():
    await asyncio.create_task(outer(), name="outer")
