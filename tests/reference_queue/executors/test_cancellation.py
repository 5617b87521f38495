"""What becomes of the future, of the work and of the chat: each row of the table of `reference_queue.executors`."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import threading

import pytest

from reference_queue import (
    CloseTimeout,
    DeadlineExceeded,
    ExecutorClosed,
    HandlerTimeout,
    MessageQueue,
    QueueClosed,
    WorkerDied,
)


@contextlib.asynccontextmanager
async def chat_at_work(gate, executor, **options):
    """A queue that handles a1, with a2 of the same chat behind it."""
    async with MessageQueue(executor) as queue:
        first, second = gate.enqueue(queue, "a1", **options), gate.enqueue(queue, "a2")
        visit = await gate.begun("a1")
        yield queue, visit, first, second
        (await gate.begun("a2")).order("return")
        assert await second == "A2"
        assert gate.names == ["a1", "a2"]


# -- the caller cancels


async def test_a_message_cancelled_before_it_begins_is_never_handled(kind, make, gate):
    async with MessageQueue(make(kind)) as queue:
        first, second, third = (gate.enqueue(queue, name) for name in ("a1", "a2", "a3"))
        visit = await gate.begun("a1")
        second.cancel()
        visit.order("return")
        (await gate.begun("a3")).order("return")
        assert (await first, await third) == ("A1", "A3")
    assert gate.names == ["a1", "a3"]


async def test_a_caller_that_cancels_a_begun_message_leaves_the_work_and_the_chat_alone(kind, make, gate, ticks):
    async with chat_at_work(gate, make(kind, workers=2)) as (queue, visit, first, _):
        first.cancel()
        await ticks()
        assert gate.names == ["a1"]
        stats = queue.get_memory_stats()
        assert (stats.processing, stats.total_queued) == (1, 1)
        visit.order("return")


async def test_what_a_cancelled_message_raises_is_reported_once(kind, make, gate, complaints):
    async with chat_at_work(gate, make(kind)) as (_, visit, first, _):
        first.cancel()
        visit.order("raise")
    assert [complaint["exception"].args for complaint in complaints] == [("a1",)]


# -- deadline


async def test_the_chat_of_a_thread_stays_busy_after_its_deadline_until_the_work_ends(
    unstoppable, make, gate, clock, ticks
):
    async with chat_at_work(gate, make(unstoppable, workers=2), deadline=5) as (queue, visit, first, _):
        await clock.advance(6)
        with pytest.raises(DeadlineExceeded):
            await first
        await ticks()
        assert gate.names == ["a1"]
        assert queue.get_memory_stats().overdue == 1
        visit.order("return")


async def test_a_thread_that_fails_after_its_deadline_is_reported(unstoppable, make, gate, clock, complaints):
    async with chat_at_work(gate, make(unstoppable), deadline=5) as (_, visit, _, _):
        await clock.advance(6)
        visit.order("raise")
    assert [complaint["exception"].args for complaint in complaints] == [("a1",)]


async def test_the_process_is_stopped_at_the_deadline_and_the_chat_goes_on_with_another_one(make, gate, clock):
    async with chat_at_work(gate, make("processes"), deadline=5) as (_, visit, first, _):
        await clock.advance(6)
        with pytest.raises(DeadlineExceeded):
            await first
        await visit.gone()
        assert (await gate.begun("a2")).pid != visit.pid


async def test_a_process_that_ignores_sigterm_is_killed_and_keeps_its_chat_until_it_is_dead(make, gate, clock, ticks):
    async with chat_at_work(gate, make("processes", workers=2), deadline=5) as (_, visit, first, _):
        await visit.obeyed("ignore SIGTERM")
        await clock.advance(6)
        assert isinstance(first.exception(), DeadlineExceeded)
        await visit.obeyed("ignore SIGTERM")  # it is still there
        assert gate.names == ["a1"]
        await clock.advance(1)
        await visit.gone()


async def test_a_message_that_waits_for_a_worker_until_its_deadline_is_not_handled_and_frees_its_chat(
    kind, make, gate, clock
):
    async with MessageQueue(make(kind)) as queue:
        first, late, following = (
            gate.enqueue(queue, "a1"),
            gate.enqueue(queue, "b1", deadline=5),
            gate.enqueue(queue, "b2"),
        )
        visit = await gate.begun("a1")
        await clock.advance(6)
        with pytest.raises(DeadlineExceeded):
            await late
        visit.order("return")
        (await gate.begun("b2")).order("return")
        assert (await first, await following) == ("A1", "B2")
    assert gate.names == ["a1", "b2"]


# -- close


async def test_closing_waits_for_a_thread_names_its_chat_and_settles_its_future_at_once(
    unstoppable, make, gate, clock, ticks
):
    queue = MessageQueue(make(unstoppable))
    results = gate.enqueue(queue, "a1"), gate.enqueue(queue, "a2")
    visit = await gate.begun("a1")
    closing = asyncio.create_task(queue.aclose("cancel", timeout=5))
    await ticks()
    assert [type(result.exception()) for result in results] == [QueueClosed] * 2
    await clock.advance(6)
    with pytest.raises(CloseTimeout, match="chats 'a'"):
        await closing
    visit.order("return")
    await queue.aclose()
    assert gate.names == ["a1"]


async def test_closing_stops_a_process(make, gate):
    queue = MessageQueue(make("processes"))
    results = gate.enqueue(queue, "a1"), gate.enqueue(queue, "a2")
    visit = await gate.begun("a1")
    await queue.aclose("cancel")
    assert multiprocessing.active_children() == []
    await visit.gone()
    assert [type(result.exception()) for result in results] == [QueueClosed] * 2
    assert gate.names == ["a1"]


async def test_an_executor_closed_before_its_queue_waits_for_threads(unstoppable, make, gate, clock, ticks):
    executor = make(unstoppable)
    async with MessageQueue(executor) as queue:
        first, waiting = gate.enqueue(queue, "a1"), gate.enqueue(queue, "b1")
        visit = await gate.begun("a1")
        closing = asyncio.create_task(executor.aclose(timeout=5))
        with pytest.raises(ExecutorClosed, match="Close the queue first"):
            await waiting
        await ticks()
        await clock.advance(6)
        with pytest.raises(CloseTimeout, match=r"1 handlers still run in in_\w+\(visit\)"):
            await closing
        visit.order("return")
        await executor.aclose()
        assert await first == "A1"
        with pytest.raises(ExecutorClosed):
            await gate.enqueue(queue, "a2")


async def test_a_close_that_is_cancelled_leaves_workers_that_end_with_their_work(unstoppable, make, gate):
    executor = make(unstoppable, workers=2)
    queue = MessageQueue(executor)
    results = gate.enqueue(queue, "a1"), gate.enqueue(queue, "b1")
    at_work, idle = await gate.begun("a1"), await gate.begun("b1")
    idle.order("return")
    await results[1]
    closing = asyncio.create_task(executor.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    at_work.order("return")
    assert await results[0] == "A1"
    assert "busy=0 idle=0" in repr(executor)
    async with asyncio.timeout(30):
        while any(each.name.startswith("reference_queue") for each in threading.enumerate()):  # noqa: ASYNC110 - threads end, and nobody is told
            await asyncio.sleep(0.01)
    await queue.aclose()


async def test_an_executor_closed_before_its_queue_stops_processes(make, gate):
    executor = make("processes")
    async with MessageQueue(executor) as queue:
        first, waiting = gate.enqueue(queue, "a1"), gate.enqueue(queue, "b1")
        await gate.begun("a1")
        await executor.aclose()
        for result in (first, waiting):
            with pytest.raises(ExecutorClosed):
                await result


# -- a worker dies or hangs


@pytest.mark.parametrize(
    ("order", "ending", "code"), [("exit 3", "exit code 3", 3), ("die SIGSEGV", "killed by SIGSEGV", -11)]
)
async def test_a_process_that_dies_fails_its_message_and_no_other_one(make, gate, order, ending, code):
    async with MessageQueue(make("processes", workers=2)) as queue:
        dying, following, other = (gate.enqueue(queue, name) for name in ("a1", "a2", "b1"))
        visit, beside = await gate.begun("a1"), await gate.begun("b1")
        visit.order(order)
        with pytest.raises(WorkerDied, match=f"died while it handled the message: {ending}") as caught:
            await dying
        assert caught.value.exitcode == code
        successor = await gate.begun("a2")
        assert successor.pid not in (visit.pid, beside.pid)
        for each in (successor, beside):
            each.order("return")
        assert (await following, await other) == ("A2", "B1")
    assert sorted(gate.names) == ["a1", "a2", "b1"]


async def test_a_process_that_dies_is_missed_even_if_one_that_it_forked_holds_its_sockets(make, gate):
    async with MessageQueue(make("processes")) as queue:
        result = gate.enqueue(queue, "a1")
        visit = await gate.begun("a1")
        await visit.obeyed("fork")
        await gate.begun("forked")
        visit.order("exit 5")
        with pytest.raises(WorkerDied, match="exit code 5"):
            await result


async def test_a_process_that_hangs_is_stopped_after_its_time_and_the_chat_goes_on(make, gate, clock):
    async with chat_at_work(gate, make("processes", timeout=5)) as (_, visit, first, _):
        await clock.advance(4)
        assert not first.done()
        await clock.advance(2)
        with pytest.raises(HandlerTimeout, match=r"within 5 s \(the timeout of in_processes\(visit\)\)"):
            await first
        await visit.gone()


async def test_a_thread_that_hangs_holds_its_worker_and_nobody_elses(unstoppable, make, gate, clock):
    async with MessageQueue(make(unstoppable, workers=2)) as queue:
        hanging = gate.enqueue(queue, "a1", deadline=5)
        visit = await gate.begun("a1")
        await clock.advance(6)
        assert isinstance(hanging.exception(), DeadlineExceeded)
        for name in ("b1", "c1"):
            result = gate.enqueue(queue, name)
            (await gate.begun(name)).order("return")
            assert await result == name.upper()
        visit.order("return")


# -- between the rows


async def test_a_worker_that_comes_in_the_step_of_a_cancellation_goes_to_the_next_in_line(kind, make, gate, ticks):
    executor = make(kind)
    calls = [asyncio.create_task(executor(gate.job(name))) for name in ("a1", "b1", "c1")]
    visit = await gate.begun("a1")
    await ticks()
    give_back = executor._give_back

    def give_back_and_cancel(worker):
        executor._give_back = give_back
        give_back(worker)
        calls[1].cancel()

    executor._give_back = give_back_and_cancel
    visit.order("return")
    (await gate.begun("c1")).order("return")
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [results[0], type(results[1]), results[2]] == ["A1", asyncio.CancelledError, "C1"]
    await executor.aclose()
    assert gate.names == ["a1", "c1"]


async def test_a_result_that_nobody_takes_any_more_is_a_cancellation(unstoppable, make, gate, ticks):
    executor = make(unstoppable)
    call = asyncio.create_task(executor(gate.job("a1")))
    visit = await gate.begun("a1")
    for _ in range(3):
        call.cancel()
        await ticks()
    assert not call.done()
    visit.order("return")
    with pytest.raises(asyncio.CancelledError):
        await call
    await executor.aclose()
