"""What becomes of a message that fails, comes too late, or comes twice; with each engine, against its real server."""

from __future__ import annotations

import asyncio

import pytest
import stamina
from distributing import until

from reference_queue import (
    DeadlineExceeded,
    HandlerNotAwaitable,
)
from reference_queue.distributed import (
    HandlerFailed,
    MessageDead,
    current_delivery,
)

# -- failures --------------------------------------------------------------------------------------------


class Blocked(Exception):  # noqa: N818 - as a user may name it
    pass


async def test_an_exception_comes_back_as_what_it_was_or_by_name(make_queue):
    class Unknown(Exception):  # noqa: N818 - as above
        pass

    async def handler(message):
        raise {"python": ValueError("no", 7), "mine": Blocked("you"), "other": Unknown("them"), "os": OSError(2, "x")}[
            message
        ]

    await make_queue(handler)
    producer = await make_queue(errors=[Blocked])
    with pytest.raises(ValueError, match="no") as raised:
        await producer.enqueue("a", "python")
    assert raised.value.args == ("no", 7)
    with pytest.raises(Blocked, match="you"):
        await producer.enqueue("a", "mine")
    with pytest.raises(FileNotFoundError):
        await producer.enqueue("a", "os")
    with pytest.raises(HandlerFailed, match=r"test_contract_failures\..*Unknown: them") as raised:
        await producer.enqueue("a", "other")
    assert raised.value.text == "them"


async def test_an_exception_outside_exception_fails_its_message_alone(make_queue):
    class Odd(BaseException):
        pass

    async def handler(message):
        if message == "odd":
            raise Odd("it is")
        return message

    queue = await make_queue(handler)
    with pytest.raises(HandlerFailed, match="Odd: it is"):
        await queue.enqueue("a", "odd")
    assert await queue.enqueue("a", "next") == "next"


async def test_a_failure_does_not_hold_up_the_chat_and_is_not_tried_again(make_queue):
    seen = []

    async def handler(message):
        seen.append(message)
        if message == 1:
            raise ValueError(message)
        return message

    queue = await make_queue(handler)
    results = await asyncio.gather(*(queue.enqueue("a", number) for number in range(3)), return_exceptions=True)
    assert [repr(result) for result in results] == ["0", "ValueError(1)", "2"]
    assert seen == [0, 1, 2]


async def test_retries_stay_inside_the_handler_and_keep_the_order(make_queue):
    """With stamina: the message behind waits for the last attempt, and all of them are one delivery."""
    seen = []

    @stamina.retry(on=ConnectionError, attempts=3, wait_initial=0.001, wait_max=0.001)
    async def handler(message):
        seen.append((message, current_delivery().attempt))
        if message == "a1" and len(seen) < 3:
            raise ConnectionError("for now")
        return message

    queue = await make_queue(handler)
    assert await asyncio.gather(queue.enqueue("a", "a1"), queue.enqueue("a", "a2")) == ["a1", "a2"]
    assert seen == [("a1", 1), ("a1", 1), ("a1", 1), ("a2", 1)]


async def test_a_handler_that_cancels_itself_cancels_the_future(make_queue):
    async def handler(message):
        if message == "cancel":
            raise asyncio.CancelledError
        return message

    queue = await make_queue(handler)
    future = queue.enqueue("a", "cancel")
    assert await queue.enqueue("a", "next") == "next"
    assert future.cancelled()
    assert queue.get_memory_stats().cancelled == 1


async def test_what_cannot_be_sent_or_returned_is_said_at_once(make_queue):
    async def handler(message):
        return {message}

    def plain(message):
        return message

    queue = await make_queue(handler)
    with pytest.raises(TypeError, match="not JSON serializable"):
        queue.enqueue("a", object())
    with pytest.raises(TypeError, match="set is not JSON serializable"):
        await queue.enqueue("a", "x")
    bytes_out = await make_queue(handler, dumps=lambda message: repr(message).encode(), name="bytes")
    with pytest.raises(TypeError, match="must return text"):
        bytes_out.enqueue("a", "x")
    not_async = await make_queue(plain, name="not async")
    with pytest.raises(HandlerNotAwaitable, match="async def"):
        await not_async.enqueue("a", "x")


async def test_a_posted_failure_is_reported_where_it_is_handled(make_queue, complaints):
    async def handler(_message):
        raise ValueError("nobody waits")

    queue = await make_queue(handler)
    await queue.post("a", "x")
    await until(lambda: complaints)
    assert [(told["message"], repr(told["exception"])) for told in complaints] == [
        ("A message failed in its handler and nobody waits for it (chat 'a')", "ValueError('nobody waits')")
    ]


# -- deadlines -------------------------------------------------------------------------------------------


async def test_a_message_whose_deadline_is_over_is_not_handled_when_its_turn_comes(make_queue, gate):
    gate.hold("m1")
    queue = await make_queue(gate)
    first = queue.enqueue("a", "m1")
    await gate.has_begun("m1")
    late = queue.enqueue("a", "m2", deadline=0.05)
    with pytest.raises(DeadlineExceeded, match=r"chat 'a' was not handled within its deadline of 0\.05 s"):
        await late
    gate.release("m1")
    assert await first == "M1"
    assert await queue.enqueue("a", "m3") == "M3"
    assert gate.begun == ["m1", "m3"]
    assert queue.get_memory_stats().expired == 1


async def test_a_handler_is_cancelled_at_the_deadline_and_the_chat_goes_on(make_queue, gate):
    gate.hold("m1")
    queue = await make_queue(gate)
    with pytest.raises(DeadlineExceeded):
        await queue.enqueue("a", "m1", deadline=0.2)
    assert await queue.enqueue("a", "m2") == "M2"
    assert gate.begun in (["m1", "m2"], ["m2"])  # on a busy machine it may come too late even to begin
    assert not gate.running


async def test_a_message_nobody_handles_has_its_future_settled_by_the_default_deadline(make_queue):
    producer = await make_queue(default_deadline=0.05)
    with pytest.raises(DeadlineExceeded, match="get_server_stats"):
        await producer.enqueue("a", "x")
    assert (await producer.get_server_stats()).total_queued == 1


# -- message ids -----------------------------------------------------------------------------------------


async def test_a_message_id_that_is_known_is_not_handled_again(make_queue, gate):
    """While it is queued, while it is handled and when its outcome is there; from the same instance and others."""
    gate.hold("m1")
    worker = await make_queue(gate)
    other = await make_queue()
    first = other.enqueue("a", "m1", message_id="1")
    again = other.enqueue("a", "m1", message_id="1")
    await gate.has_begun("m1")
    while_handled = worker.enqueue("a", "something else", message_id="1")
    gate.release("m1")
    assert await asyncio.gather(first, again, while_handled) == ["M1", "M1", "M1"]
    third = await make_queue()
    assert await third.enqueue("a", "m1", message_id="1") == "M1"
    await third.post("a", "m1", message_id="1")
    assert await third.enqueue("a", "m2") == "M2"
    assert gate.begun == ["m1", "m2"]


@pytest.mark.parametrize("message_id", ["42", "a:b", "0:1", "ü/ %2F", "*.>", "x" * 200])
async def test_a_message_id_may_be_any_text(make_queue, message_id):
    async def handler(message):
        return [message, current_delivery().message_id]

    queue = await make_queue(handler, partitions=1)
    assert await queue.enqueue("any chat: ü.*>", "x", message_id=message_id) == ["x", message_id]
    assert await queue.enqueue("any chat: ü.*>", "y", message_id=message_id) == ["x", message_id]


async def test_an_id_belongs_to_one_chat(make_queue):
    producer = await make_queue()
    future = producer.enqueue("a", 1, message_id="id")
    with pytest.raises(ValueError, match="is on its way for chat 'a' and was given for chat 'b'"):
        producer.enqueue("b", 2, message_id="id")
    future.cancel()


async def test_the_handler_is_told_its_delivery(make_queue):
    left_behind = []

    async def handler(_message):
        async def later():
            await ended.wait()
            return current_delivery()

        left_behind.append(asyncio.create_task(later()))
        delivery = current_delivery()
        return [delivery.message_id, delivery.chat_id, delivery.attempt, delivery.expires is not None]

    ended = asyncio.Event()
    queue = await make_queue(handler)
    assert await queue.enqueue("a", "x", message_id="id") == ["id", "a", 1, True]
    ended.set()
    assert await left_behind[0] is None
    assert current_delivery() is None


# -- dead letters ----------------------------------------------------------------------------------------


async def test_a_message_whose_deliveries_all_end_in_silence_is_given_up_and_the_chat_goes_on(make_queue):
    """Its handler takes its own delivery down each time; what is behind it is handled then."""
    attempts = []

    async def handler(message):
        if message == "poison":
            attempts.append(current_delivery().attempt)
            asyncio.current_task().cancel()
            await asyncio.sleep(0)
        return message

    queue = await make_queue(handler, lease=0.5)
    poison, behind = queue.enqueue("a", "poison"), queue.enqueue("a", "behind")
    with pytest.raises(MessageDead, match="given up after 3 deliveries"):
        await poison
    assert await behind == "behind"
    assert attempts == [1, 2, 3]
    counts = await queue.get_server_stats()
    assert (counts.dead, counts.total_queued, counts.processing) == (1, 0, 0)
