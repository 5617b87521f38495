"""Bounds and policies."""

from __future__ import annotations

import asyncio

import pytest

from reference_queue import CloseTimeout, MessageDropped, MessageQueue, QueueClosed, QueueFull


@pytest.fixture
async def busy(script):
    """Make a queue with one worker, which is held by message z0 of chat z."""
    queues = []

    async def busy(**options):
        queue = MessageQueue(script, workers=1, **options)
        queues.append(queue)
        script.hold("z0")
        await queue.post("z", "z0")
        await script.begun("z0")
        return queue

    yield busy
    for queue in queues:
        await queue.aclose("cancel")


async def test_a_message_being_handled_takes_no_room(busy):
    queue = await busy(max_queued=1, max_queued_per_chat=1, policy="reject")
    queue.enqueue("z", "z1")
    assert queue.get_memory_stats().total_queued == 1


@pytest.mark.parametrize("bound", ["max_queued", "max_queued_per_chat"])
async def test_rejecting_raises_at_once_and_says_which_bound(busy, bound):
    queue = await busy(**{bound: 2}, policy="reject")
    for n in range(2):
        queue.enqueue("a", f"a{n}")
    with pytest.raises(QueueFull, match=rf"2 messages of chat 'a'.*{bound}=2.*[Rr]aise the bound"):
        queue.enqueue("a", "a2")
    with pytest.raises(QueueFull):
        await queue.post("a", "a2")
    stats = queue.get_memory_stats()
    assert (stats.total_queued, stats.rejected, stats.received) == (2, 2, 3)


async def test_a_full_chat_does_not_shut_out_the_others(busy):
    queue = await busy(max_queued_per_chat=1, policy="reject")
    queue.enqueue("a", "a0")
    queue.enqueue("b", "b0")
    assert queue.get_memory_stats().total_queued == 2


async def test_a_refused_chat_leaves_nothing_behind(busy):
    queue = await busy(max_queued=1, policy="reject")
    queue.enqueue("a", "a0")
    with pytest.raises(QueueFull):
        queue.enqueue("b", "b0")
    assert queue.get_memory_stats().total_chats == 2


async def test_dropping_gives_the_chats_oldest_for_the_chats_bound(busy, script):
    queue = await busy(max_queued_per_chat=1, policy="drop_oldest")
    other, oldest, newest = queue.enqueue("b", "b0"), queue.enqueue("a", "a0"), queue.enqueue("a", "a1")
    with pytest.raises(MessageDropped, match="oldest of chat 'a'"):
        await oldest
    script.release("z0")
    assert await asyncio.gather(other, newest) == ["B0", "A1"]
    assert queue.get_memory_stats().dropped == 1


async def test_dropping_gives_the_oldest_of_all_for_the_bound_over_all(busy, script):
    queue = await busy(max_queued=2, policy="drop_oldest")
    oldest, other, newest = queue.enqueue("b", "b0"), queue.enqueue("a", "a0"), queue.enqueue("a", "a1")
    with pytest.raises(MessageDropped):
        await oldest
    assert queue.get_memory_stats().total_chats == 2
    script.release("z0")
    assert await asyncio.gather(other, newest) == ["A0", "A1"]


async def test_dropping_passes_over_messages_that_are_gone(busy, ticks):
    """The oldest has been cancelled and the next one handled: the bound counts neither."""
    queue = await busy(max_queued=2, policy="drop_oldest")
    cancelled, second, third = (queue.enqueue(chat, f"{chat}0") for chat in "abc")
    assert cancelled.done()  # dropped for the third
    second.cancel()
    await ticks()
    fourth = queue.enqueue("d", "d0")
    assert not third.done()
    assert not fourth.done()
    assert queue.get_memory_stats().dropped == 1


async def test_dropping_a_posted_message_is_no_failure_to_report(busy, complaints, script):
    queue = await busy(max_queued=1, policy="drop_oldest")
    await queue.post("a", "a0")
    await queue.post("a", "a1")
    script.release("z0")
    await queue.join()
    assert script.order == ["z0", "a1"]
    assert complaints == []


async def test_drop_oldest_with_many_messages_keeps_no_more_than_the_bound(busy):
    queue = await busy(max_queued=10, policy="drop_oldest")
    results = [queue.enqueue(f"{n % 7}", f"{n % 7}") for n in range(1_000)]
    assert sum(not result.done() for result in results) == 10
    assert len(queue._room.by_age) <= 20 + 33


async def test_waiting_lets_messages_in_as_room_is_made(busy, script, ticks):
    queue = await busy(max_queued=1)
    results = [queue.enqueue("a", f"a{n}") for n in range(3)]
    stats = queue.get_memory_stats()
    assert (stats.total_queued, stats.waiting, stats.received) == (1, 2, 4)
    script.release("z0")
    assert await asyncio.gather(*results) == ["A0", "A1", "A2"]
    assert queue.get_memory_stats().waiting == 0


async def test_post_returns_when_there_is_room(busy, script, ticks):
    queue = await busy(max_queued=1)
    await queue.post("a", "a0")
    posting = asyncio.create_task(queue.post("a", "a1"))
    await ticks()
    assert not posting.done()
    script.release("z0")
    await posting
    await queue.join()
    assert script.order == ["z0", "a0", "a1"]


async def test_no_message_overtakes_one_of_its_chat_that_waits(busy, script, ticks):
    """Room is made over all, but a1 of the full chat waits: a2 goes behind it, b0 does not."""
    queue = await busy(max_queued=3, max_queued_per_chat=1)
    for message in ("a0", "a1", "b0", "a2"):
        queue.enqueue(message[0], message)
    stats = queue.get_memory_stats()
    assert (stats.total_queued, stats.waiting) == (2, 2)
    script.release("z0")
    await queue.join()
    assert [message for message in script.order if message[0] == "a"] == ["a0", "a1", "a2"]


async def test_chats_that_wait_take_turns(busy, script):
    """Chat a has three messages in line before b has one; b's is let in second."""
    queue = await busy(max_queued=1)
    for message in ("y0", "a0", "a1", "a2", "b0"):
        queue.enqueue(message[0], message)
    script.release("z0")
    await queue.join()
    assert script.order == ["z0", "y0", "a0", "b0", "a1", "a2"]


async def test_a_message_that_waits_can_be_cancelled(busy, script, ticks):
    queue = await busy(max_queued=1)
    results = [queue.enqueue("a", f"a{n}") for n in range(4)]
    results[2].cancel()
    await ticks()
    assert queue.get_memory_stats().waiting == 2
    script.release("z0")
    await queue.join()
    assert script.order == ["z0", "a0", "a1", "a3"]


async def test_a_chat_whose_waiting_messages_all_give_up_is_forgotten(busy, ticks):
    """Producers that time out in a full queue, again and again, leave nothing in any line."""
    queue = await busy(max_queued=1)
    queue.enqueue("a", "a0")
    for n in range(500):
        result = queue.enqueue(f"chat {n}", "b0")
        await asyncio.sleep(0)
        result.cancel()
    await ticks()
    stats = queue.get_memory_stats()
    assert (stats.total_chats, stats.waiting) == (2, 0)
    assert len(queue._room.standing) < 100


async def test_room_is_found_when_those_in_front_have_given_up(busy, ticks):
    """B's only waiting message is cancelled; the room that comes later goes to c, past b's place in line."""
    queue = await busy(max_queued=2, max_queued_per_chat=1)
    first = queue.enqueue("a", "a0")
    queue.enqueue("b", "b0")
    queue.enqueue("b", "b1").cancel()
    waiting = queue.enqueue("c", "c0")
    queue.enqueue("d", "d0").cancel()
    await ticks()
    first.cancel()
    await ticks()
    stats = queue.get_memory_stats()
    assert (stats.total_queued, stats.waiting) == (2, 0)
    assert not waiting.done()


async def test_closing_settles_those_that_wait_for_room(busy, ticks, script):
    queue = await busy(max_queued=1)
    results = [queue.enqueue("a", "a0"), queue.enqueue("a", "a1"), queue.enqueue("b", "b0")]
    posting = asyncio.create_task(queue.post("c", "c0"))
    await ticks()
    await queue.aclose("cancel")
    for result in (*results, posting):
        with pytest.raises(QueueClosed):
            await result
    assert script.order == ["z0"]


async def test_draining_handles_those_that_wait_for_room(busy, script):
    queue = await busy(max_queued=1)
    results = [queue.enqueue("a", "a0"), queue.enqueue("a", "a1"), queue.enqueue("b", "b0")]
    script.release("z0")
    await queue.aclose()
    assert [result.result() for result in results] == ["A0", "A1", "B0"]


async def test_a_stuck_handler_is_named_by_the_close(busy, script, clock, ticks):
    queue = await busy(max_queued=1)
    script.swallow.add("z0")
    closing = asyncio.create_task(queue.aclose("cancel", timeout=5))
    await ticks()
    await clock.advance(6)
    with pytest.raises(CloseTimeout, match=r"1 handlers.*'z'"):
        await closing
    script.release("z0")
