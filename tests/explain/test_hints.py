"""What mends a leak: each cause of the table, by a real leak of that cause."""

import asyncio
import contextlib
import socket
import sys
import threading
import typing
from pathlib import Path

import pytest
from leaking import Cases, found, pair, sleeper, sockets, start, turns, until

from pytest_taskleak import explain
from pytest_taskleak.explain import hints
from pytest_taskleak.explain.causes import TABLE
from pytest_taskleak.explain.causes.tasks import TASKS
from pytest_taskleak.model import Kind, Owner
from pytest_taskleak.places import Places
from pytest_taskleak.watch.calls import capture
from pytest_taskleak.watch.records import origin_of

PLACES = Places(Path(__file__).parents[2])
OWNER = Owner("test", "test_it.py::test_it", "test_it")

CASES = Cases()
leaks, waits, told = CASES.leaks, CASES.waits, CASES.told

# -- what a task waits for


@waits("task")
async def _(_after):
    await asyncio.create_task(asyncio.sleep(3600))


@waits("future")
async def _(after):
    future = asyncio.get_running_loop().create_future()
    after.callback(future.cancel)
    await future


@waits("sleep")
async def _(_after):
    await asyncio.sleep(3600)


@waits("spins")
async def _(_after):
    while True:  # noqa: ASYNC110 - it spins on purpose
        await asyncio.sleep(0)


@waits("Queue.get")
async def _(after):
    inbox = asyncio.Queue()
    after.callback(inbox.put_nowait, 1)
    await inbox.get()


@waits("Queue.put")
async def _(after):
    inbox = asyncio.Queue(1)
    after.callback(inbox.get_nowait)
    await inbox.put(1)
    await inbox.put(2)


@waits("Queue.put, for ever")
async def _(_after):
    inbox = asyncio.Queue(1)
    await inbox.put(1)
    await inbox.put(2)


@waits("Queue.join")
async def _(after):
    inbox = asyncio.Queue()
    inbox.put_nowait(1)
    after.callback(inbox.task_done)
    await inbox.join()


@waits("Queue.join, for ever")
async def _(_after):
    inbox = asyncio.Queue()
    inbox.put_nowait(1)
    await inbox.join()


@waits("Event.wait")
async def _(after):
    event = asyncio.Event()
    after.callback(event.set)
    await event.wait()


@waits("Event.wait, for ever")
async def _(_after):
    await asyncio.Event().wait()


@waits("Lock.acquire")
async def _(after):
    lock = asyncio.Lock()
    after.callback(lock.release)
    await lock.acquire()
    await lock.acquire()


@waits("Lock.acquire, for ever")
async def _(_after):
    lock = asyncio.Lock()
    await lock.acquire()
    async with lock:
        pass


@waits("Semaphore.acquire")
async def _(after):
    slots = asyncio.BoundedSemaphore(1)
    after.callback(slots.release)
    await slots.acquire()
    await slots.acquire()


@waits("Semaphore.acquire, for ever")
async def _(_after):
    await asyncio.Semaphore(0).acquire()


@waits("Condition.wait")
async def _(after):
    condition = asyncio.Condition()
    after.callback(lambda: condition)
    async with condition:
        await condition.wait()


@waits("Condition.wait_for")
async def _(after):
    condition = asyncio.Condition()
    after.callback(lambda: condition)
    async with condition:
        await condition.wait_for(lambda: False)


@waits("Condition, for ever")
async def _(_after):
    condition = asyncio.Condition()
    async with condition:
        await condition.wait_for(lambda: False)


@waits("Barrier.wait")
async def _(after):
    barrier = asyncio.Barrier(2)
    after.push_async_callback(barrier.abort)
    await barrier.wait()


@waits("Barrier.wait, for ever")
async def _(_after):
    await asyncio.Barrier(2).wait()


@waits("asyncio.wait")
async def _(_after):
    await asyncio.wait([asyncio.create_task(asyncio.sleep(3600))])


@waits("as_completed")
async def _(_after):
    for first in asyncio.as_completed([asyncio.create_task(asyncio.sleep(3600))]):
        await first


@waits("TaskGroup")
async def _(_after):
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(3600))


@waits("gather")
async def _(_after):
    await asyncio.gather(asyncio.create_task(asyncio.sleep(3600)))


@waits("shield")
async def _(_after):
    await asyncio.shield(asyncio.create_task(asyncio.sleep(3600)))


@waits("thread's result")
async def _(after):
    release = threading.Event()
    after.callback(release.set)
    await asyncio.to_thread(release.wait, 10)


@leaks("shutdown_default_executor", cancel=False)
async def _(after):
    # It cannot be cancelled: it would wait for its thread in the way that blocks the loop.
    release = threading.Event()
    loop = asyncio.get_running_loop()
    loop.run_in_executor(None, release.wait, 10)
    task = asyncio.create_task(loop.shutdown_default_executor())
    await turns()
    after.push_async_callback(asyncio.wait, [task])
    after.callback(release.set)


# -- streams, sockets, servers, subprocesses


@waits("stream")
async def _(after):
    reader, _, _ = await pair(after)
    await reader.readuntil(b"!")


@waits("drain")
async def _(after):
    _, writer, _ = await pair(after)
    after.callback(writer.transport.abort)
    writer.write(bytes(10_000_000))
    await writer.drain()


@waits("StreamWriter.wait_closed")
async def _(after):
    _, writer, _ = await pair(after)
    await writer.wait_closed()


@waits("sock_accept")
async def _(after):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)  # noqa: FBT003 - as its documentation writes it
    after.callback(listener.close)
    await asyncio.get_running_loop().sock_accept(listener)


@waits("sock_recv")
async def _(after):
    ours, _ = sockets(after)
    await asyncio.get_running_loop().sock_recv(ours, 1)


@waits("sock_sendall")
async def _(after):
    ours, _ = sockets(after)
    await asyncio.get_running_loop().sock_sendall(ours, bytes(10_000_000))


@waits("connect")
async def _(after):
    # A listener whose queue is full answers nobody.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    after.callback(listener.close)
    for _ in range(2):
        waiting, _ = socket.socket(), listener.getsockname()
        waiting.setblocking(False)  # noqa: FBT003 - as its documentation writes it
        waiting.connect_ex(listener.getsockname())
        after.callback(waiting.close)
    await asyncio.open_connection(*listener.getsockname())


@waits("Server.serve_forever")
async def _(_after):
    async with await asyncio.start_server(print, "127.0.0.1", 0) as server:
        await server.serve_forever()


@waits(
    "Server.wait_closed",
    unless="" if sys.version_info >= (3, 12, 1) else "`wait_closed` waits for connections since 3.12.1",
)
async def _(after):
    accepted = []
    server = await asyncio.start_server(lambda _reader, writer: accepted.append(writer), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    after.callback(writer.close)
    await until(lambda: accepted)
    after.callback(accepted[0].close)
    server.close()
    await server.wait_closed()


@leaks("Process.wait")
async def _(after):
    start((await sleeper(after)).wait())
    await asyncio.sleep(0)


@leaks("Process.communicate")
async def _(after):
    start((await sleeper(after)).communicate())
    await asyncio.sleep(0)


# -- which call made it


@leaks("made by gather")
async def _(_after):
    asyncio.gather(asyncio.sleep(3600))


@leaks("made by shield")
async def _(_after):
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asyncio.sleep(3600)), 0.001)


@leaks("made by as_completed")
async def _(_after):
    for first in asyncio.as_completed([asyncio.sleep(3600), asyncio.sleep(0)]):
        await first
        break


@leaks("made by TaskGroup")
async def _(_after):
    group = await asyncio.TaskGroup().__aenter__()
    group.create_task(asyncio.sleep(3600))


@leaks("made by run_coroutine_threadsafe")
async def _(_after):
    asyncio.run_coroutine_threadsafe(asyncio.sleep(3600), asyncio.get_running_loop())
    await asyncio.sleep(0)


@leaks("made for a connection")
async def _(after):
    async def handle(reader, writer):
        accepted.append(writer)
        await reader.read()

    accepted = []

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    after.callback(server.close)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    after.callback(writer.close)
    await until(lambda: accepted)
    after.callback(accepted[0].close)


@leaks("discarded")
async def _(_after):
    inner = asyncio.create_task(asyncio.sleep(3600))

    async def outer():
        await inner

    asyncio.create_task(outer())
    await asyncio.sleep(0)


# -- what became of it


@told("swallows")
async def _():
    async def swallow():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    return await describe(swallow(), swallows=True)


@leaks("cancelled", strict=True)
async def _(_after):
    asyncio.create_task(asyncio.sleep(3600)).cancel()


async def describe(coroutine, **found):
    """A task as it is told, cancelled for good afterwards."""
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    words = explain.portrait(task, PLACES)[0]
    leak = explain.describe(task, origin_of(task), OWNER, words, explain.Found(**found), PLACES)
    task.cancel()
    await asyncio.wait([task])
    return leak


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
    assert CASES.names == TASKS.keys()


def test_there_are_more_than_a_hundred_causes():
    assert len(TABLE) > 100


def test_the_most_specific_cause_counts():
    """What became of it, then a library, then asyncio's call that made it, then what it waits for, then what it is."""
    here = PLACES.place(capture(sys._getframe(), PLACES.own)[0])
    gather = here._replace(path="/lib/asyncio/tasks.py", function="gather", own=False, module="asyncio/tasks.py")
    retry = here._replace(path="/venv/site-packages/t.py", function="AsyncRetrying.__call__", own=False)
    waits, created = (here, retry._replace(module="tenacity/asyncio.py")), (gather, here)
    every = {"on": "Event.wait", "never": True, "state": "swallows", "waits": waits, "created": created}
    told = [hints.cause("pending", **every)]
    for fact in ("state", "waits", "created", "never", "on"):
        del every[fact]
        told.append(hints.cause("pending", **every))
    assert told == ["swallows", "tenacity", "made by gather", "Event.wait, for ever", "Event.wait", "task"]


def test_of_asyncios_functions_the_one_that_was_called_counts():
    """`gather` makes tasks by `ensure_future`, and a library's `gather` is another."""
    here = PLACES.place(capture(sys._getframe(), PLACES.own)[0])
    made = here._replace(function="gather", own=False, module="asyncio/tasks.py")
    inner, other = made._replace(function="ensure_future"), made._replace(module="library/gather.py")
    assert hints.cause("pending", "sleep", created=(inner, made, here)) == "made by gather"
    assert hints.cause("pending", "sleep", created=(made, inner, here)) == "sleep"
    assert hints.cause("pending", "sleep", created=(other, here)) == "sleep"


@pytest.mark.parametrize(
    ("line", "is_discarded"),
    [
        ("asyncio.create_task(run())", True),
        ("asyncio.ensure_future(run())", True),
        ("loop.create_task(run(), name='it')", True),
        ("task = asyncio.create_task(run())", False),
        ("tasks.append(asyncio.create_task(run()))", False),
        ("await asyncio.create_task(run())", False),
        ("asyncio.create_task(run()).add_done_callback(print)", False),
    ],
)
def test_a_task_is_discarded_where_its_line_does_nothing_with_it(line, is_discarded, tmp_path):
    path = tmp_path / "it.py"
    path.write_text(f"async def it():\n    {line}\n", encoding="utf-8")
    here = PLACES.line(str(path), 2)._replace(column=line.index(line.rpartition("asyncio")[1] or "loop") + 4, own=True)
    assert (hints.cause("pending", "task", created=(here,)) == "discarded") is is_discarded


@pytest.mark.parametrize("kind", sorted({*typing.get_args(Kind)} - {"growth"}))
def test_every_kind_has_a_sentence_whatever_else_is_known(kind):
    name = hints.cause(kind, "what nobody knows")
    assert TABLE[name].kinds == (kind,)


@pytest.mark.parametrize("name", TABLE)
def test_each_sentence_says_what_to_change_in_a_few_words(name):
    text = TABLE[name].text
    assert len(text) <= 160
    assert text.endswith(".")
    assert text[0].isupper() or text[0] == "`"
    assert "maybe" not in text
