"""Other threads, other loops, and loops that end."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from reference_queue import LoopEnded, MessageQueue, QueueFull, WrongLoop


async def test_another_thread_gets_its_result(script):
    async with MessageQueue(script) as queue:
        result = await asyncio.to_thread(lambda: queue.enqueue_threadsafe("a", "a1").result(10))
        assert result == "A1"


async def test_messages_of_one_thread_keep_their_order(script):
    def send():
        return [queue.enqueue_threadsafe("a", f"a{n}") for n in range(100)]

    async with MessageQueue(script) as queue:
        results = await asyncio.to_thread(send)
        assert await asyncio.wrap_future(results[-1]) == "A99"
    assert script.order == [f"a{n}" for n in range(100)]


async def test_another_thread_gets_the_handlers_exception_and_the_queues_refusal(script):
    async with MessageQueue(script, workers=1, max_queued=1, policy="reject") as queue:
        script.hold("a1")
        failing = queue.enqueue_threadsafe("a", "a1")
        await script.begun("a1")
        queue.enqueue("a", "a2")
        refused = queue.enqueue_threadsafe("a", "a3")
        with pytest.raises(QueueFull):
            await asyncio.wrap_future(refused)
        script.release("a1", error=KeyError("a1"))
        with pytest.raises(KeyError, match="a1"):
            await asyncio.wrap_future(failing)
        unhashable = queue.enqueue_threadsafe([], "a3")
        with pytest.raises(TypeError, match="not hashable"):
            await asyncio.wrap_future(unhashable)


async def test_a_thread_that_cancels_withdraws_its_message_until_its_handling_begins(script, ticks):
    """Cancelling a future does not stop what has begun: the thread is told so by the False of cancel()."""
    async with MessageQueue(script) as queue:
        script.hold("a1")
        begun, queued = queue.enqueue_threadsafe("a", "a1"), queue.enqueue_threadsafe("a", "a2")
        not_even_there = queue.enqueue_threadsafe("a", "a3")
        assert not_even_there.cancel()
        await script.begun("a1")
        assert not begun.cancel()
        assert queued.cancel()
        await ticks()
        assert queue.get_memory_stats().total_queued == 0
        script.release("a1")
        assert await asyncio.wrap_future(begun) == "A1"
    assert script.order == ["a1"]


async def test_a_message_that_its_thread_cancels_in_the_step_of_its_turn_is_not_handled(script):
    async with MessageQueue(script, workers=1) as queue:
        script.hold("a1")
        queue.enqueue("a", "a1")
        queued = queue.enqueue_threadsafe("a", "a2")
        await script.begun("a1")
        script._gates["a1"].add_done_callback(lambda _: queued.cancel())
        script.release("a1")
        await queue.join()
    assert script.order == ["a1"]
    assert queued.cancelled()


async def test_a_deadline_counts_for_other_threads_too(script, clock):
    async with MessageQueue(script) as queue:
        script.hold("a1")
        result = queue.enqueue_threadsafe("a", "a1", deadline=5)
        await script.begun("a1")
        await clock.advance(6)
        assert isinstance(result.exception(0), TimeoutError)


async def test_enqueue_in_a_thread_without_a_loop_says_what_to_use(script):
    async with MessageQueue(script) as queue:
        with pytest.raises(WrongLoop, match="enqueue_threadsafe"):
            await asyncio.to_thread(queue.enqueue, "a", "a1")


async def test_a_thread_cannot_send_before_the_queue_knows_its_loop(script):
    queue = MessageQueue(script)
    with pytest.raises(WrongLoop, match="async with queue"):
        queue.enqueue_threadsafe("a", "a1")


def test_a_queue_belongs_to_one_loop(script):
    queue = MessageQueue(script)

    async def send():
        return await queue.enqueue("a", "a1")

    assert asyncio.run(send()) == "A1"
    with pytest.raises(WrongLoop, match=r"belongs to .* was called in"):
        asyncio.run(send())
    with pytest.raises(WrongLoop, match="is closed"):
        queue.enqueue_threadsafe("a", "a1")


async def test_a_queue_is_not_used_from_the_loop_of_another_thread(script):
    async def send():
        return await queue.enqueue("a", "a1")

    async with MessageQueue(script) as queue:
        with pytest.raises(WrongLoop):
            await asyncio.to_thread(lambda: asyncio.run(send()))


@pytest.mark.parametrize("workers", [1, 3])
def test_asyncio_run_that_ends_with_messages_queued_settles_them(run_program, workers):
    """Some being handled, some queued, some waiting for room, some from a thread."""
    assert run_program(
        f"""
        results = []

        async def handler(message):
            await asyncio.Event().wait()

        async def main():
            queue = MessageQueue(handler, workers={workers}, max_queued=2)
            results.extend(queue.enqueue("a", n) for n in range(4))
            await asyncio.sleep(0)
            results.append(queue.enqueue_threadsafe("a", 4))
            for _ in range(10):
                await asyncio.sleep(0)
            assert queue.get_memory_stats().waiting == 2

        asyncio.run(main())
        show(results)
        """
    ) == ["cancelled", "LoopEnded", "LoopEnded", "LoopEnded", "LoopEnded"]


def test_a_thread_is_not_left_waiting_when_the_loop_closes_before_its_message_arrives(script):
    queue = MessageQueue(script)
    loop = asyncio.new_event_loop()

    async def enter():
        await queue.join()

    loop.run_until_complete(enter())
    result = queue.enqueue_threadsafe("a", "a1")
    loop.close()
    gc.collect()
    with pytest.raises(LoopEnded, match="aclose"):
        result.result(10)


def test_threads_that_wait_are_told_when_a_loop_is_closed_with_a_handler_at_work(run_program):
    """No task is cancelled, the loop just closed: whatever asyncio says, no thread waits for ever."""
    assert run_program(
        """
        def leave():
            async def handler(message):
                await asyncio.get_running_loop().create_future()

            async def main():
                queue = MessageQueue(handler)
                await queue.join()
                answers = [queue.enqueue_threadsafe("a", n) for n in range(3)]
                for _ in range(10):
                    await asyncio.sleep(0)
                assert queue.get_memory_stats().processing == 1
                return answers

            loop = asyncio.new_event_loop()
            answers = loop.run_until_complete(main())
            loop.close()
            return answers

        answers = leave()
        gc.collect()
        print("pending" in [answer._state.lower() for answer in answers])
        print(all(answer.done() for answer in answers))
        """
    ) == ["False", "True"]


def test_a_future_of_a_loop_that_was_closed_over_it_can_be_cancelled(run_program):
    """The queue is lost with its loop; the caller's cancellation finds nothing to withdraw, and raises nothing."""
    assert run_program(
        """
        async def handler(message):
            await asyncio.get_running_loop().create_future()

        async def main():
            results.extend(queue.enqueue("a", n) for n in range(2))
            await asyncio.sleep(0)

        results = []
        queue = MessageQueue(handler)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        print(queue.get_memory_stats().total_queued)
        print(all([result.cancel() for result in results]))
        print(all(result.cancelled() for result in results))
        """
    ) == ["1", "True", "True"]


async def test_everything_being_cancelled_settles_everything_and_the_queue_can_go_on(script, ticks):
    """A program that cancels all tasks but its own: nothing hangs, and the next message is handled."""
    async with MessageQueue(script, workers=1) as queue:
        script.hold("a1")
        results = [queue.enqueue(message[0], message) for message in ("a1", "a2", "b1")]
        await script.begun("a1")
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await ticks()
        assert results[0].cancelled()
        assert [type(result.exception()) for result in results[1:]] == [LoopEnded] * 2
        assert await queue.enqueue("a", "a3") == "A3"


async def test_figures_can_be_read_from_any_thread(script, ticks):
    wrong = []
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            stats = queue.get_memory_stats()
            if stats.pending_promises > stats.processing:
                wrong.append(stats)

    async def handler(_message):
        await asyncio.sleep(0)

    async with MessageQueue(handler, workers=8) as queue:
        watching = asyncio.create_task(asyncio.to_thread(watch))
        for n in range(200):
            await asyncio.gather(*(queue.enqueue(chat, n) for chat in range(10)))
        stop.set()
        await watching
    assert wrong == []


def test_asyncio_run_that_ends_before_the_first_worker_runs_settles_what_is_queued(run_program):
    """The messages are sent by the last thing that happens before asyncio.run cancels all tasks."""
    assert (
        run_program(
            """
        results = []

        async def handler(message):
            return "handled"

        async def main():
            queue = MessageQueue(handler, workers=1)
            asyncio.current_task().add_done_callback(
                lambda _: results.extend(queue.enqueue(chat, chat) for chat in "abc")
            )

        asyncio.run(main())
        show(results)
        """
        )
        == ["LoopEnded"] * 3
    )
