"""Wrong usage: the error says what was given, what is valid and what to do."""

from __future__ import annotations

import inspect
import re

import pytest

import reference_queue
from reference_queue import MemoryBreaker, MessageQueue, Observer, QueueError


async def handler(message):
    return message


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"workers": 0}, ValueError, "workers=0 is too small. Give a whole number of at least 1."),
        ({"workers": 1.5}, TypeError, "workers=1.5 is not an int. Give a whole number of at least 1."),
        ({"workers": True}, TypeError, "workers=True is not an int."),
        ({"batch": 0}, ValueError, "batch=0 is too small."),
        ({"max_queued": 0}, ValueError, "max_queued=0 is too small."),
        ({"max_queued_per_chat": "3"}, TypeError, "None means no bound; to take no message, close the queue."),
        ({"policy": "drop"}, ValueError, "policy='drop' is unknown. Choose one of 'wait', 'reject', 'drop_oldest'."),
        ({"default_deadline": 0}, ValueError, "default_deadline=0 is out of range. Give seconds above 0, or None"),
        ({"default_deadline": "5"}, TypeError, "default_deadline='5' is not a number. Give seconds, or None"),
        ({"default_deadline": float("nan")}, ValueError, "default_deadline=nan is out of range."),
        ({"breaker": 0.8}, TypeError, "breaker=0.8 is no breaker. Give a MemoryBreaker(), or None for none."),
        ({"breaker": MemoryBreaker}, TypeError, "is no breaker. Give a MemoryBreaker(), or None for none."),
        ({"observer": 1}, TypeError, "observer=1 is no observer. Give an object of a class that inherits from"),
        ({"observer": Observer}, TypeError, "is no observer. Give an object of a class that inherits from"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_right(options, error, text):
    with pytest.raises(error, match=re.escape(text)):
        MessageQueue(handler, **options)


def test_a_handler_that_cannot_be_called_is_named():
    with pytest.raises(TypeError, match=r"handler=42 cannot be called\. Pass an async function"):
        MessageQueue(42)


async def test_a_coroutine_in_place_of_the_handler_is_named():
    coroutine = handler("a1")
    with pytest.raises(TypeError, match="cannot be called"):
        MessageQueue(coroutine)
    coroutine.close()


@pytest.mark.parametrize("deadline", [0, -1, float("inf"), "soon"])
async def test_a_wrong_deadline_is_named_and_takes_nothing_in(deadline):
    async with MessageQueue(handler) as queue:
        for send in (queue.enqueue, queue.enqueue_threadsafe):
            with pytest.raises((ValueError, TypeError), match=r"deadline=.*Give seconds"):
                send("a", "a1", deadline=deadline)
        assert queue.get_memory_stats().total_chats == 0


async def test_a_chat_id_that_is_not_hashable_is_named():
    async with MessageQueue(handler) as queue:
        with pytest.raises(TypeError, match=r"chat_id=\['a'\] is not hashable\. Identify a chat by"):
            queue.enqueue(["a"], "a1")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ({"mode": "now"}, "mode='now' is unknown. Choose one of 'drain', 'cancel'."),
        ({"timeout": -1}, "timeout=-1 is out of range. Give seconds of at least 0, or None for no limit."),
    ],
)
async def test_a_wrong_way_to_close_is_named_and_closes_nothing(args, text):
    async with MessageQueue(handler) as queue:
        with pytest.raises(ValueError, match=re.escape(text)):
            await queue.aclose(**args)
        assert await queue.enqueue("a", "still open") == "still open"


def test_every_public_name_is_exported_once_and_says_what_it_is():
    assert sorted(reference_queue.__all__) == reference_queue.__all__
    for name in reference_queue.__all__:
        thing = getattr(reference_queue, name)
        if inspect.isclass(thing):
            assert thing.__doc__
    errors = {name for name, thing in vars(reference_queue.errors).items() if inspect.isclass(thing)}
    assert errors <= set(reference_queue.__all__)
    assert all(issubclass(getattr(reference_queue, name), QueueError) for name in errors)


def test_the_broken_queue_is_not_to_be_had_by_accident():
    assert not any("broken" in name.lower() or name == "incident" for name in reference_queue.__all__)


async def test_a_queue_shows_its_state_in_its_repr():
    queue = MessageQueue(handler)
    queue.enqueue("a", "a1")
    assert repr(queue) == "<MessageQueue open chats=1 queued=1 processing=0>"
    await queue.aclose()
    assert repr(queue) == "<MessageQueue closed chats=0 queued=0 processing=0>"
