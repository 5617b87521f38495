"""Observers: what they are told, when, and that nothing they do harms a message."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import weakref

import pytest

from reference_queue import (
    CloseTimeout,
    DeadlineExceeded,
    HandlerNotAwaitable,
    MessageQueue,
    Observer,
    QueueClosed,
    QueueFull,
    ReentrantEnqueue,
)


class Notes(Observer):
    """Writes down what it is told."""

    def __init__(self):
        self.told = []

    def accepted(self, waited, /):
        self.told.append(("accepted", waited))

    def refused(self, error, /):
        self.told.append(("refused", error))

    def begun(self, waited, /):
        self.told.append(("begun", waited))

    def given_up(self, waited, outcome, /):
        self.told.append(("given up", waited, outcome))

    def handled(self, took, outcome, error, /):
        self.told.append(("handled", took, outcome, error))


@pytest.fixture
def notes():
    return Notes()


async def test_an_observer_is_told_how_long_a_message_waits_and_is_handled(clock, script, notes):
    async with MessageQueue(script, workers=1, observer=notes) as queue:
        script.hold("a1", "b1")
        first, second = queue.enqueue("a", "a1"), queue.enqueue("b", "b1")
        await script.begun("a1")
        await clock.advance(3)
        script.release("a1")
        await script.begun("b1")
        await clock.advance(4)
        script.release("b1")
        assert await first == "A1"
        assert await second == "B1"
    assert notes.told == [
        ("accepted", 0.0),
        ("accepted", 0.0),
        ("begun", 0.0),
        ("handled", 3.0, "completed", None),
        ("begun", 3.0),
        ("handled", 4.0, "completed", None),
    ]


async def test_a_failure_and_a_cancellation_are_told_with_their_classes(notes):
    async def end(error):
        raise error

    async with MessageQueue(end, observer=notes) as queue:
        await asyncio.wait([queue.enqueue("a", KeyError()), queue.enqueue("a", asyncio.CancelledError())])
    assert [facts[2:] for facts in notes.told if facts[0] == "handled"] == [
        ("failed", KeyError),
        ("cancelled", asyncio.CancelledError),
    ]


async def test_what_is_wrong_at_the_call_of_the_handler_is_told_too(notes):
    """The caller gets the same error as from a queue that nobody observes."""

    def handler(message):
        if message == "raise":
            raise StopIteration(message)
        return message

    outcomes = []
    for observer in (None, notes):
        async with MessageQueue(handler, observer=observer) as queue:
            results = [queue.enqueue("a", message) for message in ("raise", "return")]
            outcomes.append([repr(each) for each in await asyncio.gather(*results, return_exceptions=True)])
    assert outcomes[0] == outcomes[1]
    assert [facts[2:] for facts in notes.told if facts[0] == "handled"] == [
        ("failed", StopIteration),
        ("failed", HandlerNotAwaitable),
    ]


async def test_messages_that_are_never_handled_are_told_with_the_time_they_waited(clock, script, notes, ticks):
    queue = MessageQueue(script, workers=1, max_queued_per_chat=2, policy="drop_oldest", observer=notes)
    script.hold("a1")
    queue.enqueue("a", "a1")
    await script.begun("a1")
    withdrawn, dropped = queue.enqueue("b", "b1"), queue.enqueue("c", "c1")
    late = queue.enqueue("d", "d1", deadline=4)
    queue.enqueue("c", "c2")
    notes.told.clear()
    await clock.advance(2)
    withdrawn.cancel()
    await ticks()
    await clock.advance(1)
    closed = queue.enqueue("c", "c3")
    await clock.advance(1)
    with pytest.raises(DeadlineExceeded):
        await late
    script.swallow.add("a1")
    await clock.advance(1)
    closing = asyncio.create_task(queue.aclose("cancel"))
    with pytest.raises(QueueClosed):
        await closed
    await clock.advance(1)
    script.release("a1")
    await closing
    assert dropped.done()
    assert notes.told == [
        ("given up", 2.0, "cancelled"),
        ("accepted", 0.0),
        ("given up", 3.0, "dropped"),
        ("given up", 4.0, "expired"),
        ("given up", 5.0, "cancelled"),
        ("given up", 2.0, "cancelled"),
        ("handled", 6.0, "cancelled", QueueClosed),
    ]


async def test_a_handler_that_outlives_its_deadline_is_told_when_it_ends(clock, script, notes, ticks):
    async with MessageQueue(script, observer=notes) as queue:
        script.hold("a1")
        script.swallow.add("a1")
        result = queue.enqueue("a", "a1", deadline=2)
        await script.begun("a1")
        await clock.advance(2)
        with pytest.raises(DeadlineExceeded):
            await result
        assert notes.told[-1] == ("begun", 0.0)
        await clock.advance(5)
        script.release("a1")
        await ticks()
        assert notes.told[-1] == ("handled", 7.0, "expired", DeadlineExceeded)


async def test_a_handler_that_ignores_the_close_is_counted_and_told_once_though_its_deadline_passes(
    clock, script, notes, ticks
):
    queue = MessageQueue(script, observer=notes)
    script.hold("a1")
    script.swallow.add("a1")
    queue.enqueue("a", "a1", deadline=2)
    await script.begun("a1")
    closing = asyncio.create_task(queue.aclose("cancel", timeout=1))
    await ticks()
    await clock.advance(1)
    with pytest.raises(CloseTimeout):
        await closing
    await clock.advance(1)
    script.release("a1")
    await queue.join()
    stats = queue.get_memory_stats()
    assert (stats.received, stats.cancelled, stats.expired) == (1, 1, 0)
    assert notes.told[-1] == ("handled", 2.0, "cancelled", QueueClosed)
    await queue.aclose()


async def test_waiting_for_room_is_part_of_the_wait_and_told_when_it_ends(clock, script, notes, ticks):
    async with MessageQueue(script, workers=1, max_queued=1, observer=notes) as queue:
        script.hold("a1", "a2")
        queue.enqueue("a", "a1")
        await script.begun("a1")
        queue.enqueue("a", "a2")
        queue.enqueue("a", "a3")
        queue.enqueue("a", "a4", deadline=1)
        notes.told.clear()
        await clock.advance(1)
        assert notes.told == [("given up", 1.0, "expired")]
        await clock.advance(1)
        script.release("a1")
        await ticks()
        assert notes.told[1:] == [("handled", 2.0, "completed", None), ("accepted", 2.0), ("begun", 2.0)]
        await clock.advance(1)
        script.release("a2")
        await queue.join()
        assert notes.told[4:] == [
            ("handled", 1.0, "completed", None),
            ("begun", 3.0),
            ("handled", 0.0, "completed", None),
        ]


async def test_a_refusal_for_want_of_room_is_told_and_a_mistake_is_not(script, notes):
    async with MessageQueue(script, max_queued=1, policy="reject", observer=notes) as queue:
        queue.enqueue("a", "a1")
        with pytest.raises(QueueFull):
            queue.enqueue("a", "a2")
        with pytest.raises(TypeError):
            queue.enqueue([], "a3")
    with pytest.raises(QueueClosed):
        queue.enqueue("a", "a4")
    assert [facts for facts in notes.told if facts[0] == "refused"] == [("refused", QueueFull)]

    async def ask_oneself(message):
        await queue.enqueue("a", message)

    async with MessageQueue(ask_oneself, observer=notes) as queue:
        with pytest.raises(ReentrantEnqueue):
            await queue.enqueue("a", "a5")
    assert [facts[0] for facts in notes.told].count("refused") == 1


async def test_the_wait_of_a_message_from_a_thread_begins_with_the_threads_call(clock, script, notes):
    async with MessageQueue(script, observer=notes) as queue:
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            answer = threads.submit(queue.enqueue_threadsafe, "a", "a1").result()
        clock.now += 2  # before the loop hears of it
        assert await asyncio.wrap_future(answer) == "A1"
    assert notes.told == [("accepted", 2.0), ("begun", 2.0), ("handled", 0.0, "completed", None)]


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, StopIteration])
async def test_an_observer_that_raises_harms_no_message_and_is_reported_once(error, script, complaints):
    def fail(*_facts):
        raise error

    class Broken:
        accepted = refused = begun = given_up = handled = staticmethod(fail)

    queue = MessageQueue(script, workers=1, max_queued=3, policy="reject", observer=Broken())
    script.hold("a1")
    results = [queue.enqueue("a", f"a{number}") for number in (1, 2, 3)]
    with pytest.raises(QueueFull):
        queue.enqueue("a", "a4")
    await script.begun("a1")
    results[1].cancel()
    script.release("a1")
    await queue.post("b", "b1")
    await queue.aclose()
    assert [result.cancelled() or result.result() for result in results] == ["A1", True, "A3"]
    stats = queue.get_memory_stats()
    assert (stats.received, stats.completed, stats.cancelled, stats.rejected) == (4, 3, 1, 1)
    assert [(each["message"], type(each["exception"])) for each in complaints] == [
        ("The observer of a queue failed; further failures of it are not reported", error)
    ]


async def test_keyboard_interrupt_in_an_observer_goes_on_to_the_loop_once_the_message_is_settled(run_program):
    """As in a handler: who presses Ctrl-C while an observer runs is not ignored."""
    lines = run_program(
        """
        class Interrupted(Observer):
            def begun(self, waited, /):
                raise KeyboardInterrupt

        async def handler(message):
            return message

        async def main():
            global result
            queue = MessageQueue(handler, observer=Interrupted())
            result = queue.enqueue("a", "a1")
            await result

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        show([result])
        """
    )
    assert lines == ["interrupted", "KeyboardInterrupt"]


def test_what_is_no_observer_is_refused(script):
    with pytest.raises(TypeError, match=r"observer=42 is no observer\. Give an object of a class that inherits"):
        MessageQueue(script, observer=42)


async def test_a_class_that_inherits_needs_no_method_of_its_own(script, complaints):
    class Deaf(Observer):
        """Is interested in nothing."""

    async with MessageQueue(script, max_queued=1, policy="reject", observer=Deaf()) as queue:
        result = queue.enqueue("a", "a1")
        with pytest.raises(QueueFull):
            queue.enqueue("a", "a2")
        assert await result == "A1"
    assert complaints == []


async def test_an_observed_queue_keeps_neither_message_nor_error_nor_result(notes, ticks):
    class ThingError(Exception):
        """A message, a result and an error in one."""

    async def handler(message):
        if message.args:
            raise message
        return message

    async with MessageQueue(handler, observer=notes) as queue:
        things = [ThingError(), ThingError("raise")]
        await asyncio.gather(*(queue.enqueue("a", thing) for thing in things), return_exceptions=True)
        gone = [weakref.ref(thing) for thing in things]
        things.clear()
        await ticks()
        gc.collect()
        assert [reference() for reference in gone] == [None, None]


async def test_the_traceback_of_an_observed_failure_begins_in_the_handler(notes):
    async def handler(message):
        raise KeyError(message)

    async with MessageQueue(handler, observer=notes) as queue:
        with pytest.raises(KeyError) as caught:
            await queue.enqueue("a", "a1")
    assert [entry.name for entry in caught.traceback][1:] == ["handler"]  # after this test's own line
