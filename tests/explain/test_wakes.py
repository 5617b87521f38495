"""Which tasks nothing can wake any more. A case names each of its tasks by what must be said of it.

The rules were made by the first set; the second was written before them and stays as it is.
"""

import asyncio
import asyncio.subprocess
import contextlib
import contextvars
import functools
import gc
import signal
import socket
import sys
import threading
import types
import weakref

import aiohttp
import anyio
import pytest

from pytest_taskleak.explain import outlooks

NEVER, MAY = "never wakes", "may wake"
TUNED, HELD_OUT = [], []
KEPT = {}
"""A module's global, that anybody may come by."""
VARIABLE = contextvars.ContextVar("VARIABLE")


def tuned(case):
    TUNED.append(case)
    return case


def held_out(case):
    HELD_OUT.append(case)
    return case


def start(coroutine, expected):
    """Start a task that nobody keeps."""
    asyncio.create_task(coroutine, name=expected)


async def call(awaitable):
    return await awaitable


async def inside(manager, *before):
    """Enter what cannot be entered."""
    for each in before:
        await each
    async with manager:
        pass


class Bot:
    def __init__(self):
        self.stop = asyncio.Event()
        self.queue = asyncio.Queue()

    async def wait(self):
        await self.stop.wait()

    async def consume(self):
        while True:
            await self.queue.get()


def examine(case, budget=30.0, make=asyncio.new_event_loop):
    """Run a case in a loop of its own and say what is found of each task that is left: expected, and told."""
    loop = make()
    ends = contextlib.ExitStack()
    with ends:
        ends.callback(loop.close)
        ends.callback(end, loop)
        loop.run_until_complete(case(ends))
        for _ in range(5):
            loop.run_until_complete(asyncio.sleep(0))
        told = outlooks(list(asyncio.all_tasks(loop)), budget)
        found = sorted((task.get_name(), told[id(task)].prospect) for task in asyncio.all_tasks(loop))
    return [it for it in found if it[0] in (NEVER, MAY)]


def end(loop):
    """Cancel what is left, and give processes and connections their end."""
    tasks = asyncio.all_tasks(loop)
    for each in tasks:
        each.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True) if tasks else asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())


# -- the tuned set


@tuned
async def an_event_that_nobody_keeps(ends):
    start(asyncio.Event().wait(), NEVER)


@tuned
async def an_event_of_a_bot_that_nobody_keeps(ends):
    start(Bot().wait(), NEVER)


@tuned
async def an_event_of_a_bot_in_a_module(ends):
    KEPT["bot"] = bot = Bot()
    start(bot.wait(), MAY)


@tuned
async def an_event_of_a_bot_in_a_running_frame(ends):
    bot = Bot()
    ends.callback(bot.stop.set)
    start(bot.wait(), MAY)


@tuned
async def a_queue_that_nobody_keeps(ends):
    bot = Bot()
    for _ in range(3):
        start(bot.consume(), NEVER)


@tuned
async def a_queue_whose_producer_sleeps(ends):
    async def produce(queue):
        await asyncio.sleep(1000)
        await queue.put(1)

    bot = Bot()
    start(bot.consume(), MAY)
    start(produce(bot.queue), MAY)


@tuned
async def a_queue_whose_producer_never_wakes(ends):
    async def produce(queue):
        await asyncio.Event().wait()
        await queue.put(1)

    bot = Bot()
    start(bot.consume(), NEVER)
    start(produce(bot.queue), NEVER)


@tuned
async def two_locks_taken_crosswise(ends):
    async def take(first, second):
        async with first:
            await asyncio.sleep(0)
            async with second:
                pass

    one, other = asyncio.Lock(), asyncio.Lock()
    start(take(one, other), NEVER)
    start(take(other, one), NEVER)


@tuned
async def a_lock_held_by_a_sleeper(ends):
    async def hold(lock):
        async with lock:
            await asyncio.sleep(1000)

    lock = asyncio.Lock()
    start(hold(lock), MAY)
    start(inside(lock), MAY)


@tuned
async def a_condition_that_nobody_notifies(ends):
    async def wait(condition):
        async with condition:
            await condition.wait()

    start(wait(asyncio.Condition()), NEVER)


@tuned
async def a_barrier_where_one_is_missing(ends):
    barrier = asyncio.Barrier(3)
    start(call(barrier.wait()), NEVER)
    start(call(barrier.wait()), NEVER)


@tuned
async def a_semaphore_without_slots(ends):
    start(asyncio.Semaphore(0).acquire(), NEVER)


@tuned
async def a_sleep(ends):
    start(asyncio.sleep(1000), MAY)


@tuned
async def a_timeout_around_an_event(ends):
    async def timed():
        async with asyncio.timeout(1000):
            await asyncio.Event().wait()

    start(timed(), MAY)


@tuned
async def a_wait_for_around_an_event(ends):
    start(asyncio.wait_for(asyncio.Event().wait(), 1000), MAY)


@tuned
async def a_shield_around_what_never_wakes(ends):
    inner = asyncio.create_task(asyncio.Event().wait(), name=NEVER)
    start(call(asyncio.shield(inner)), NEVER)


@tuned
async def a_gather_of_what_never_wakes(ends):
    async def gathers():
        await asyncio.gather(asyncio.Event().wait(), asyncio.Event().wait())

    start(gathers(), NEVER)


@tuned
async def a_gather_with_a_sleep(ends):
    async def gathers():
        await asyncio.gather(asyncio.Event().wait(), asyncio.sleep(1000))

    start(gathers(), MAY)


@tuned
async def a_task_group_of_what_never_wakes(ends):
    async def groups():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait(), name=NEVER)

    start(groups(), NEVER)


@tuned
async def tasks_that_wait_for_each_other(ends):
    async def wait(others, index):
        await asyncio.sleep(0)
        await asyncio.wait([others[index]])

    tasks = []
    tasks += [asyncio.create_task(wait(tasks, 1), name=NEVER), asyncio.create_task(wait(tasks, 0), name=NEVER)]


@tuned
async def a_stream_on_a_socket(ends):
    ours, theirs = socket.socketpair()
    ends.callback(theirs.close)
    reader, writer = await asyncio.open_connection(sock=ours)
    ends.callback(writer.close)
    start(reader.readline(), MAY)


@tuned
async def a_thread_of_the_executor(ends):
    go = threading.Event()
    ends.callback(go.set)
    start(call(asyncio.get_running_loop().run_in_executor(None, go.wait, 10)), MAY)


@tuned
async def a_thread_that_holds_the_future(ends):
    go, future = threading.Event(), asyncio.get_running_loop().create_future()

    def work(loop, future):
        go.wait(10)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(future.cancel)

    thread = threading.Thread(target=work, args=(asyncio.get_running_loop(), future))
    thread.start()
    ends.callback(thread.join)
    ends.callback(go.set)
    start(call(future), MAY)


@tuned
async def a_subprocess(ends):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import sys; sys.stdin.read()", stdin=asyncio.subprocess.PIPE
    )
    loop = asyncio.get_running_loop()
    ends.callback(lambda: loop.run_until_complete(process.communicate(b"")))
    start(process.wait(), MAY)


@tuned
async def a_future_in_a_module(ends):
    KEPT["future"] = future = asyncio.get_running_loop().create_future()
    start(call(future), MAY)


@tuned
async def a_future_in_a_closure_of_a_live_timer(ends):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(1000, lambda: future.set_result(None))
    start(call(future), MAY)


@tuned
async def an_async_generator_that_never_yields(ends):
    async def numbers():
        await asyncio.Event().wait()
        yield 1

    async def iterates():
        async for _ in numbers():
            pass

    start(iterates(), NEVER)


@tuned
async def an_event_that_a_weak_reference_in_a_module_finds(ends):
    bot = Bot()
    KEPT["weak"] = weakref.ref(bot)
    start(bot.wait(), MAY)


# -- the held-out set


@held_out
async def a_full_queue_that_nobody_reads(ends):
    queue = asyncio.Queue(1)
    queue.put_nowait(1)
    start(queue.put(2), NEVER)


@held_out
async def a_queue_joined_by_its_only_owner(ends):
    queue = asyncio.Queue()
    queue.put_nowait(1)
    start(queue.join(), NEVER)


@held_out
async def a_priority_queue_in_a_dict_of_a_dead_object(ends):
    registry = {"queues": [asyncio.PriorityQueue()]}

    async def take():
        await registry["queues"][0].get()

    start(take(), NEVER)


@held_out
async def a_bare_future(ends):
    start(call(asyncio.get_running_loop().create_future()), NEVER)


@held_out
async def a_future_in_an_attribute_of_the_loop(ends):
    loop = asyncio.get_running_loop()
    loop.of_user = [loop.create_future()]
    start(call(loop.of_user[0]), MAY)


@held_out
async def an_event_set_by_a_signal(ends):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, stop.set)
    ends.callback(loop.remove_signal_handler, signal.SIGUSR1)
    start(stop.wait(), MAY)


@held_out
async def an_event_set_by_a_reader(ends):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    ours, theirs = socket.socketpair()
    ends.callback(ours.close)
    ends.callback(theirs.close)
    loop.add_reader(ours, stop.set)
    ends.callback(loop.remove_reader, ours)
    start(stop.wait(), MAY)


@held_out
async def an_event_held_by_a_suspended_generator(ends):
    def generator(event):
        yield
        event.set()

    event = asyncio.Event()
    finalizer = generator(event)
    next(finalizer)
    ends.callback(next, finalizer, None)
    start(event.wait(), MAY)


@held_out
async def an_event_in_a_class(ends):
    class Settings:
        stop = asyncio.Event()

    KEPT["class"] = Settings
    start(Settings.stop.wait(), MAY)


@held_out
async def an_event_in_a_cached_function(ends):
    @functools.lru_cache
    def event():
        return asyncio.Event()

    KEPT["cached"] = event
    start(event().wait(), MAY)


@held_out
async def an_event_in_a_context_variable_of_a_timer(ends):
    context = contextvars.copy_context()
    event = asyncio.Event()
    context.run(VARIABLE.set, event)
    asyncio.get_running_loop().call_later(1000, lambda: VARIABLE.get().set(), context=context)
    start(event.wait(), MAY)


@held_out
async def an_event_of_a_cancelled_timer(ends):
    event = asyncio.Event()
    handle = asyncio.get_running_loop().call_later(1000, event.set)
    handle.cancel()
    start(event.wait(), NEVER)


@held_out
async def a_timer_that_cancels_the_task_by_hand(ends):
    task = asyncio.create_task(asyncio.Event().wait(), name=MAY)
    asyncio.get_running_loop().call_later(1000, task.cancel)


@held_out
async def a_timeout_two_tasks_away(ends):
    async def timed(inner):
        async with asyncio.timeout(1000):
            await inner

    start(timed(asyncio.create_task(asyncio.Event().wait(), name=MAY)), MAY)


@held_out
async def a_chain_of_three_tasks(ends):
    first = asyncio.create_task(asyncio.Event().wait(), name=NEVER)
    second = asyncio.create_task(call(first), name=NEVER)
    start(call(second), NEVER)


@held_out
async def a_task_group_with_a_sleeping_child(ends):
    async def groups():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait(), name=MAY)
            group.create_task(asyncio.sleep(1000), name=MAY)

    start(groups(), MAY)


@held_out
async def a_condition_with_a_notifier_that_waits_for_the_lock(ends):
    async def wait(condition):
        async with condition:
            await condition.wait()

    async def notify(condition):
        await asyncio.Event().wait()
        async with condition:
            condition.notify_all()

    condition = asyncio.Condition()
    start(wait(condition), NEVER)
    start(notify(condition), NEVER)


@held_out
async def a_bounded_semaphore_held_by_a_task_that_waits_for_its_neighbour(ends):
    async def holds(slots, event):
        async with slots:
            await event.wait()

    async def sets(slots, event):
        async with slots:
            event.set()

    slots, event = asyncio.BoundedSemaphore(1), asyncio.Event()
    start(holds(slots, event), NEVER)
    start(sets(slots, event), NEVER)


@held_out
async def a_server_that_waits_for_its_client(ends):
    async def serve(reader, writer):
        asyncio.current_task().set_name(MAY)
        with contextlib.closing(writer):
            await reader.read()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    ends.callback(server.close)
    ends.callback(writer.close)
    start(reader.read(), MAY)
    for _ in range(10):
        await asyncio.sleep(0)


@held_out
async def a_raw_socket(ends):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - the standard library's own
    loop = asyncio.get_running_loop()
    ends.callback(ours.close)
    ends.callback(theirs.close)
    start(loop.sock_recv(ours, 1), MAY)


@held_out
async def an_aiohttp_client_that_waits_for_an_answer(ends):
    server = socket.create_server(("127.0.0.1", 0))
    ends.callback(server.close)
    session = aiohttp.ClientSession()
    loop = asyncio.get_running_loop()
    ends.callback(lambda: loop.run_until_complete(session.close()))
    start(call(session.get(f"http://127.0.0.1:{server.getsockname()[1]}/")), MAY)
    for _ in range(50):
        await asyncio.sleep(0)


@held_out
async def an_anyio_event_that_nobody_keeps(ends):
    start(anyio.Event().wait(), NEVER)


@held_out
async def an_anyio_stream_whose_sender_waits_too(ends):
    async def receives(stream, event):
        with stream:
            await stream.receive()
            event.set()

    async def sends(stream, event):
        with stream:
            await event.wait()
            await stream.send(1)

    sender, receiver = anyio.create_memory_object_stream(0)
    event = asyncio.Event()
    start(receives(receiver, event), NEVER)
    start(sends(sender, event), NEVER)


@held_out
async def an_anyio_deadline(ends):
    async def timed():
        with anyio.move_on_after(1000):
            await anyio.Event().wait()

    start(timed(), MAY)


@held_out
async def an_event_in_a_thread_that_sleeps_in_a_queue(ends):
    event, go = asyncio.Event(), threading.Event()

    def work(box):
        go.wait(10)
        box.clear()

    thread = threading.Thread(target=work, args=({"event": event},))
    thread.start()
    ends.callback(thread.join)
    ends.callback(go.set)
    start(event.wait(), MAY)


@held_out
async def an_event_that_is_frozen(ends):
    """`gc.get_referrers` does not see the one that holds it."""
    KEPT["frozen"] = types.SimpleNamespace(event=asyncio.Event())
    gc.freeze()
    ends.callback(gc.unfreeze)
    start(KEPT["frozen"].event.wait(), MAY)


@held_out
async def a_protocol_that_finds_its_reader_weakly(ends):
    ours, theirs = socket.socketpair()
    ends.callback(theirs.close)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.create_connection(lambda: asyncio.StreamReaderProtocol(reader), sock=ours)
    ends.callback(transport.abort)
    start(reader.read(), MAY)


@held_out
async def a_task_that_a_module_may_cancel(ends):
    KEPT["task"] = asyncio.create_task(asyncio.Event().wait(), name=MAY)


@held_out
async def a_shield_whose_inner_task_sleeps(ends):
    inner = asyncio.create_task(asyncio.sleep(1000), name=MAY)
    start(call(asyncio.shield(inner)), MAY)


@held_out
async def a_generator_that_awaits_in_a_finally(ends):
    async def numbers(event):
        try:
            yield 1
        finally:
            await event.wait()

    async def iterates():
        async with contextlib.aclosing(numbers(asyncio.Event())) as them:
            async for _ in them:
                break

    start(iterates(), NEVER)


@pytest.fixture(autouse=True)
def _forgets():
    yield
    KEPT.clear()
    gc.collect()


def test_both_sets_are_large_enough():
    assert len(TUNED) >= 25
    assert len(HELD_OUT) >= 25


@pytest.mark.parametrize("case", TUNED, ids=lambda case: case.__name__)
def test_what_the_rules_were_made_by(case):
    found = examine(case)
    assert found
    assert [told for _, told in found] == [expected for expected, _ in found]


@pytest.mark.parametrize("case", HELD_OUT, ids=lambda case: case.__name__)
def test_what_the_rules_were_not_made_by(case):
    found = examine(case)
    assert found
    assert [told for _, told in found] == [expected for expected, _ in found]


def test_what_takes_too_long_is_not_examined():
    assert examine(a_bare_future, budget=-1.0) == [(NEVER, "not examined")]


def test_a_task_of_a_loop_that_runs_in_another_thread_may_wake():
    loop, begun = asyncio.new_event_loop(), threading.Event()

    async def run():
        start(asyncio.Event().wait(), NEVER)
        loop.call_later(0, begun.set)

    def turn():
        loop.run_until_complete(run())
        loop.run_forever()

    thread = threading.Thread(target=turn)
    thread.start()
    begun.wait(10)
    assert [it.prospect for it in outlooks(list(asyncio.all_tasks(loop)), 10.0).values()] == ["may wake"]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    end(loop)
    loop.close()


def test_the_same_is_said_on_uvloop():
    """Its handles and transports are its own."""
    uvloop = pytest.importorskip("uvloop")
    for case in (
        a_sleep,
        a_timeout_around_an_event,
        a_stream_on_a_socket,
        an_event_that_nobody_keeps,
        two_locks_taken_crosswise,
    ):
        found = examine(case, make=uvloop.new_event_loop)
        assert found
        assert [told for _, told in found] == [expected for expected, _ in found]
