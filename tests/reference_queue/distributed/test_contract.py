"""What every engine promises, as the queue shows it. Each test runs with each engine, against its real server."""

from __future__ import annotations

import asyncio
import contextvars
import gc

import pytest
import stamina

from reference_queue import (
    CalledFromHandler,
    CloseTimeout,
    DeadlineExceeded,
    HandlerNotAwaitable,
    QueueClosed,
    ReentrantEnqueue,
)
from reference_queue.distributed import (
    DistributedQueue,
    HandlerFailed,
    MessageDead,
    NotOpen,
    PartitionMismatch,
    current_delivery,
)
from reference_queue.distributed.engine import partition_of


async def shout(message):
    return message.upper()


def chats_of(partitions):
    """A chat of each partition, in order."""
    found = {}
    number = 0
    while len(found) < partitions:
        found.setdefault(partition_of(f"chat {number}", partitions), f"chat {number}")
        number += 1
    return [found[partition] for partition in range(partitions)]


async def until(condition):
    """Wait for what another process brings about, the server, and what nobody here is told of."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - for that reason
            await asyncio.sleep(0.01)


# -- results ---------------------------------------------------------------------------------------------


async def test_the_result_comes_back_to_the_producer(make_queue):
    """The instance that sends has no handler, the one that handles sends nothing."""
    await make_queue(shout)
    producer = await make_queue()
    assert await producer.enqueue("a", "hello") == "HELLO"
    assert producer.get_memory_stats().workers == 0


async def test_messages_of_a_chat_are_handled_in_the_order_of_the_calls(make_queue):
    seen = []

    async def handler(message):
        seen.append(message)
        return message

    queue = await make_queue(handler)
    sent = [f"{chat} {number}" for number in range(40) for chat in "abc"]
    assert await asyncio.gather(*(queue.enqueue(message[0], message) for message in sent)) == sent
    for chat in "abc":
        assert [each for each in seen if each[0] == chat] == [each for each in sent if each[0] == chat]


async def test_one_message_of_a_chat_at_a_time_over_all_instances(make_queue, gate):
    """Two instances that handle, and 30 messages of one chat: whoever takes one, no other is with a second."""
    inside = 0
    most = 0
    by = set()

    def worker(number):
        async def handler(message):
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            by.add(number)
            await asyncio.sleep(0)
            inside -= 1
            return message

        return handler

    await make_queue(worker(1))
    await make_queue(worker(2))
    producer = await make_queue()
    assert await asyncio.gather(*(producer.enqueue("a", number) for number in range(80))) == list(range(80))
    assert most == 1
    assert by <= {1, 2}


async def test_partitions_run_side_by_side_and_share_the_instances(make_queue, gate):
    """With room for one handler in each instance, two chats of two partitions need both."""
    first, second, *_ = chats_of(4)
    gate.hold("m1", "m2")
    one = await make_queue(gate, workers=1)
    two = await make_queue(gate, workers=1)
    results = [one.enqueue(first, "m1"), one.enqueue(second, "m2")]
    await gate.has_begun("m1")
    await gate.has_begun("m2")
    assert [one.get_memory_stats().processing, two.get_memory_stats().processing] == [1, 1]
    gate.release("m1", "m2")
    assert await asyncio.gather(*results) == ["M1", "M2"]


async def test_an_instance_runs_no_more_handlers_than_it_is_allowed_to(make_queue, gate):
    queue = await make_queue(gate, workers=2, partitions=8)
    chats = chats_of(8)
    await asyncio.gather(*(queue.enqueue(chat, f"{chat} {number}") for number in range(5) for chat in chats))
    assert gate.most <= 2
    assert queue.get_memory_stats().completed == 40


async def test_a_new_instance_takes_its_share_of_a_partition_that_is_never_empty(make_queue):
    """An instance lets a partition go after a number of messages in a row; who asks next may be the other."""
    by = []

    def worker(number):
        async def handler(_message):
            by.append(number)

        return handler

    one = await make_queue(worker(1), partitions=1)
    two = await make_queue(worker(2), partitions=1)
    await asyncio.gather(*(one.enqueue("a", number) for number in range(500)))
    assert set(by) == {1, 2}
    assert one.get_memory_stats().completed + two.get_memory_stats().completed == len(by)


async def test_the_handler_runs_beside_the_first_message_not_in_its_senders_context(make_queue):
    """Nothing of the sender's context travels, and no task keeps it."""
    variable = contextvars.ContextVar("variable", default="unset")

    async def handler(_message):
        return variable.get()

    queue = await make_queue(handler)
    variable.set("the sender's")
    assert await queue.enqueue("a", 1) == "unset"


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
    with pytest.raises(HandlerFailed, match=r"test_contract\..*Unknown: them") as raised:
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


# -- handlers that send ----------------------------------------------------------------------------------


async def test_a_handler_that_asks_for_a_result_of_its_own_partition_is_refused(make_queue):
    """Directly, and by way of another chat whose handler runs in another instance."""
    here, there, *_ = chats_of(4)

    async def handler(message):
        if message == "direct":
            return await queues[0].enqueue(here, "x")
        if message == "around":
            return await queues[0].enqueue(there, "back")
        if message == "back":
            return await queues[1].enqueue(here, "x")
        if message == "post":
            await queues[0].post(here, "x")
        return message

    queues = [await make_queue(handler), await make_queue(handler)]
    with pytest.raises(ReentrantEnqueue, match="would be a deadlock"):
        await queues[0].enqueue(here, "direct")
    assert await queues[0].enqueue(here, "post") == "post"
    for _ in range(2):  # whichever instance takes it
        with pytest.raises(ReentrantEnqueue):
            await asyncio.wait_for(queues[0].enqueue(here, "around"), 20)


async def test_a_handler_that_waits_for_its_own_queue_is_refused(make_queue):
    async def handler(message):
        await getattr(queue, message)()

    queue = await make_queue(handler)
    for method in ("join", "aclose"):
        with pytest.raises(CalledFromHandler, match=f"{method}\\(\\) was awaited in a handler"):
            await queue.enqueue("a", method)


# -- partitions ------------------------------------------------------------------------------------------


async def test_another_number_of_partitions_is_refused_and_told_what_to_do(make_queue, make_engine, name):
    await make_queue(partitions=4)
    other = DistributedQueue(make_engine(), name=name, partitions=8)
    with pytest.raises(PartitionMismatch, match=r"has 4 partitions on the server.*Give\s+partitions=4"):
        await other.open()
    with pytest.raises(NotOpen):
        other.enqueue("a", 1)
    await other.aclose()
    assert (await make_queue(partitions=4)).get_memory_stats().total_chats == 0


async def test_every_process_puts_a_chat_into_the_same_partition():
    """Not `hash`: it differs from process to process. The numbers are CRC-32, fixed for ever."""
    assert [partition_of(chat, 64) for chat in ("a", "chat 1", "ü")] == [3, 41, 21]


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


# -- closing ---------------------------------------------------------------------------------------------


async def test_draining_waits_for_what_was_sent_and_for_what_is_handled(make_queue, gate):
    gate.hold("m1")
    queue = await make_queue(gate)
    results = [queue.enqueue("a", f"m{number}") for number in range(1, 4)]
    await gate.has_begun("m1")
    closing = asyncio.create_task(queue.aclose())
    await asyncio.sleep(0)
    with pytest.raises(QueueClosed, match="takes no more messages"):
        queue.enqueue("a", "m4")
    assert not closing.done()
    gate.release("m1")
    await closing
    assert [result.result() for result in results] == ["M1", "M2", "M3"]


async def test_a_draining_instance_leaves_the_messages_of_others_to_others(make_queue, gate):
    """Nothing new begins, and nothing accepted is lost: the successor handles it, in order."""
    gate.hold("m1")
    leaving = await make_queue(gate)
    producer = await make_queue()
    results = [producer.enqueue("a", f"m{number}") for number in range(1, 4)]
    await gate.has_begun("m1")
    closing = asyncio.create_task(leaving.aclose())
    await asyncio.sleep(0)
    gate.release("m1")
    await closing
    assert gate.begun == ["m1"]
    await make_queue(gate)
    assert await asyncio.gather(*results) == ["M1", "M2", "M3"]
    assert gate.begun == ["m1", "m2", "m3"]


async def test_cancelling_gives_what_is_handled_back_to_the_front(make_queue, gate):
    """At once, long before the lease is over, and it does not count towards the death of a message."""
    gate.hold("m1")
    leaving = await make_queue(gate, lease=60)
    producer = await make_queue(lease=60)
    results = [producer.enqueue("a", f"m{number}") for number in range(1, 3)]
    await gate.has_begun("m1")
    await leaving.aclose("cancel")
    assert leaving.get_memory_stats().given_back == 1
    gate.release("m1")
    await make_queue(gate, lease=60)
    assert await asyncio.gather(*results) == ["M1", "M2"]
    assert gate.begun == ["m1", "m1", "m2"]


async def test_cancelling_settles_every_future(make_queue):
    producer = await make_queue()
    results = [producer.enqueue("a", number) for number in range(3)]
    await producer.aclose("cancel")
    for result in results:
        with pytest.raises(QueueClosed, match="before the outcome came"):
            await result


async def test_a_handler_that_ignores_its_cancellation_keeps_its_chat(make_queue, gate):
    """The close says so, the lease is still renewed, and a second call ends when the handler does."""
    swallowed = asyncio.Event()
    release = asyncio.Event()

    async def stubborn(message):
        gate.begun.append(message)
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                swallowed.set()
        return message

    queue = await make_queue(stubborn, lease=0.5)
    producer = await make_queue()
    result = producer.enqueue("a", "m1")
    await until(lambda: gate.begun)
    other = await make_queue(gate, lease=0.5)
    with pytest.raises(CloseTimeout, match=r"1 handlers still run .* the chats 'a'"):
        await queue.aclose("cancel", timeout=1.2)  # more than two leases
    assert swallowed.is_set()
    assert gate.begun == ["m1"]
    release.set()
    await queue.aclose()
    assert await result == "m1"
    assert other.get_memory_stats().handled == 0


async def test_closing_can_be_repeated_cut_short_and_done_before_opening(make_queue, make_engine, name, gate):
    unopened = DistributedQueue(make_engine(), name=name)
    await unopened.aclose()
    with pytest.raises(QueueClosed, match="cannot be opened again"):
        await unopened.open()
    gate.hold("m1")
    queue = await make_queue(gate)
    result = queue.enqueue("a", "m1")
    await gate.has_begun("m1")
    draining = asyncio.create_task(queue.aclose())
    await asyncio.sleep(0)
    await queue.aclose("cancel")
    await draining
    await queue.aclose()
    with pytest.raises(QueueClosed):
        await result


async def test_nothing_is_left_when_a_queue_is_closed(make_queue):
    """No task, and nothing of the messages."""

    class Marked(str):
        __slots__ = ("__weakref__",)

    before = asyncio.all_tasks()
    queue = await make_queue(shout)
    await asyncio.gather(*(queue.enqueue(f"chat {number}", Marked(number)) for number in range(20)))
    stats = queue.get_memory_stats()
    assert (stats.total_chats, stats.total_queued, stats.processing, stats.waiting) == (0, 0, 0, 0)
    await queue.aclose()
    assert asyncio.all_tasks() == before
    gc.collect()
    assert not any(type(thing) is Marked for thing in gc.get_objects())


async def test_a_loop_that_ends_with_the_queue_open_settles_every_future(server, kind_name, name, run_program):
    """Asked in a program of its own: it leaves tasks behind, and is meant to."""
    told = run_program(
        f"""
        from reference_queue.distributed import DistributedQueue
        from reference_queue.distributed._kinds import KINDS

        async def main():
            engine = KINDS[{kind_name!r}].engine({server.url!r}, 1.0)
            queue = DistributedQueue(engine, name={name!r}, partitions=4)
            await queue.open()
            stored = queue.enqueue("a", "x")
            while queue.get_memory_stats().total_queued:
                await asyncio.sleep(0.01)
            return [stored, queue.enqueue("b", "y")]

        show(asyncio.run(main()))
        """
    )
    assert told == ["LoopEnded", "LoopEnded"]


# -- figures ---------------------------------------------------------------------------------------------


async def test_the_figures_of_all_instances_are_the_servers(make_queue, gate):
    first, second, *_ = chats_of(4)
    gate.hold("m1", "m2")
    one = await make_queue(gate, workers=1)
    two = await make_queue(gate, workers=1)
    producer = await make_queue()
    results = [producer.enqueue(first, "m1"), producer.enqueue(second, "m2"), producer.enqueue(first, "m3")]
    await gate.has_begun("m1")
    await gate.has_begun("m2")
    await producer.post(second, "m4")
    counts = await producer.get_server_stats()
    assert (counts.total_queued, counts.processing, counts.dead) == (2, 2, 0)
    stats = producer.get_memory_stats()
    assert (stats.total_chats, stats.total_queued, stats.waiting, stats.sent, stats.processing) == (2, 0, 3, 4, 0)
    assert one.get_memory_stats().pending_promises + two.get_memory_stats().pending_promises == 2
    gate.release("m1", "m2")
    await asyncio.gather(*results)
    await producer.join()
    assert producer.get_memory_stats().waiting == 0
