"""The promises of the queue, one by one."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import sys

import pytest

from reference_queue import MessageQueue, QueueError


async def test_messages_of_a_chat_are_handled_in_the_order_in_which_they_were_sent(script):
    async with MessageQueue(script) as queue:
        await asyncio.gather(*(queue.enqueue("a", f"a{n}") for n in range(100)))
    assert script.order == [f"a{n}" for n in range(100)]


async def test_a_chat_has_one_handler_at_a_time_and_chats_run_side_by_side(script):
    """Two chats, both held: each has begun its first message and not its second."""
    async with MessageQueue(script) as queue:
        script.hold("a1", "b1")
        results = [queue.enqueue(message[0], message) for message in ("a1", "a2", "b1", "b2")]
        await asyncio.gather(script.begun("a1"), script.begun("b1"))
        assert script.order == ["a1", "b1"]
        script.release("b1", "a1")
        assert await asyncio.gather(*results) == ["A1", "A2", "B1", "B2"]
    assert script.most_of_a_chat == 1
    assert script.most == 2


async def test_no_more_handlers_run_than_there_are_workers(script, ticks):
    async with MessageQueue(script, workers=3) as queue:
        messages = [f"{chat}1" for chat in "abcdefgh"]
        script.hold(*messages)
        results = [queue.enqueue(message[0], message) for message in messages]
        await ticks()
        assert script.order == ["a1", "b1", "c1"]
        assert queue.get_memory_stats().workers == 3
        script.release(*messages)
        await asyncio.gather(*results)
    assert script.most == 3


async def test_order_and_exclusion_hold_under_random_load(script):
    """Random chats, holds and cancellations; each chat's begun messages stay in order and never overlap."""
    rng = random.Random(20251208)  # noqa: S311 - a fixed sequence, not a secret
    async with MessageQueue(script, workers=4, batch=3) as queue:
        results = []
        for n in range(500):
            message = f"{rng.choice('abcdefgh')}{n}"
            if rng.random() < 0.1:
                script.hold(message)
                asyncio.get_running_loop().call_soon(script.release, message)
            results.append(queue.enqueue(message[0], message))
            if rng.random() < 0.1:
                rng.choice(results).cancel()
            if rng.random() < 0.2:
                await asyncio.sleep(0)
        await queue.join()
        assert all(result.done() for result in results)
    assert script.most_of_a_chat == 1
    assert script.most <= 4
    for chat in "abcdefgh":
        numbers = [int(message[1:]) for message in script.order if message[0] == chat]
        assert numbers == sorted(numbers)


async def test_the_future_carries_the_handlers_result_or_its_exception(script):
    async with MessageQueue(script) as queue:
        script.hold("b1")
        script.begun("b1").add_done_callback(lambda _: script.release("b1", error=KeyError("b1")))
        assert await queue.enqueue("a", "a1") == "A1"
        with pytest.raises(KeyError, match="b1"):
            await queue.enqueue("b", "b1")


async def test_a_base_exception_of_no_consequence_to_the_loop_reaches_the_caller_only(script):
    class Outcome(BaseException):
        pass

    async def handler(message):
        if message == "bad":
            raise Outcome
        return message

    async with MessageQueue(handler) as queue:
        bad, good = queue.enqueue("a", "bad"), queue.enqueue("a", "good")
        with pytest.raises(Outcome):
            await bad
        assert await good == "good"


async def test_an_idle_queue_has_no_task_and_keeps_no_chat(script, ticks):
    before = asyncio.all_tasks()
    queue = MessageQueue(script)
    await asyncio.gather(*(queue.enqueue(chat, f"{chat}1") for chat in "abcdef"))
    await ticks()
    assert asyncio.all_tasks() == before
    stats = queue.get_memory_stats()
    assert (stats.total_chats, stats.workers, stats.ready) == (0, 0, 0)


async def test_nothing_is_kept_for_chats_that_have_been(ticks):
    """Twenty thousand chats later there are as many objects as before, and no more memory in the queue."""

    async def handler(message):
        return message

    queue = MessageQueue(handler)

    async def visit(chats):
        await asyncio.gather(*(queue.enqueue(chat, chat) for chat in chats))
        await ticks()

    await visit(range(100))
    gc.collect()
    objects = len(gc.get_objects())
    await visit(range(100, 20_100))
    gc.collect()
    assert len(gc.get_objects()) - objects < 100
    assert sys.getsizeof(queue._chats) == sys.getsizeof({})


async def test_live_tasks_follow_the_work_and_not_the_messages(script, ticks):
    before = len(asyncio.all_tasks())
    async with MessageQueue(script, workers=8) as queue:
        script.hold("a0")
        results = [queue.enqueue("a", f"a{n}") for n in range(1_000)]
        await ticks()
        assert len(asyncio.all_tasks()) - before == 2  # one worker, and the sentinel
        script.release("a0")
        await asyncio.gather(*results)


async def test_the_figures_of_the_incident_are_those_of_the_moment(script):
    async with MessageQueue(script, workers=2) as queue:
        script.hold("a1", "b1")
        results = [queue.enqueue(message[0], message) for message in ("a1", "a2", "a3", "b1", "c1")]
        await asyncio.gather(script.begun("a1"), script.begun("b1"))
        stats = queue.get_memory_stats()
        assert (stats.total_chats, stats.total_queued, stats.processing, stats.pending_promises) == (3, 3, 2, 2)
        assert (stats.ready, stats.workers, stats.waiting, stats.overdue, stats.received) == (1, 2, 0, 0, 5)
        script.release("a1", "b1")
        await asyncio.gather(*results)
        await queue.join()
        stats = queue.get_memory_stats()
        assert (stats.total_chats, stats.total_queued, stats.processing, stats.pending_promises) == (0, 0, 0, 0)
        assert (stats.received, stats.completed) == (5, 5)


async def test_everything_accepted_is_handled_before_an_orderly_close_returns(script):
    async with MessageQueue(script) as queue:
        for n in range(50):
            await queue.post("ab"[n % 2], f"{'ab'[n % 2]}{n}")
    assert len(script.order) == 50


async def test_join_waits_for_the_work_and_not_for_the_close(script, ticks):
    queue = MessageQueue(script)
    await queue.join()
    script.hold("a1")
    result = queue.enqueue("a", "a1")
    joining = asyncio.create_task(queue.join())
    await ticks()
    assert not joining.done()
    script.release("a1")
    await joining
    assert await result == "A1"
    assert await queue.enqueue("a", "a2") == "A2"


async def test_a_join_that_is_cancelled_leaves_nothing_behind(script, ticks):
    async with MessageQueue(script) as queue:
        script.hold("a1")
        queue.enqueue("a", "a1")
        joining = asyncio.create_task(queue.join())
        await ticks()
        joining.cancel()
        await ticks()
        assert queue._pool.idle == []
        script.release("a1")


async def test_chats_take_turns_of_a_batch_each(script):
    """With one worker and a batch of two, two chats with four messages alternate by twos."""
    async with MessageQueue(script, workers=1, batch=2) as queue:
        for message in ("a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4"):
            await queue.post(message[0], message)
    assert script.order == ["a1", "a2", "b1", "b2", "a3", "a4", "b3", "b4"]


async def test_handlers_that_never_suspend_let_the_rest_of_the_loop_run(script):
    """Of 10,000 messages in the queue, a neighbour on the loop waits for two batches at most."""
    async with MessageQueue(script, workers=1) as queue:
        results = [queue.enqueue("a", f"a{n}") for n in range(10_000)]
        handled = []
        for _ in range(10):
            await asyncio.sleep(0)
            handled.append(queue.get_memory_stats().completed)
        assert max(later - sooner for sooner, later in itertools.pairwise(handled)) <= 64
        for result in results:
            result.cancel()


async def test_any_awaitable_that_the_handler_returns_is_awaited():
    def handler(message):
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, message * 2)
        return future

    async with MessageQueue(handler) as queue:
        assert await queue.enqueue("a", 21) == 42


async def test_every_error_of_the_queue_can_be_caught_as_one(script):
    queue = MessageQueue(script)
    await queue.aclose()
    with pytest.raises(QueueError):
        queue.enqueue("a", "a1")
