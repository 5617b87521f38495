"""Deadlines: of messages that wait for room, that are queued, that are being handled."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref

import pytest

from reference_queue import DeadlineExceeded, MessageQueue


async def test_a_queued_message_whose_deadline_passes_is_never_handled(script, clock):
    async with MessageQueue(script, workers=1) as queue:
        script.hold("a0")
        queue.enqueue("a", "a0")
        late, other, patient = (
            queue.enqueue("a", "a1", deadline=5),
            queue.enqueue("b", "b1", deadline=5),
            queue.enqueue("a", "a2", deadline=50),
        )
        await script.begun("a0")
        await clock.advance(6)
        for result in (late, other):
            with pytest.raises(DeadlineExceeded, match=r"within its deadline of 5 s"):
                await result
        stats = queue.get_memory_stats()
        assert (stats.expired, stats.total_queued, stats.total_chats) == (2, 1, 1)
        script.release("a0")
        assert await patient == "A2"
    assert script.order == ["a0", "a2"]


async def test_a_message_in_line_for_room_has_its_deadline_too(script, clock, ticks):
    async with MessageQueue(script, workers=1, max_queued=1) as queue:
        script.hold("a0")
        queue.enqueue("a", "a0")
        await script.begun("a0")
        queue.enqueue("a", "a1")
        late = queue.enqueue("a", "a2", deadline=5)
        posting = asyncio.create_task(queue.post("b", "b0", deadline=5))
        await ticks()
        await clock.advance(6)
        for result in (late, posting):
            with pytest.raises(DeadlineExceeded):
                await result
        script.release("a0")
    assert script.order == ["a0", "a1"]


async def test_a_handler_is_cancelled_at_its_messages_deadline_and_the_chat_goes_on(script, clock):
    async with MessageQueue(script) as queue:
        script.hold("a1")
        late, following = queue.enqueue("a", "a1", deadline=5), queue.enqueue("a", "a2")
        await script.begun("a1")
        await clock.advance(4)
        assert not late.done()
        await clock.advance(2)
        with pytest.raises(DeadlineExceeded):
            await late
        assert await following == "A2"
        assert script.events == ["a1 begins", "a1 cancelled", "a1 ends", "a2 begins", "a2 ends"]
        stats = queue.get_memory_stats()
        assert (stats.expired, stats.completed, stats.cancelled, stats.overdue) == (1, 1, 0, 0)


async def test_the_worker_of_a_cancelled_handler_is_as_good_as_new(script, clock):
    """Nothing of the cancellation is left in its task: the next handler waits undisturbed."""
    async with MessageQueue(script, workers=1) as queue:
        script.hold("a1", "a2")
        queue.enqueue("a", "a1", deadline=5)
        following = queue.enqueue("a", "a2")
        await script.begun("a1")
        tasks = asyncio.all_tasks()
        await clock.advance(6)
        await script.begun("a2")
        assert asyncio.all_tasks() == tasks
        script.release("a2")
        assert await following == "A2"


async def test_the_default_deadline_is_for_messages_without_their_own(script, clock):
    async with MessageQueue(script, default_deadline=5) as queue:
        script.hold("a1", "b1")
        short, long = queue.enqueue("a", "a1"), queue.enqueue("b", "b1", deadline=50)
        await asyncio.gather(script.begun("a1"), script.begun("b1"))
        await clock.advance(6)
        assert isinstance(short.exception(), DeadlineExceeded)
        assert not long.done()
        script.release("b1")


async def test_a_message_handled_in_time_leaves_no_timer(script, clock):
    async with MessageQueue(script) as queue:
        result = queue.enqueue("a", "a1", deadline=5)
        assert await result == "A1"
        cancelled = queue.enqueue("a", "a2", deadline=5)
        cancelled.cancel()
        await queue.join()
        await clock.advance(6)
        assert queue.get_memory_stats().expired == 0
        assert [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()] == []


async def test_a_deadline_does_not_keep_the_context_of_its_sender(script):
    """The loop keeps the timer of a message long since handled; nothing of the message hangs on it."""

    class Value:
        pass

    var = contextvars.ContextVar("var")

    async def send():
        value = Value()
        var.set(value)
        await queue.enqueue("a", "a1", deadline=1_000)
        return weakref.ref(value)

    # The loop throws away a cancelled timer only when it comes first, and this one is before it.
    first = asyncio.get_running_loop().call_later(500, lambda: None)
    async with MessageQueue(script) as queue:
        value = await asyncio.create_task(send())
    gc.collect()
    assert value() is None
    first.cancel()


async def test_a_posted_message_that_misses_its_deadline_is_reported(script, clock, complaints):
    async with MessageQueue(script, workers=1) as queue:
        script.hold("a0")
        await queue.post("a", "a0", deadline=5)
        await queue.post("a", "a1", deadline=5)
        await script.begun("a0")
        await clock.advance(6)
    assert [type(complaint["exception"]) for complaint in complaints] == [DeadlineExceeded] * 2


async def test_the_deadline_holds_for_a_handler_whose_caller_has_gone(script, clock, ticks):
    async with MessageQueue(script) as queue:
        script.hold("a1")
        queue.enqueue("a", "a1", deadline=5).add_done_callback(lambda _: None)
        result = queue.enqueue("a", "a2")
        await script.begun("a1")
        await clock.advance(6)
        assert await result == "A2"


async def test_a_handlers_own_timeout_works_as_in_any_task(script, clock):
    async def handler(message):
        try:
            async with asyncio.timeout(5):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return f"{message} in time"

    async with MessageQueue(handler) as queue:
        result = queue.enqueue("a", "a1", deadline=50)
        following = queue.enqueue("a", "a2", deadline=50)
        for _ in range(2):
            await clock.advance(1)
            await clock.advance(6)
        assert await asyncio.gather(result, following) == ["a1 in time", "a2 in time"]


async def test_what_a_handler_raises_after_its_deadline_is_reported(script, clock, complaints):
    async def handler(_message):
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise ValueError("on the way out")

    async with MessageQueue(handler) as queue:
        result = queue.enqueue("a", "a1", deadline=5)
        await clock.advance(0)
        await clock.advance(6)
        with pytest.raises(DeadlineExceeded):
            await result
        stats = queue.get_memory_stats()
        assert (stats.expired, stats.failed) == (1, 0)
    assert [complaint["exception"].args for complaint in complaints] == [("on the way out",)]
