"""What keeps the loop from turning: a task's step, several times, and a callback; a fixture's setup."""

import asyncio
import subprocess
import threading
import time

import pytest

pytestmark = pytest.mark.taskleak(blocked=0.05)


def refresh():
    subprocess.run(["sleep", "0.3"])


async def fetch(pages):
    for _ in range(pages):
        time.sleep(0.3)
        await asyncio.sleep(0)


@pytest.fixture
async def warm_cache():
    threading.Event().wait(0.3)
    yield


async def test_fetches():
    await asyncio.create_task(fetch(pages=3), name="fetcher")


async def test_refreshes():
    asyncio.get_running_loop().call_soon(refresh)
    await asyncio.sleep(0)


async def test_uses_a_cache(warm_cache):
    await asyncio.sleep(0)
