"""What keeps the loop from turning: a task's step, several times, and a callback; a fixture's setup."""

import asyncio
import threading
import time

import pytest

pytestmark = pytest.mark.taskleak(blocked=0.05)

lock = threading.Lock()


def refresh():
    with lock:
        pass


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
    lock.acquire()
    threading.Timer(0.3, lock.release).start()
    asyncio.get_running_loop().call_soon(refresh)
    await asyncio.sleep(0)


async def test_uses_a_cache(warm_cache):
    await asyncio.sleep(0)
