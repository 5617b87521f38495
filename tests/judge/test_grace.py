"""Grace: what is about to end comes to its end, and nothing else is waited for."""

import asyncio
import threading

import pytest

from pytest_taskleak.judge import TURNS, settle


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_a_cancelled_task_ends_within_the_turns(loop):
    async def cleans_up():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)

    task = loop.create_task(cleans_up())
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    assert settle(loop, [task], 0)
    assert task.cancelled()


def test_a_task_that_needs_more_turns_than_given_stays_without_a_grace(loop):
    async def turns(number):
        for _ in range(number):
            await asyncio.sleep(0)

    slow, quick = loop.create_task(turns(TURNS + 5)), loop.create_task(turns(2))
    settle(loop, [slow, quick], 0)
    assert quick.done()
    assert not slow.done()


def test_time_ends_as_soon_as_all_suspects_have_ended(loop):
    task = loop.create_task(asyncio.sleep(0.005))
    before = loop.time()
    settle(loop, [task], 3600)
    assert task.done()
    assert loop.time() - before < 3600


def test_turning_makes_no_task(loop):
    made = []
    loop.set_task_factory(lambda loop, coro, **kwargs: made.append(coro) or asyncio.Task(coro, loop=loop, **kwargs))
    pending = asyncio.Task(asyncio.Event().wait(), loop=loop)
    settle(loop, [pending], 0.01)
    assert not made


def test_a_closed_loop_gets_no_chance():
    loop = asyncio.new_event_loop()
    loop.close()
    assert not settle(loop, [], 0)


async def test_inside_a_running_loop_no_other_loop_is_turned(loop):
    task = loop.create_task(asyncio.Event().wait())
    assert not settle(loop, [task], 0)


def test_a_loop_in_another_thread_is_waited_for(loop):
    release = threading.Event()

    async def work():
        await asyncio.to_thread(release.wait, 10)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    started = threading.Event()
    tasks = []

    def start():
        tasks.append(loop.create_task(work()))
        started.set()

    loop.call_soon_threadsafe(start)
    assert started.wait(10)
    release.set()
    assert settle(loop, tasks, 10)
    assert tasks[0].done()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(loop.shutdown_default_executor())


def test_a_loop_whose_clock_stands_still_is_given_its_time_all_the_same(loop):
    """A test's fake clock, which nobody moves any more: a timer would never fire."""
    now = loop.time()
    loop.time = lambda: now
    woken = asyncio.Event()

    async def waits():
        await woken.wait()

    rounds = []

    async def wakes():
        while len(rounds) < 40:
            rounds.append(1)
            await asyncio.sleep(0)
        woken.set()

    ends, never = loop.create_task(waits()), loop.create_task(asyncio.Event().wait())
    busy = loop.create_task(wakes())
    assert settle(loop, [ends, busy, never], 0.1)
    assert ends.done()
    assert busy.done()
    assert not never.done()


def test_a_clock_that_stands_still_does_not_lengthen_the_wait_for_what_has_ended(loop):
    now = loop.time()
    loop.time = lambda: now
    looks = []

    async def ends_later():
        for _ in range(TURNS + 5):
            await asyncio.sleep(0)
        looks.append("ended")

    task = loop.create_task(ends_later())
    assert settle(loop, [task], 3600)
    assert looks == ["ended"]
