"""Closing: both modes, time limits, and use during and after it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from reference_queue import CalledFromHandler, CloseTimeout, MessageQueue, QueueClosed


@pytest.fixture
def own_tasks():
    def own_tasks():
        return [task for task in asyncio.all_tasks() if task.get_name().startswith("reference_queue")]

    return own_tasks


async def test_closing_a_queue_that_was_never_used_returns_at_once(script):
    await MessageQueue(script).aclose()
    async with MessageQueue(script):
        pass


async def test_draining_handles_everything_and_leaves_no_task(script, own_tasks):
    queue = MessageQueue(script, workers=2)
    results = [queue.enqueue(chat, f"{chat}{n}") for n in range(10) for chat in "abcd"]
    await queue.aclose("drain")
    assert all(not result.exception() for result in results)
    assert own_tasks() == []
    assert queue.get_memory_stats().total_chats == 0


async def test_cancelling_settles_everything_and_leaves_no_task(script, own_tasks):
    queue = MessageQueue(script)
    script.hold("a1")
    results = [queue.enqueue(message[0], message) for message in ("a1", "a2", "a3")]
    await script.begun("a1")
    await queue.aclose("cancel")
    for result in results:
        with pytest.raises(QueueClosed, match="drain"):
            await result
    assert script.events == ["a1 begins", "a1 cancelled", "a1 ends"]
    assert own_tasks() == []
    stats = queue.get_memory_stats()
    assert (stats.cancelled, stats.received, stats.total_chats) == (3, 3, 0)


@pytest.mark.parametrize("closed", ["closed", "draining"])
async def test_a_closed_or_draining_queue_refuses_messages(script, ticks, closed):
    queue = MessageQueue(script)
    script.hold("a1")
    queue.enqueue("a", "a1")
    await script.begun("a1")
    closing = asyncio.create_task(queue.aclose())
    await ticks()
    if closed == "closed":
        script.release("a1")
        await closing
    with pytest.raises(QueueClosed, match="takes no more messages"):
        queue.enqueue("a", "a2")
    with pytest.raises(QueueClosed):
        await queue.post("a", "a2")
    with pytest.raises(QueueClosed):
        queue.enqueue_threadsafe("a", "a2")
    if closed == "draining":
        script.release("a1")
        await closing
    assert queue.get_memory_stats().received == 1


async def test_a_draining_that_takes_too_long_turns_into_cancelling(script, clock, ticks, caplog):
    queue = MessageQueue(script)
    script.hold("a1")
    results = [queue.enqueue("a", "a1"), queue.enqueue("a", "a2")]
    await script.begun("a1")
    closing = asyncio.create_task(queue.aclose(timeout=5))
    await ticks()
    with caplog.at_level(logging.WARNING):
        await clock.advance(6)
    await closing
    assert [type(result.exception()) for result in results] == [QueueClosed] * 2
    assert "not drained within 5 s: gave up 1 queued messages, cancelled 1 handlers" in caplog.text


async def test_handlers_that_ignore_the_close_are_named_and_every_future_is_settled(script, clock, ticks):
    queue = MessageQueue(script)
    script.hold("a1")
    script.swallow.add("a1")
    results = [queue.enqueue("a", "a1"), queue.enqueue("a", "a2")]
    await script.begun("a1")
    closing = asyncio.create_task(queue.aclose("cancel", timeout=5))
    await ticks()
    assert [type(result.exception()) for result in results] == [QueueClosed] * 2
    assert queue.get_memory_stats().overdue == 1
    await clock.advance(6)
    with pytest.raises(CloseTimeout, match=r"chats 'a'\. Every future is settled"):
        await closing
    script.release("a1")
    await queue.aclose()


async def test_a_second_close_with_cancel_cuts_a_draining_short(script, ticks):
    queue = MessageQueue(script)
    script.hold("a1")
    result = queue.enqueue("a", "a1")
    await script.begun("a1")
    draining = asyncio.create_task(queue.aclose())
    await ticks()
    await queue.aclose("cancel")
    await draining
    assert isinstance(result.exception(), QueueClosed)


async def test_a_close_that_is_cancelled_leaves_the_queue_closed_and_the_work_going_on(script, ticks):
    queue = MessageQueue(script)
    script.hold("a1")
    result = queue.enqueue("a", "a1")
    await script.begun("a1")
    closing = asyncio.create_task(queue.aclose())
    await ticks()
    closing.cancel()
    await ticks()
    with pytest.raises(QueueClosed):
        queue.enqueue("a", "a2")
    script.release("a1")
    assert await result == "A1"
    await queue.aclose()


async def test_an_exception_in_the_block_cancels_what_is_queued(script):
    script.hold("a1")
    with pytest.raises(KeyError):
        async with MessageQueue(script) as queue:
            result = queue.enqueue("a", "a1")
            raise KeyError
    assert isinstance(result.exception(), QueueClosed)


async def test_closing_with_a_timeout_of_zero_gives_well_behaved_handlers_time_to_end(script):
    queue = MessageQueue(script)
    script.hold("a1")
    queue.enqueue("a", "a1")
    await script.begun("a1")
    await queue.aclose("cancel", timeout=0)
    assert script.events[-1] == "a1 ends"


@pytest.mark.parametrize("method", ["join", "aclose"])
async def test_waiting_for_oneself_in_a_handler_is_refused(method):
    async def handler(_message):
        await getattr(queue, method)()

    async with MessageQueue(handler) as queue:
        with pytest.raises(CalledFromHandler, match=rf"{method}\(\)"):
            await queue.enqueue("a", "a1")


async def test_a_handler_of_a_closed_queue_that_ends_on_its_own_still_has_its_say(script, ticks):
    """Cancelled by the close, a handler may finish its work: the outcome is the close all the same."""
    queue = MessageQueue(script)
    script.hold("a1")
    script.swallow.add("a1")
    result = queue.enqueue("a", "a1")
    await script.begun("a1")
    closing = asyncio.create_task(queue.aclose("cancel"))
    await ticks()
    assert not closing.done()
    script.release("a1")
    await closing
    assert isinstance(result.exception(), QueueClosed)
    assert queue.get_memory_stats().cancelled == 1
