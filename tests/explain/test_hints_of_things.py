"""What mends errors that nobody hears, and what is left besides tasks: each cause from a real one."""

import asyncio
import concurrent.futures
import logging.handlers
import os
import queue
import socketserver
import sys
import threading
from pathlib import Path
from unittest import mock

import pytest
from leaking import Cases, found, pair, sleeper, sockets

from pytest_taskleak import assert_no_leaks, explain
from pytest_taskleak.explain.causes import TABLE
from pytest_taskleak.explain.causes.things import ERRORS, THINGS
from pytest_taskleak.explain.causes.workers import WORKERS
from pytest_taskleak.findings import Unawaited
from pytest_taskleak.model import Owner
from pytest_taskleak.places import Places
from pytest_taskleak.watch.calls import capture
from pytest_taskleak.watch.records import origin_of

PLACES = Places(Path(__file__).parents[2])
OWNER = Owner("test", "test_it.py::test_it", "test_it")

CASES = Cases()
leaks, told = CASES.leaks, CASES.told


# -- errors that nobody hears


async def fail():
    raise ValueError("nobody hears")


async def lost(make):
    """A task that failed, as it is told; its exception is retrieved here."""
    async with assert_no_leaks():
        task = make()
        await asyncio.wait([task])
        return explain.describe_lost(task, origin_of(task), task.exception(), PLACES)


@told("destroyed")
async def _():
    async with assert_no_leaks():
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        leak = explain.describe_lost(task, origin_of(task), None, PLACES)
        task.cancel()
        return leak


async def forever():
    await asyncio.Event().wait()


@told("task's exception")
async def _():
    return await lost(lambda: asyncio.create_task(fail()))


@told("exception of a discarded task")
async def _():
    def make():
        asyncio.create_task(fail())
        return next(task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "fail")

    return await lost(make)


@told("future's exception")
async def _():
    return explain.describe_future(ValueError("lost"), OWNER, "call", capture(sys._getframe(), PLACES.own), PLACES)


@told("callback")
async def _():
    try:
        await fail()
    except ValueError as error:
        return explain.describe_callback(error, OWNER, "call", PLACES)


def unawaited(coroutine):
    """A coroutine as it is told that is closed at once instead of being lost."""
    coroutine.close()
    found = Unawaited(coroutine.__qualname__, coroutine.cr_code, (), (), OWNER, "call", old=False)
    return explain.describe_unawaited(found, OWNER, capture(sys._getframe(), PLACES.own), PLACES)


@told("coroutine")
async def _():
    return unawaited(forever())


@told("asyncio's coroutine")
async def _():
    return unawaited(asyncio.sleep(1))


@told("AsyncMock")
async def _():
    return unawaited(mock.AsyncMock()())


# -- things


@leaks("bare future")
async def _(after):
    futures = {}
    after.callback(futures.clear)
    futures[1] = asyncio.get_running_loop().create_future()


@leaks("timer")
async def _(after):
    after.callback(asyncio.get_running_loop().call_later(60, print).cancel)


@leaks("timer that repeats")
async def _(after):
    def tick():
        handles[:] = [asyncio.get_running_loop().call_later(60, tick)]

    handles = []
    tick()
    after.callback(handles[0].cancel)


@leaks("generator")
async def _(after):
    async def numbers():
        yield 1
        yield 2

    one = numbers()
    after.push_async_callback(one.aclose)
    await anext(one)


@leaks("transport")
async def _(after):
    _, writer, _ = await pair(after)
    after.callback(writer.close)


@leaks("transport of a protocol")
async def _(after):
    ours, _ = sockets(after)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    after.callback(transport.close)


@leaks("UDP")
async def _(after):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    after.callback(transport.close)


@leaks("pipe")
async def _(after):
    read, write = os.pipe()
    after.callback(os.close, write)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(asyncio.Protocol, os.fdopen(read, "rb"))
    after.callback(transport.close)


@leaks("server")
async def _(after):
    server = await asyncio.start_server(print, "127.0.0.1", 0)
    after.callback(server.close)


@leaks("server that never started")
async def _(after):
    server = await asyncio.start_server(print, "127.0.0.1", 0, start_serving=False)
    after.callback(server.close)


@leaks("subprocess")
async def _(after):
    await sleeper(after)


@leaks("subprocess of a protocol")
async def _(after):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "60", stdin=None)
    after.push_async_callback(transport._wait)
    after.callback(transport.close)


# -- threads, executors, loops


def run_thread(after, stop, *args, **kwargs):
    """Start a thread that `stop` ends."""
    thread = threading.Thread(*args, **kwargs)
    thread.start()
    after.callback(thread.join)
    after.callback(stop)


@leaks("thread")
async def _(after):
    lock = threading.Lock()
    lock.acquire()
    run_thread(after, lock.release, target=lock.acquire)


@leaks("daemon thread")
async def _(after):
    lock = threading.Lock()
    lock.acquire()
    run_thread(after, lock.release, target=lock.acquire, daemon=True)


@leaks("timer thread")
async def _(after):
    timer = threading.Timer(60, print)
    timer.start()
    after.callback(timer.join)
    after.callback(timer.cancel)


@leaks("thread in a socket server")
async def _(after):
    server = socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler)
    after.callback(server.server_close)
    run_thread(after, server.shutdown, target=server.serve_forever, args=(0.01,))


@leaks("thread of a QueueListener")
async def _(after):
    listener = logging.handlers.QueueListener(queue.Queue())
    listener.start()
    after.callback(listener.stop)


@leaks("thread that takes from a queue")
async def _(after):
    inbox = queue.Queue()
    run_thread(after, lambda: inbox.put(None), target=inbox.get)


@leaks("thread that waits for an event")
async def _(after):
    event = threading.Event()
    run_thread(after, event.set, target=event.wait)


def loop_in_a_thread(after):
    loop = asyncio.new_event_loop()
    after.callback(loop.close)
    run_thread(after, lambda: loop.call_soon_threadsafe(loop.stop), target=loop.run_forever)
    return loop


@leaks("thread of a loop")
async def _(after):
    loop_in_a_thread(after)


@told("running loop")
async def _():
    return explain.describe_running("worker", OWNER, "call", capture(sys._getframe(), PLACES.own), PLACES)


@leaks("executor")
async def _(after):
    pool = concurrent.futures.ThreadPoolExecutor(1)
    after.callback(pool.shutdown)
    pool.submit(int).result()


@told("process pool")
async def _():
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        words = explain.sketch_executor(pool, [], [], [], PLACES)
    return thing("executor", words)


@leaks("busy executor")
async def _(after):
    release = threading.Event()
    after.callback(release.set)
    pool = concurrent.futures.ThreadPoolExecutor(1)
    pool.submit(release.wait, 10)
    pool.shutdown(wait=False)


@leaks("loop")
async def _(after):
    loop = asyncio.new_event_loop()
    after.callback(loop.close)


def thing(kind, words):
    calls = capture(sys._getframe(), PLACES.own)
    return explain.describe_thing(kind, words, OWNER, phase="call", calls=calls, settled="", piled_up=(), places=PLACES)


# -- the table


@pytest.mark.parametrize(("name", "leak", "settings"), CASES.all())
async def test_each_cause_is_told_from_a_real_leak(name, leak, settings, chosen):
    assert TABLE[name].text in await found(leak, settings)
    assert name in chosen


@pytest.mark.parametrize(("name", "leak"), CASES.sketched())
async def test_each_cause_that_no_block_finds_is_told_from_something_real(name, leak, chosen):
    assert (await leak()).hint == TABLE[name].text
    assert chosen == [name]


def test_there_is_a_case_for_every_cause():
    assert CASES.names == ERRORS.keys() | THINGS.keys() | WORKERS.keys()
