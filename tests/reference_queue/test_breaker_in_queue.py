"""A queue with a memory breaker: who waits, and who is refused."""

import asyncio

import pytest

from reference_queue import LoopEnded, MemoryFull, MessageDropped, QueueClosed


async def test_messages_wait_while_it_is_open_and_come_in_order_when_it_closes(closing, script, memory, clock):
    queue = closing(script)
    memory.percent = 85
    results = [queue.enqueue("a", message) for message in ("a1", "a2", "a3")]
    await clock.advance(5)
    stats = queue.get_memory_stats()
    assert (stats.waiting, stats.total_queued, script.order) == (3, 0, [])
    memory.percent = 69
    await clock.advance(1.1)
    assert [await result for result in results] == ["A1", "A2", "A3"]
    assert script.order == ["a1", "a2", "a3"]


async def test_a_post_feels_the_pressure(closing, script, memory, clock):
    queue = closing(script)
    memory.percent = 85
    posted = asyncio.create_task(queue.post("a", "a1"))
    await clock.advance(5)
    assert not posted.done()
    memory.percent = 60
    await clock.advance(1.1)
    await posted


async def test_what_is_queued_already_is_handled_while_it_is_open(closing, script, memory, clock):
    queue = closing(script)
    before = queue.enqueue("a", "a1")
    memory.percent = 85
    await clock.advance(1.1)
    after = queue.enqueue("a", "a2")
    assert await before == "A1"
    assert not after.done()


async def test_nothing_of_it_is_left_once_nobody_waits(closing, script, memory, clock):
    queue = closing(script)
    memory.percent = 85
    first, second = queue.enqueue("a", "a1"), queue.enqueue("b", "b1", deadline=3)
    assert len(queue._pool.tasks) == 2  # the lookout and its sentinel
    first.cancel()
    await clock.advance(3.1)
    assert second.done()
    await clock.advance(0)
    assert queue._pool.tasks == set()
    assert queue.get_memory_stats().total_chats == 0


async def test_who_waits_again_at_once_is_seen_to(closing, script, memory, clock):
    queue = closing(script)
    memory.percent = 85
    queue.enqueue("a", "a1").cancel()
    await asyncio.sleep(0)  # the callback of the cancelled future has told the lookout to stop, who has not ended yet
    result = queue.enqueue("a", "a2")
    await clock.advance(5)
    memory.percent = 60
    await clock.advance(1.1)
    assert await result == "A2"


async def test_half_open_lets_one_waiting_message_in(closing, script, memory, clock):
    queue = closing(script)
    memory.percent = 85
    results = [queue.enqueue(chat, f"{chat}1") for chat in "abc"]
    for _ in range(33):
        await clock.advance(1)
    assert [result.done() for result in results] == [True, False, False]


async def test_reject_refuses_with_what_is_full_and_what_to_do(closing, script, memory):
    queue = closing(script, policy="reject")
    memory.percent = 85
    with pytest.raises(MemoryFull, match=r"85%, 0 MiB of 0 MiB \(a test\); the breaker opened at 80%\..*Send later"):
        queue.enqueue("a", "a1")
    assert queue.get_memory_stats().rejected == 1
    assert queue.get_memory_stats().total_chats == 0


async def test_a_handler_of_the_queue_does_not_wait_for_memory(closing, memory, clock):
    async def handler(message):
        if message == "outer":
            memory.percent = 85
            await clock.advance(1.1)
            await queue.post("b", "inner")

    queue = closing(handler)
    with pytest.raises(MemoryFull, match="The caller is a handler of this queue"):
        await queue.enqueue("a", "outer")


async def test_drop_oldest_puts_the_message_in_the_place_of_the_oldest(closing, script, memory, clock):
    queue = closing(script, policy="drop_oldest", workers=1)
    script.hold("a1")
    results = [queue.enqueue("a", message) for message in ("a1", "a2")]
    await script.begun("a1")
    memory.percent = 85
    await clock.advance(1.1)
    newest = queue.enqueue("b", "b1")
    with pytest.raises(MessageDropped):
        await results[1]
    script.release("a1")
    assert await newest == "B1"


async def test_drop_oldest_refuses_where_there_is_nothing_to_drop(closing, script, memory):
    queue = closing(script, policy="drop_oldest")
    memory.percent = 85
    with pytest.raises(MemoryFull, match="choose the policy 'wait'"):
        queue.enqueue("a", "a1")


async def test_a_bound_that_is_reached_is_told_as_the_bound_even_if_memory_is_full_too(closing, script, memory, clock):
    queue = closing(script, policy="reject", max_queued_per_chat=1, workers=1)
    script.hold("a1")
    queue.enqueue("a", "a1")
    await script.begun("a1")
    queue.enqueue("a", "a2")
    memory.percent = 85
    await clock.advance(1.1)
    with pytest.raises(Exception, match="max_queued_per_chat=1") as caught:
        queue.enqueue("a", "a3")
    assert not isinstance(caught.value, MemoryFull)
    script.release("a1")


async def test_a_drain_lets_all_in_that_wait_for_memory(closing, script, memory, clock):
    """They take their memory already, and nobody else comes."""
    queue = closing(script)
    memory.percent = 85
    results = [queue.enqueue("a", message) for message in ("a1", "a2")]
    await clock.advance(2)
    await queue.aclose()
    assert [result.result() for result in results] == ["A1", "A2"]
    assert queue._pool.tasks == set()


async def test_a_cancelling_close_settles_all_that_wait_for_memory(closing, memory, clock):
    async def handler(message):
        await clock.advance(0)

    queue = closing(handler)
    memory.percent = 85
    results = [queue.enqueue(chat, chat) for chat in "ab"]
    await queue.aclose("cancel")
    for result in results:
        assert not isinstance(result.exception(), (MemoryFull, LoopEnded))
        assert result.exception() is None or isinstance(result.exception(), QueueClosed)


async def test_a_lookout_that_is_cancelled_alone_is_replaced_and_nobody_is_given_up(closing, script, memory, clock):
    queue = closing(script)
    memory.percent = 85
    results = [queue.enqueue(chat, f"{chat}1") for chat in "ab"]
    await clock.advance(1.1)
    (lookout,) = [task for task in asyncio.all_tasks() if task.get_name() == "reference_queue lookout"]
    lookout.cancel()
    await clock.advance(1.1)
    assert not any(result.done() for result in results)
    memory.percent = 60
    await clock.advance(1.1)
    assert [await result for result in results] == ["A1", "B1"]
    await clock.advance(0)
    assert queue._pool.tasks == set()


async def test_a_lookout_that_fails_is_reported_and_replaced(closing, script, memory, clock, complaints):
    queue = closing(script)
    memory.percent = 85
    result = queue.enqueue("a", "a1")
    await clock.advance(0)
    memory.percent = 60
    queue._room.let_in = lambda: 1 / 0
    await clock.advance(1.1)
    del queue._room.let_in
    assert ["The lookout of a queue failed" in told["message"] for told in complaints] == [True]
    await clock.advance(1.1)
    assert await result == "A1"


def test_a_loop_that_ends_settles_what_waits_for_memory(run_program):
    """No worker is alive then that could do it."""
    program = """
    async def handler(message):
        return message

    async def main():
        breaker = MemoryBreaker(meter=lambda: Reading(9, 10, "a test"))
        queue = MessageQueue(handler, breaker=breaker)
        results.append(queue.enqueue("a", "a1"))

    results = []
    asyncio.run(main())
    show(results)
    """
    assert run_program(program) == ["LoopEnded"]
