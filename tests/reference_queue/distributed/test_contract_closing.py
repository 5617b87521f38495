"""How an instance takes leave; with each engine, against its real server."""

from __future__ import annotations

import asyncio
import gc

import pytest
from distributing import shout, until

from reference_queue import (
    CloseTimeout,
    LoopEnded,
    QueueClosed,
)
from reference_queue.distributed import (
    DistributedQueue,
)

# -- closing ---------------------------------------------------------------------------------------------


async def test_draining_waits_for_what_was_sent_and_for_what_is_handled(make_queue, gate):
    gate.hold("m1")
    queue = await make_queue(gate)
    results = [queue.enqueue("a", f"m{number}") for number in range(1, 4)]
    await gate.has_begun("m1")
    closing = asyncio.create_task(queue.aclose())
    await asyncio.sleep(0)
    with pytest.raises(QueueClosed, match="takes no more messages"):
        queue.enqueue("a", "m4")
    assert not closing.done()
    gate.release("m1")
    await closing
    assert [result.result() for result in results] == ["M1", "M2", "M3"]


async def test_a_draining_instance_leaves_the_messages_of_others_to_others(make_queue, gate):
    """Nothing new begins, and nothing accepted is lost: the successor handles it, in order."""
    gate.hold("m1")
    leaving = await make_queue(gate)
    producer = await make_queue()
    results = [producer.enqueue("a", f"m{number}") for number in range(1, 4)]
    await gate.has_begun("m1")
    closing = asyncio.create_task(leaving.aclose())
    await asyncio.sleep(0)
    gate.release("m1")
    await closing
    assert gate.begun == ["m1"]
    await make_queue(gate)
    assert await asyncio.gather(*results) == ["M1", "M2", "M3"]
    assert gate.begun == ["m1", "m2", "m3"]


async def test_cancelling_gives_what_is_handled_back_to_the_front(make_queue, gate):
    """At once, long before the lease is over, and it does not count towards the death of a message."""
    gate.hold("m1")
    leaving = await make_queue(gate, lease=60)
    producer = await make_queue(lease=60)
    results = [producer.enqueue("a", f"m{number}") for number in range(1, 3)]
    await gate.has_begun("m1")
    await leaving.aclose("cancel")
    assert leaving.get_memory_stats().given_back == 1
    gate.release("m1")
    await make_queue(gate, lease=60)
    assert await asyncio.gather(*results) == ["M1", "M2"]
    assert gate.begun == ["m1", "m1", "m2"]


async def test_cancelling_settles_every_future(make_queue):
    producer = await make_queue()
    results = [producer.enqueue("a", number) for number in range(3)]
    await producer.aclose("cancel")
    for result in results:
        with pytest.raises(QueueClosed, match="before the outcome came"):
            await result


async def test_a_handler_that_ignores_its_cancellation_keeps_its_chat(make_queue, gate):
    """The close says so, the lease is still renewed, and a second call ends when the handler does."""
    swallowed = asyncio.Event()
    release = asyncio.Event()

    async def stubborn(message):
        gate.begun.append(message)
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                swallowed.set()
        return message

    queue = await make_queue(stubborn, lease=0.5)
    producer = await make_queue()
    result = producer.enqueue("a", "m1")
    await until(lambda: gate.begun)
    other = await make_queue(gate, lease=0.5)
    with pytest.raises(CloseTimeout, match=r"1 handlers still run .* the chats 'a'"):
        await queue.aclose("cancel", timeout=1.2)  # more than two leases
    assert swallowed.is_set()
    assert gate.begun == ["m1"]
    release.set()
    await queue.aclose()
    assert await result == "m1"
    assert other.get_memory_stats().handled == 0


async def test_closing_can_be_repeated_cut_short_and_done_before_opening(make_queue, make_engine, name, gate):
    unopened = DistributedQueue(make_engine(), name=name)
    await unopened.aclose()
    with pytest.raises(QueueClosed, match="cannot be opened again"):
        await unopened.open()
    gate.hold("m1")
    queue = await make_queue(gate)
    result = queue.enqueue("a", "m1")
    await gate.has_begun("m1")
    draining = asyncio.create_task(queue.aclose())
    await asyncio.sleep(0)
    await queue.aclose("cancel")
    await draining
    await queue.aclose()
    with pytest.raises(QueueClosed):
        await result


async def test_nothing_is_left_when_a_queue_is_closed(make_queue):
    """No task, and nothing of the messages."""

    class Marked(str):
        __slots__ = ("__weakref__",)

    before = asyncio.all_tasks()
    queue = await make_queue(shout)
    await asyncio.gather(*(queue.enqueue(f"chat {number}", Marked(number)) for number in range(20)))
    stats = queue.get_memory_stats()
    assert (stats.total_chats, stats.total_queued, stats.processing, stats.waiting) == (0, 0, 0, 0)
    await queue.aclose()
    assert asyncio.all_tasks() == before
    gc.collect()
    assert not any(type(thing) is Marked for thing in gc.get_objects())


async def test_a_loop_that_ends_with_the_queue_open_settles_every_future(server, kind_name, name, run_program):
    """Asked in a program of its own: it leaves tasks behind, and is meant to."""
    told = run_program(
        f"""
        from reference_queue.distributed import DistributedQueue
        from reference_queue.distributed._kinds import KINDS

        async def main():
            engine = KINDS[{kind_name!r}].engine({server.url!r}, 1.0)
            queue = DistributedQueue(engine, name={name!r}, partitions=4)
            await queue.open()
            stored = queue.enqueue("a", "x")
            while queue.get_memory_stats().total_queued:
                await asyncio.sleep(0.01)
            return [stored, queue.enqueue("b", "y")]

        show(asyncio.run(main()))
        """
    )
    assert told == ["LoopEnded", "LoopEnded"]


# -- opening that does not come to its end ---------------------------------------------------------------


def ours():
    """The tasks that an instance begins."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("reference_queue")]


async def test_closing_while_opening_leaves_nothing_open(make_engine, name):
    queue = DistributedQueue(make_engine(), shout, name=name, partitions=4)
    opening = asyncio.create_task(queue.open())
    await asyncio.sleep(0)
    await queue.aclose()
    with pytest.raises(QueueClosed, match="cannot be opened again"):
        await opening
    assert ours() == []


@pytest.mark.parametrize("kind_of_end", [asyncio.CancelledError, ValueError])
async def test_an_opening_that_fails_in_its_second_half_leaves_nothing_and_can_be_repeated(
    make_engine, name, kind_of_end
):
    engine = make_engine()
    queue = DistributedQueue(engine, shout, name=name, partitions=4)

    async def consume(*_args):
        raise kind_of_end

    engine.consume = consume
    with pytest.raises(kind_of_end):
        await queue.open()
    assert ours() == []
    del engine.consume
    async with queue:
        assert await queue.enqueue("a", "x") == "X"


async def test_a_sender_that_is_cancelled_alone_leaves_nobody_waiting(make_queue, monkeypatch):
    queue = await make_queue()
    begun = asyncio.Event()

    async def send(*_args):
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(queue._engine, "send", send)
    result, posted = queue.enqueue("a", "x"), asyncio.create_task(queue.post("a", "y"))
    await begun.wait()
    (sender,) = queue._promises.outbox._tasks
    sender.cancel()
    for waits in (result, posted):
        with pytest.raises(LoopEnded, match="The task that sends the message was cancelled"):
            await waits
    assert len(queue._promises.outbox) == 0
