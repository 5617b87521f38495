"""What a task waits for, in words: each of asyncio's own waits, and what is no wait."""

import asyncio
import contextlib
import re
import socket
import threading
from pathlib import Path

import pytest

from pytest_taskleak.explain import portrait, wakes_at
from pytest_taskleak.places import Places

PLACES = Places(Path(__file__).parents[2])


@contextlib.asynccontextmanager
async def words(coroutine):
    """The portrait of a task that runs `coroutine`, once it waits."""
    before = asyncio.all_tasks()
    task = asyncio.create_task(coroutine)
    for _ in range(3):
        await asyncio.sleep(0)
    try:
        yield portrait(task, PLACES)[0]
    finally:
        started = asyncio.all_tasks() - before
        for each in started:
            each.cancel()
        await asyncio.wait(started)


async def call(awaitable):
    return await awaitable


async def queue_join():
    queue = asyncio.Queue()
    queue.put_nowait(1)
    await queue.join()


async def queue_put():
    queue = asyncio.Queue(maxsize=1)
    queue.put_nowait(1)
    await queue.put(2)


async def locked():
    lock = asyncio.Lock()
    await lock.acquire()
    async with lock:
        pass


async def no_slot():
    await asyncio.Semaphore(0).acquire()


async def condition():
    condition = asyncio.Condition()
    async with condition:
        await condition.wait()


async def condition_for():
    condition = asyncio.Condition()
    async with condition:
        await condition.wait_for(lambda: False)


async def barrier():
    await asyncio.Barrier(2).wait()


async def never():
    await asyncio.get_running_loop().create_future()


async def gathered():
    await asyncio.gather(never(), never())


async def group():
    async with asyncio.TaskGroup() as group:
        group.create_task(never())


async def waited():
    await asyncio.wait([asyncio.ensure_future(never())])


async def completed():
    for first in asyncio.as_completed([never()]):
        await first


async def closed():
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    with contextlib.closing(theirs), contextlib.closing(writer):
        await writer.wait_closed()


async def drained():
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    with contextlib.closing(theirs):
        writer.write(bytes(10_000_000))
        try:
            await writer.drain()
        finally:
            writer.transport.abort()


async def timed():
    await asyncio.wait_for(asyncio.Event().wait(), 3600)


async def timed_itself():
    async with asyncio.timeout(3600):
        await asyncio.Event().wait()


async def shielded():
    await asyncio.shield(never())


async def another_task():
    await asyncio.create_task(never())


async def spins():
    while True:  # noqa: ASYNC110 - it spins on purpose
        await asyncio.sleep(0)


async def generator():
    await never()
    yield


async def iterates():
    async for _ in generator():
        pass


async def through_a_generator():
    await anext(generator())


@pytest.mark.parametrize(
    ("coroutine", "verdict", "detail"),
    [
        (lambda: asyncio.Queue().get(), "waits on `Queue.get`", "the queue is empty"),
        (queue_put, "waits on `Queue.put`", "the queue is full (1)"),
        (queue_join, "waits on `Queue.join`", "1 items got no `task_done()`"),
        (lambda: asyncio.Event().wait(), "waits on `Event.wait`", "the event is not set"),
        (locked, "waits on `Lock.acquire`", "somebody holds the lock"),
        (no_slot, "waits on `Semaphore.acquire`", "no slot is free"),
        (condition, "waits on `Condition.wait`", "nobody notified it"),
        (condition_for, "waits on `Condition.wait_for`", "nobody notified it"),
        (completed, "waits on `as_completed`", "what it waits for goes on"),
        (closed, "waits on `StreamWriter.wait_closed`", "the connection is open"),
        (drained, "waits on `StreamWriter.drain`", "its buffer is full"),
        (barrier, "waits on `Barrier.wait`", "others are missing"),
        (lambda: asyncio.sleep(3600), "sleeps until +3600 s", ""),
        (lambda: asyncio.sleep(8.04), "sleeps until +8.0 s", ""),
        (spins, "spins", "it is ready at every turn of the loop"),
        (gathered, "waits on `gather`", "2 of 2 go on"),
        (group, "waits on `TaskGroup`", "its tasks go on"),
        (waited, "waits on `asyncio.wait`", "what it waits for goes on"),
        (timed_itself, "waits on `Event.wait`", "the event is not set"),
        (shielded, "waits on `shield`", "what it shields goes on"),
        (another_task, "waits for the task `never`", ""),
        (never, "waits for a future", "that nobody has settled"),
        (iterates, "waits for a future", "that nobody has settled"),
        (through_a_generator, "waits for a future", "that nobody has settled"),
    ],
)
async def test_each_wait_has_its_words(coroutine, verdict, detail):
    async with words(call(coroutine())) as now:
        assert (now.wait.verdict, now.wait.detail) == (verdict, detail)


async def test_a_sleep_of_milliseconds_is_not_told_as_none():
    async with words(call(asyncio.sleep(0.04))) as now:
        assert re.fullmatch(r"sleeps until \+0\.0[0-4]\d s", now.wait.verdict)


async def test_a_sleep_whose_time_is_up_is_told_as_over(monkeypatch):
    monkeypatch.setattr(asyncio.TimerHandle, "when", lambda _handle: 0.0)
    async with words(call(asyncio.sleep(3600))) as now:
        assert (now.wait.verdict, now.wait.detail) == ("has slept", "its loop has not turned since")


async def test_a_timeout_around_a_wait_does_not_hide_it():
    async with words(timed()) as now:
        assert now.wait.verdict in ("waits on `Event.wait`", "waits for a future")


async def test_a_reader_names_its_file_descriptor():
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    async with words(reader.readline()) as now:
        assert now.wait.verdict == f"waits for fd {ours.fileno()}"
    writer.close()
    await writer.wait_closed()
    theirs.close()


async def test_a_socket_names_its_file_descriptor():
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    async with words(asyncio.get_running_loop().sock_recv(ours, 1)) as now:
        assert now.wait.verdict == f"waits for fd {ours.fileno()}"
    ours.close()
    theirs.close()


async def test_a_threads_result_is_told_from_a_future():
    release = threading.Event()
    async with words(asyncio.to_thread(release.wait, 10)) as now:
        assert now.wait.verdict == "waits for a thread"
        release.set()


async def test_a_task_that_was_cancelled_and_not_yet_run_is_told():
    task = asyncio.create_task(never())
    task.cancel()
    assert portrait(task, PLACES)[0].wait.verdict in ("cancelled, not yet finished", "ready to run")
    await asyncio.wait([task])


async def test_every_frame_is_a_place_outermost_first_and_only_ones_own_are_own():
    async with words(call(asyncio.Event().wait())) as now:
        assert [place.function for place in now.stands] == ["call", "Event.wait"]
        assert [place.own for place in now.stands] == [True, False]
        assert now.stands[0].module == "tests/explain/test_waits.py"
        assert now.stands[1].module == "asyncio/locks.py"


async def test_frames_are_followed_through_async_generators():
    async with words(iterates()) as now:
        assert [place.function for place in now.stands] == ["iterates", "generator", "never"]


async def test_the_tasks_that_a_task_waits_for_are_known():
    children = [asyncio.create_task(never()) for _ in range(2)]
    async with words(call(asyncio.gather(*children))) as now:
        assert {id(child) for child in children} <= now.on
    async with words(call(asyncio.shield(shielded_child := asyncio.create_task(never())))) as now:
        assert id(shielded_child) in now.on
    shielded_child.cancel()
    await asyncio.wait([shielded_child, *children])


@pytest.mark.parametrize(
    ("coroutine", "wakes"),
    [
        (lambda: asyncio.sleep(50), True),
        (lambda: call(asyncio.sleep(50)), True),
        (lambda: asyncio.Event().wait(), False),
        (lambda: asyncio.wait_for(asyncio.Event().wait(), 50), False),
    ],
    ids=["a sleep", "a sleep inside", "no sleep", "a timeout"],
)
async def test_when_a_sleep_ends_is_told_by_the_clock_of_its_loop(coroutine, wakes):
    loop = asyncio.get_running_loop()
    before = loop.time()
    task = asyncio.create_task(coroutine())
    await asyncio.sleep(0)
    assert wakes_at(task) == (pytest.approx(before + 50, abs=10) if wakes else 0.0)
    task.cancel()
    await asyncio.wait([task])
