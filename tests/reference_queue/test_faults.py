"""Faults known from the incident's repair and from other projects: one test for each."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import tracemalloc
import weakref
from pathlib import Path

import pytest

import reference_queue
from reference_queue import HandlerNotAwaitable, MessageQueue, QueueFull, ReentrantEnqueue


async def test_a_callers_timeout_does_not_stop_the_chat(script, clock):
    """The caller gives up on a1, which goes on to its end; a2 is handled after it."""
    async with MessageQueue(script) as queue:
        script.hold("a1")
        caller = asyncio.create_task(asyncio.wait_for(queue.enqueue("a", "a1"), 5))
        await script.begun("a1")
        following = queue.enqueue("a", "a2")
        await clock.advance(6)
        with pytest.raises(TimeoutError):
            await caller
        assert not following.done()
        script.release("a1")
        assert await following == "A2"
    assert script.events == ["a1 begins", "a1 ends", "a2 begins", "a2 ends"]


async def test_a_handler_that_raises_cancelled_error_cancels_its_message_only():
    async def handler(message):
        if message == "bad":
            raise asyncio.CancelledError
        return message

    async with MessageQueue(handler) as queue:
        bad, good = queue.enqueue("a", "bad"), queue.enqueue("a", "good")
        assert await good == "good"
        assert bad.cancelled()
        assert queue.get_memory_stats().cancelled == 1


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
def test_a_handler_that_raises_keyboard_interrupt_stops_the_loop_and_loses_nothing(fatal):
    """The interrupt leaves the loop, as from any task; when the loop runs again, so does the queue."""

    async def handler(message):
        if message == "bad":
            raise fatal
        return message

    async def send():
        results.extend(queue.enqueue(chat, message) for chat, message in (("a", "bad"), ("a", "good"), ("b", "fine")))
        await asyncio.wait(results)

    results = []
    queue = MessageQueue(handler, workers=1)
    loop = asyncio.new_event_loop()
    try:
        sending = loop.create_task(send())
        with pytest.raises(fatal):
            loop.run_until_complete(sending)
        loop.run_until_complete(sending)
        bad, good, fine = results
        assert isinstance(bad.exception(), fatal)
        assert (good.result(), fine.result()) == ("good", "fine")
        loop.run_until_complete(queue.aclose())
    finally:
        loop.close()


def test_an_interrupted_asyncio_run_settles_what_is_queued():
    async def handler(_message):
        raise KeyboardInterrupt

    results = []

    async def main():
        queue = MessageQueue(handler, workers=1)
        results.extend(queue.enqueue(chat, chat) for chat in "abc")
        await asyncio.wait(results)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert all(result.done() for result in results)


async def test_a_handler_that_raises_stop_iteration_fails_its_message(complaints, ticks):
    """Raised at the call, where it could be taken for a result, and inside a coroutine."""

    def at_once(_message):
        raise StopIteration("a result?")

    async def inside(_message):
        raise StopIteration("a result?")

    for handler in (at_once, inside):
        async with MessageQueue(handler) as queue:
            with pytest.raises(RuntimeError, match="StopIteration"):
                await queue.enqueue("a", "a1")
    await ticks()
    assert complaints == []  # no worker has died of it


async def test_a_handler_that_raises_generator_exit_fails_its_message_and_the_chat_goes_on():
    async def handler(message):
        if message == "bad":
            raise GeneratorExit
        return message

    async with MessageQueue(handler) as queue:
        bad, good = queue.enqueue("a", "bad"), queue.enqueue("a", "good")
        with pytest.raises(GeneratorExit):
            await bad
        assert await good == "good"


async def test_a_finished_chat_does_not_take_a_newer_one_of_the_same_name_with_it(script, ticks):
    """A chat is forgotten while still in the ready lane, and made anew: one handler at a time all the same."""
    async with MessageQueue(script, workers=1) as queue:
        script.hold("b1", "a2")
        queue.enqueue("b", "b1")
        await script.begun("b1")
        queue.enqueue("a", "a1").cancel()
        await ticks()
        assert queue.get_memory_stats().total_chats == 1
        second, third = queue.enqueue("a", "a2"), queue.enqueue("a", "a3")
        script.release("b1")
        await script.begun("a2")
        assert queue.get_memory_stats().total_chats == 1
        await ticks()
        assert script.order == ["b1", "a2"]
        script.release("a2")
        assert await asyncio.gather(second, third) == ["A2", "A3"]
    assert script.most_of_a_chat == 1


@pytest.mark.parametrize("rounds", range(8))
async def test_no_wake_up_is_lost_while_a_worker_ends(script, ticks, rounds):
    """The next message comes 0, 1, 2, ... rounds after the last one: some round is that of the decision."""
    queue = MessageQueue(script, workers=1)
    await queue.enqueue("a", "a1")
    for _ in range(rounds):
        await asyncio.sleep(0)
    same, other = queue.enqueue("a", "a2"), queue.enqueue("b", "b1")
    await ticks()
    assert same.done()
    assert other.done()
    await queue.aclose()


async def test_no_wake_up_is_lost_to_a_set_that_a_callback_cleans(script, ticks):
    """A set of tasks that is never cleaned: nothing is counted by it."""

    class Hoard(set):
        def discard(self, task):
            pass

    queue = MessageQueue(script, workers=1)
    queue._pool.tasks = Hoard()
    for n in range(3):
        result = queue.enqueue("a", f"a{n}")
        await ticks()
        assert result.done()
    assert len(queue._pool.tasks) > 1


async def test_awaiting_a_message_to_ones_own_chat_is_refused():
    async def handler(message):
        if message == "outer":
            return await queue.enqueue("a", "inner")
        return message

    async with MessageQueue(handler) as queue:
        with pytest.raises(ReentrantEnqueue, match=r"chat 'a'.*post"):
            await queue.enqueue("a", "outer")
        assert await queue.enqueue("a", "next") == "next"


async def test_awaiting_ones_own_chat_by_way_of_another_is_refused():
    """A waits for B, B for A."""

    async def handler(message):
        if message == "first":
            return await queue.enqueue("b", "second")
        if message == "second":
            return await queue.enqueue("a", "third")
        return message

    async with MessageQueue(handler) as queue:
        with pytest.raises(ReentrantEnqueue):
            await queue.enqueue("a", "first")


async def test_awaiting_ones_own_chat_in_a_task_of_the_handlers_is_refused():
    async def ask():
        return await queue.enqueue("a", "inner")

    async def handler(message):
        if message == "outer":
            async with asyncio.TaskGroup() as group:
                task = group.create_task(ask())
            return task.result()
        return message

    async with MessageQueue(handler) as queue:
        with pytest.raises(ExceptionGroup) as caught:
            await queue.enqueue("a", "outer")
        assert caught.group_contains(ReentrantEnqueue)


async def test_awaiting_ones_own_chat_across_two_queues_is_refused():
    async def one(message):
        return await two_queue.enqueue("b", message)

    async def two(message):
        return await one_queue.enqueue("a", message)

    async with MessageQueue(one) as one_queue, MessageQueue(two) as two_queue:
        with pytest.raises(ReentrantEnqueue):
            await one_queue.enqueue("a", "x")


async def test_awaiting_ones_own_chat_in_a_thread_of_the_handlers_is_refused():
    def ask():
        return queue.enqueue_threadsafe("a", "inner").result(10)

    async def handler(message):
        return await asyncio.to_thread(ask) if message == "outer" else message

    async with MessageQueue(handler) as queue:
        with pytest.raises(ReentrantEnqueue):
            await queue.enqueue("a", "outer")


async def test_a_task_that_outlives_its_handler_may_use_the_chat():
    """It has the handler's context, but nobody waits for it; the worker handles another chat by then."""
    tasks = []
    free = asyncio.Event()

    async def later(message):
        await free.wait()
        return await queue.enqueue("a", message)

    async def handler(message):
        if message == "outer":
            tasks.append(asyncio.create_task(later("inner")))
        if message == "last":
            free.set()
            await asyncio.sleep(0)
        return message

    async with MessageQueue(handler, workers=1) as queue:
        await queue.enqueue("a", "outer")
        await queue.enqueue("a", "last")
        assert await tasks[0] == "inner"


async def test_a_handler_may_post_to_its_own_chat(script):
    async def handler(message):
        if message == "a1":
            await queue.post("a", "a3")
        return await script(message)

    async with MessageQueue(handler) as queue:
        await asyncio.gather(queue.enqueue("a", "a1"), queue.enqueue("a", "a2"))
        await queue.join()
    assert script.order == ["a1", "a2", "a3"]


async def test_a_relay_of_messages_keeps_no_chain_of_those_before():
    """Each handler enqueues the next message and ends; the first ones are not held by the last."""
    gone = []

    class Baton:
        pass

    async def handler(message):
        number, baton = message
        gone.append(weakref.ref(baton))
        if number < 100:
            queue.enqueue(number % 2, (number + 1, Baton()))

    async with MessageQueue(handler) as queue:
        queue.enqueue(0, (1, Baton()))
        await queue.join()
        assert len(gone) == 100
        assert [ref for ref in gone[:-2] if ref() is not None] == []


async def test_every_message_runs_in_the_context_of_its_own_sender():
    who = contextvars.ContextVar("who", default="nobody")
    seen = []

    async def handler(message):
        seen.append((message, who.get()))
        who.set("the handler")
        await asyncio.sleep(0)
        seen.append((message, who.get()))

    async def send(name):
        who.set(name)
        await queue.enqueue("a", f"from {name}")

    async with MessageQueue(handler) as queue:
        await asyncio.gather(asyncio.create_task(send("ann")), asyncio.create_task(send("ben")))
        assert who.get() == "nobody"
    assert seen == [
        ("from ann", "ann"),
        ("from ann", "the handler"),
        ("from ben", "ben"),
        ("from ben", "the handler"),
    ]


async def test_a_worker_keeps_no_ones_context_alive(script, ticks):
    class Value:
        pass

    var = contextvars.ContextVar("var")

    async def send():
        value = Value()
        var.set(value)
        await queue.enqueue("a", "a1")
        return weakref.ref(value)

    async with MessageQueue(script, workers=1) as queue:
        script.hold("b1")
        script.begun("a1").add_done_callback(lambda _: queue.enqueue("b", "b1"))
        value = await asyncio.create_task(send())
        await script.begun("b1")
        await ticks()
        gc.collect()
        assert queue.get_memory_stats().workers == 1
        assert value() is None
        script.release("b1")


async def test_a_failure_that_nobody_awaits_is_not_logged_by_the_garbage_collector(complaints, ticks):
    async def handler(_message):
        raise ValueError

    async with MessageQueue(handler) as queue:
        queue.enqueue("a", "a1")
        await ticks()
        gc.collect()
        await ticks()
        assert complaints == []
        assert queue.get_memory_stats().failed == 1


async def test_a_failure_of_a_posted_message_is_reported_once(complaints, ticks):
    async def handler(_message):
        raise ValueError("no")

    async with MessageQueue(handler) as queue:
        await queue.post("a", "a1")
        await ticks()
    (complaint,) = complaints
    assert "chat 'a'" in complaint["message"]
    assert isinstance(complaint["exception"], ValueError)


async def test_a_failure_after_the_caller_has_gone_is_reported(script, complaints, ticks):
    async with MessageQueue(script) as queue:
        script.hold("a1")
        result = queue.enqueue("a", "a1")
        await script.begun("a1")
        result.cancel()
        script.release("a1", error=ValueError("no"))
        await ticks()
    assert [complaint["exception"].args for complaint in complaints] == [("no",)]


async def test_a_handler_at_work_is_held_by_the_queue_and_not_by_the_garbage_collector(script, ticks):
    """The handler waits for a future that only it knows: task, handler and future would be one garbage."""
    waiting = []

    async def handler(_message):
        future = asyncio.get_running_loop().create_future()
        waiting.append(weakref.ref(future))
        return await future

    async with MessageQueue(handler) as queue:
        result = queue.enqueue("a", "a1")
        await ticks()
        gc.collect()
        waiting[0]().set_result("still here")
        assert await result == "still here"


async def test_a_busy_chat_does_not_starve_the_others(script):
    """100,000 messages of one chat are queued before one of another: it waits for one batch of 32."""
    async with MessageQueue(script, workers=1) as queue:
        results = [queue.enqueue("a", "a0") for _ in range(100_000)]
        results[0].add_done_callback(lambda _: None)
        await queue.enqueue("b", "b0")
        assert queue.get_memory_stats().completed <= 2 * 32 + 1
        for result in results:
            result.cancel()


async def test_a_producer_that_is_cancelled_while_it_waits_for_room_loses_no_slot(script, ticks):
    """Room is freed and the producer cancelled in the same step: the next producer gets in."""
    async with MessageQueue(script, max_queued=1, workers=1) as queue:
        script.hold("a0")
        queue.enqueue("a", "a0")
        await script.begun("a0")
        queued = queue.enqueue("a", "a1")
        first = asyncio.create_task(queue.post("b", "b1"))
        second = asyncio.create_task(queue.post("c", "c1"))
        await ticks()
        assert queue.get_memory_stats().waiting == 2
        queued.cancel()
        first.cancel()
        await ticks()
        assert first.cancelled()
        assert second.done()
        assert queue.get_memory_stats().total_queued == 1
        script.release("a0")
    assert script.order == ["a0", "c1"]


async def test_a_producer_that_is_cancelled_just_after_its_message_got_in_withdraws_it(script, ticks):
    async with MessageQueue(script, max_queued=1, workers=1) as queue:
        script.hold("a0")
        queue.enqueue("a", "a0")
        await script.begun("a0")
        queued = queue.enqueue("a", "a1")
        posting = asyncio.create_task(queue.post("b", "b1"))
        await ticks()
        queued.cancel()
        await asyncio.sleep(0)  # the slot is b1's now, and its producer does not know it yet
        assert queue.get_memory_stats().waiting == 0
        assert not posting.done()
        posting.cancel()
        await ticks()
        assert posting.cancelled()
        assert queue.get_memory_stats().total_queued == 0
        script.release("a0")
    assert script.order == ["a0"]


async def test_a_poison_message_does_not_stop_the_others():
    """One whose handler cancels its own task: the message is cancelled, the worker replaced, nothing lost."""

    async def handler(message):
        if message == "poison":
            asyncio.current_task().cancel()
            await asyncio.sleep(0)
        if message == "slow poison":
            asyncio.current_task().cancel()
        await asyncio.sleep(0)
        return message

    async with MessageQueue(handler, workers=1) as queue:
        messages = ["poison", "one", "slow poison", "two", "three"]
        results = [queue.enqueue(chat, message) for message in messages for chat in "ab"]
        await queue.join()
        good = [result.result() for result in results if not result.cancelled()]
        assert good == ["one", "one", "two", "two", "three", "three"]


async def test_a_poison_message_that_cancels_without_awaiting_harms_no_innocent_one():
    async def handler(message):
        if message == "poison":
            asyncio.current_task().cancel()
            return "its own result"
        await asyncio.sleep(0)
        return message

    async with MessageQueue(handler, workers=1) as queue:
        assert await asyncio.gather(queue.enqueue("a", "poison"), queue.enqueue("a", "good")) == [
            "its own result",
            "good",
        ]


async def test_a_handler_that_swallows_cancellation_keeps_its_chat_to_itself(script, clock):
    """The deadline of a1 is over and its caller told, but its handler goes on: a2 waits, b1 does not."""
    async with MessageQueue(script) as queue:
        script.hold("a1")
        script.swallow.add("a1")
        first = queue.enqueue("a", "a1", deadline=5)
        second, other = queue.enqueue("a", "a2"), queue.enqueue("b", "b1")
        await script.begun("a1")
        await clock.advance(6)
        with pytest.raises(TimeoutError):
            await first
        assert script.events == ["a1 begins", "b1 begins", "b1 ends", "a1 cancelled"]
        assert await other == "B1"
        assert not second.done()
        stats = queue.get_memory_stats()
        assert (stats.processing, stats.pending_promises, stats.overdue, stats.expired) == (1, 1, 1, 1)
        script.release("a1")
        assert await second == "A2"
        assert queue.get_memory_stats().completed == 2
    assert script.most_of_a_chat == 1


@pytest.mark.parametrize("suspends", [False, True])
async def test_a_failure_is_freed_with_its_last_holder_and_frees_the_message(suspends, ticks):
    """No cycle through a traceback: the error goes when the caller lets go of it, without the collector."""

    class Body:
        pass

    class Failure(Exception):  # noqa: N818 - a name for the test
        pass

    bodies, failures = [], []

    async def handler(body):
        bodies.append(weakref.ref(body))
        if suspends:
            await asyncio.sleep(0)
        failure = Failure()
        failures.append(weakref.ref(failure))
        try:
            raise failure
        finally:
            del failure

    gc.disable()
    try:
        async with MessageQueue(handler) as queue:
            result = queue.enqueue("a", Body())
            await ticks()
            assert result.exception() is failures[0]()
            frames = []
            trace = failures[0]().__traceback__
            while trace is not None:
                frames.append(trace.tb_frame.f_code.co_name)
                trace = trace.tb_next
            assert frames == ["handler"]
            del trace, result
            assert failures[0]() is None
            assert bodies[0]() is None
    finally:
        gc.enable()


async def test_a_result_that_is_kept_does_not_keep_its_message(ticks):
    class Body:
        pass

    async def handler(body):
        return weakref.ref(body)

    async with MessageQueue(handler) as queue:
        result = queue.enqueue("a", Body())
        body = await result
        await ticks()
        assert body() is None
        alone = asyncio.get_running_loop().create_future()
        assert sys.getrefcount(result) == sys.getrefcount(alone)  # how many one name makes differs by version


async def test_callers_that_give_up_on_a_stuck_chat_do_not_fill_the_queue(script, ticks):
    """The incident in small: a stuck handler, and callers that time out and try again."""
    async with MessageQueue(script, workers=1) as queue:
        script.hold("a0")
        queue.enqueue("a", "a0")
        await script.begun("a0")
        for n in range(2_000):
            result = queue.enqueue("ab"[n % 2] if n % 3 else f"chat {n}", "a1")
            await asyncio.sleep(0)
            result.cancel()
        await ticks()
        assert queue.get_memory_stats().total_queued == 0
        assert queue.get_memory_stats().total_chats == 1
        assert queue._chats["a"].head is queue._chats["a"].tail is None
        assert len(queue._pool.ready) < 100
        script.release("a0")


async def test_a_chat_with_a_single_message_costs_little_memory(script):
    """Nearly all chats have one message queued: its future, its context and the chat, and no container for more."""
    async with MessageQueue(script, workers=1) as queue:
        script.hold("first")
        queue.enqueue("first", "first")
        await script.begun("first")
        tracemalloc.start()
        try:
            for chat in range(1_000):
                queue.enqueue(chat, "message")
            snapshot = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        folder = Path(reference_queue.__file__).parent
        kept = snapshot.filter_traces([tracemalloc.Filter(inclusive=True, filename_pattern=f"{folder}/*")])
        assert sum(it.size for it in kept.statistics("filename")) < 800 * 1_000
        script.release("first")


async def test_a_handler_that_is_sync_by_mistake_is_named():
    def handler(message):
        return message

    async with MessageQueue(handler) as queue:
        with pytest.raises(HandlerNotAwaitable, match=r"handler.* returned str.*async def"):
            await queue.enqueue("a", "a1")


async def test_a_handler_does_not_wait_for_room_that_its_own_end_would_make(script, ticks):
    refused = []

    async def handler(message):
        if message == "a1":
            try:
                await queue.post("b", "b2")
            except QueueFull as error:
                refused.append(str(error))
        return await script(message)

    async with MessageQueue(handler, workers=1, max_queued=1) as queue:
        first = queue.enqueue("a", "a1")
        second = queue.enqueue("b", "b1")
        await asyncio.gather(first, second)
    assert "handler of this queue" in refused[0]


async def test_a_worker_that_is_cancelled_from_outside_is_replaced(script, ticks):
    """Its message is cancelled, the rest of its chat handled by another; also if it had not begun to run."""
    queue = MessageQueue(script, workers=1)
    results = [queue.enqueue(message[0], message) for message in ("a1", "a2", "b1")]
    (worker,) = (task for task in asyncio.all_tasks() if task.get_name() == "reference_queue worker")
    worker.cancel()
    await ticks()
    assert [result.result() for result in results] == ["A1", "A2", "B1"]
    script.hold("a3")
    results = [queue.enqueue(message[0], message) for message in ("a3", "a4", "b2")]
    await script.begun("a3")
    (worker,) = (task for task in asyncio.all_tasks() if task.get_name() == "reference_queue worker")
    worker.cancel()
    await ticks()
    assert results[0].cancelled()
    assert [result.result() for result in results[1:]] == ["A4", "B2"]
    await queue.aclose()
