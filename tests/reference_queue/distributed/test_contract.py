"""What every engine promises, as the queue shows it. Each test runs with each engine, against its real server."""

from __future__ import annotations

import asyncio
import contextvars

import pytest
from distributing import chats_of, shout

from reference_queue import (
    CalledFromHandler,
    ReentrantEnqueue,
)
from reference_queue.distributed import (
    DistributedQueue,
    NotOpen,
    PartitionMismatch,
)
from reference_queue.distributed.engine import partition_of

# -- results ---------------------------------------------------------------------------------------------


async def test_the_result_comes_back_to_the_producer(make_queue):
    """The instance that sends has no handler, the one that handles sends nothing."""
    await make_queue(shout)
    producer = await make_queue()
    assert await producer.enqueue("a", "hello") == "HELLO"
    assert producer.get_memory_stats().workers == 0


async def test_messages_of_a_chat_are_handled_in_the_order_of_the_calls(make_queue):
    seen = []

    async def handler(message):
        seen.append(message)
        return message

    queue = await make_queue(handler)
    sent = [f"{chat} {number}" for number in range(40) for chat in "abc"]
    assert await asyncio.gather(*(queue.enqueue(message[0], message) for message in sent)) == sent
    for chat in "abc":
        assert [each for each in seen if each[0] == chat] == [each for each in sent if each[0] == chat]


async def test_one_message_of_a_chat_at_a_time_over_all_instances(make_queue, gate):
    """Two instances that handle, and 30 messages of one chat: whoever takes one, no other is with a second."""
    inside = 0
    most = 0
    by = set()

    def worker(number):
        async def handler(message):
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            by.add(number)
            await asyncio.sleep(0)
            inside -= 1
            return message

        return handler

    await make_queue(worker(1))
    await make_queue(worker(2))
    producer = await make_queue()
    assert await asyncio.gather(*(producer.enqueue("a", number) for number in range(80))) == list(range(80))
    assert most == 1
    assert by <= {1, 2}


async def test_partitions_run_side_by_side_and_share_the_instances(make_queue, gate):
    """With room for one handler in each instance, two chats of two partitions need both."""
    first, second, *_ = chats_of(4)
    gate.hold("m1", "m2")
    one = await make_queue(gate, workers=1)
    two = await make_queue(gate, workers=1)
    results = [one.enqueue(first, "m1"), one.enqueue(second, "m2")]
    await gate.has_begun("m1")
    await gate.has_begun("m2")
    assert [one.get_memory_stats().processing, two.get_memory_stats().processing] == [1, 1]
    gate.release("m1", "m2")
    assert await asyncio.gather(*results) == ["M1", "M2"]


async def test_an_instance_runs_no_more_handlers_than_it_is_allowed_to(make_queue, gate):
    queue = await make_queue(gate, workers=2, partitions=8)
    chats = chats_of(8)
    await asyncio.gather(*(queue.enqueue(chat, f"{chat} {number}") for number in range(5) for chat in chats))
    assert gate.most <= 2
    assert queue.get_memory_stats().completed == 40


async def test_a_new_instance_takes_its_share_of_a_partition_that_is_never_empty(make_queue):
    """An instance lets a partition go after a number of messages in a row; who asks next may be the other."""
    by = []

    def worker(number):
        async def handler(_message):
            by.append(number)

        return handler

    one = await make_queue(worker(1), partitions=1)
    two = await make_queue(worker(2), partitions=1)
    await asyncio.gather(*(one.enqueue("a", number) for number in range(500)))
    assert set(by) == {1, 2}
    assert one.get_memory_stats().completed + two.get_memory_stats().completed == len(by)


async def test_the_handler_runs_beside_the_first_message_not_in_its_senders_context(make_queue):
    """Nothing of the sender's context travels, and no task keeps it."""
    variable = contextvars.ContextVar("variable", default="unset")

    async def handler(_message):
        return variable.get()

    queue = await make_queue(handler)
    variable.set("the sender's")
    assert await queue.enqueue("a", 1) == "unset"


# -- handlers that send ----------------------------------------------------------------------------------


async def test_a_handler_that_asks_for_a_result_of_its_own_partition_is_refused(make_queue):
    """Directly, and by way of another chat whose handler runs in another instance."""
    here, there, *_ = chats_of(4)

    async def handler(message):
        if message == "direct":
            return await queues[0].enqueue(here, "x")
        if message == "around":
            return await queues[0].enqueue(there, "back")
        if message == "back":
            return await queues[1].enqueue(here, "x")
        if message == "post":
            await queues[0].post(here, "x")
        return message

    queues = [await make_queue(handler), await make_queue(handler)]
    with pytest.raises(ReentrantEnqueue, match="would be a deadlock"):
        await queues[0].enqueue(here, "direct")
    assert await queues[0].enqueue(here, "post") == "post"
    for _ in range(2):  # whichever instance takes it
        with pytest.raises(ReentrantEnqueue):
            await asyncio.wait_for(queues[0].enqueue(here, "around"), 20)


async def test_a_handler_that_waits_for_its_own_queue_is_refused(make_queue):
    async def handler(message):
        await getattr(queue, message)()

    queue = await make_queue(handler)
    for method in ("join", "aclose"):
        with pytest.raises(CalledFromHandler, match=f"{method}\\(\\) was awaited in a handler"):
            await queue.enqueue("a", method)


# -- partitions ------------------------------------------------------------------------------------------


async def test_another_number_of_partitions_is_refused_and_told_what_to_do(make_queue, make_engine, name):
    await make_queue(partitions=4)
    other = DistributedQueue(make_engine(), name=name, partitions=8)
    with pytest.raises(PartitionMismatch, match=r"has 4 partitions on the server.*Give\s+partitions=4"):
        await other.open()
    with pytest.raises(NotOpen):
        other.enqueue("a", 1)
    await other.aclose()
    assert (await make_queue(partitions=4)).get_memory_stats().total_chats == 0


async def test_every_process_puts_a_chat_into_the_same_partition():
    """Not `hash`: it differs from process to process. The numbers are CRC-32, fixed for ever."""
    assert [partition_of(chat, 64) for chat in ("a", "chat 1", "ü")] == [3, 41, 21]


# -- figures ---------------------------------------------------------------------------------------------


async def test_the_figures_of_all_instances_are_the_servers(make_queue, gate):
    first, second, *_ = chats_of(4)
    gate.hold("m1", "m2")
    one = await make_queue(gate, workers=1)
    two = await make_queue(gate, workers=1)
    producer = await make_queue()
    results = [producer.enqueue(first, "m1"), producer.enqueue(second, "m2"), producer.enqueue(first, "m3")]
    await gate.has_begun("m1")
    await gate.has_begun("m2")
    await producer.post(second, "m4")
    counts = await producer.get_server_stats()
    assert (counts.total_queued, counts.processing, counts.dead) == (2, 2, 0)
    stats = producer.get_memory_stats()
    assert (stats.total_chats, stats.total_queued, stats.waiting, stats.sent, stats.processing) == (2, 0, 3, 4, 0)
    assert one.get_memory_stats().pending_promises + two.get_memory_stats().pending_promises == 2
    gate.release("m1", "m2")
    await asyncio.gather(*results)
    await producer.join()
    assert producer.get_memory_stats().waiting == 0
