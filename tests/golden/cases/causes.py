"""Leaks of three causes in one test: a sleep, a bare future, a spinning task; the second one three times."""

import asyncio


async def ping():
    while True:
        await asyncio.sleep(3600)


async def answer(future):
    return await future


async def spin():
    while True:
        await asyncio.sleep(0)


async def test_three_causes():
    asyncio.create_task(ping())
    loop = asyncio.get_running_loop()
    for _ in range(3):
        asyncio.create_task(answer(loop.create_future()))
    asyncio.create_task(spin())
