"""A loop that still runs in its thread, and a task in another such loop."""

import asyncio
import threading


def start_loop(name):
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=name, daemon=True).start()
    return loop


started = threading.Event()


async def forever():
    started.set()
    await asyncio.Event().wait()


def test_leaves_a_loop():
    loop = start_loop("idle loop")
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()


def test_leaves_a_task_in_a_loop():
    loop = start_loop("busy loop")
    asyncio.run_coroutine_threadsafe(forever(), loop)
    assert started.wait(10)
