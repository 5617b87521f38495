"""What a wrong call is told, and the pieces that need no server."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from reference_queue import DeadlineExceeded, QueueClosed, WrongLoop
from reference_queue.distributed import DistributedQueue, EngineRefused, Envelope, HandlerFailed, NotOpen, outcome
from reference_queue.distributed._tasks import end
from reference_queue.distributed.bullmq import BullMQEngine


async def shout(message):
    return message.upper()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"handler": "x"}, TypeError, "handler='x' cannot be called. Pass an async function"),
        ({"name": ""}, ValueError, "name='' is empty"),
        ({"name": 7}, TypeError, "name=7 is not a str"),
        ({"partitions": 0}, ValueError, "partitions=0 is too small"),
        ({"workers": 1.5}, TypeError, "workers=1.5 is not an int"),
        ({"default_deadline": -1}, ValueError, "default_deadline=-1 is out of range"),
        ({"engine": "redis://localhost"}, TypeError, "engine='redis://localhost' is no engine"),
        ({"engine": BullMQEngine}, TypeError, r"is no engine\. Give an object, such as BullMQEngine\(url\)"),
        ({"dumps": "json"}, TypeError, "dumps='json' cannot be called"),
        ({"loads": None}, TypeError, "loads=None cannot be called"),
        ({"errors": [ValueError("x")]}, TypeError, r"has ValueError\('x'\) in it, which is no class of exceptions"),
        ({"errors": [KeyboardInterrupt]}, TypeError, "which is no class of exceptions"),
    ],
)
def test_a_wrong_argument_is_told_when_the_queue_is_made(options, error, text):
    with pytest.raises(error, match=text):
        DistributedQueue(**{"engine": BullMQEngine(), "name": "test", **options})


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"lease": 0.1}, ValueError, "lease=0.1 is too short"),
        ({"lease": None}, TypeError, "lease=None is not a number"),
        ({"remember": None}, TypeError, "remember=None is not a number"),
        ({"deliveries": 0}, ValueError, "deliveries=0 is too small"),
        ({"remember_most": "many"}, TypeError, "remember_most='many' is not an int"),
    ],
)
def test_a_wrong_argument_is_told_when_the_engine_is_made(options, error, text):
    with pytest.raises(error, match=text):
        BullMQEngine(**options)


async def test_a_wrong_message_is_told_and_leaves_no_trace(make_queue):
    queue = await make_queue()
    for chat_id, error in ((7, TypeError), ("", ValueError), ("\ud800", ValueError)):
        with pytest.raises(error):
            queue.enqueue(chat_id, "x")
    with pytest.raises(ValueError, match="has half a character in it"):
        queue.enqueue("a", "x", message_id="\ud800")
    with pytest.raises(TypeError, match="message_id=7 is not a str"):
        await queue.post("a", "x", message_id=7)
    with pytest.raises(ValueError, match="deadline=0 is out of range"):
        queue.enqueue("a", "x", deadline=0)
    with pytest.raises(ValueError, match="Choose one of 'drain', 'cancel'"):
        await queue.aclose("now")
    stats = queue.get_memory_stats()
    assert (stats.sent, stats.total_chats) == (0, 0)


async def test_a_queue_that_is_not_open_says_so(make_engine, name):
    queue = DistributedQueue(make_engine(), shout, name=name)
    for call in (lambda: queue.enqueue("a", "x"), lambda: queue.post("a", "x"), queue.join, queue.get_server_stats):
        with pytest.raises(NotOpen, match="Enter it first"):
            await call()
    assert "not open" in repr(queue)
    await queue.aclose()
    assert "closed" in repr(queue)
    with pytest.raises(QueueClosed):
        queue.enqueue("a", "x")


async def test_a_queue_belongs_to_its_loop(make_queue):
    queue = await make_queue()
    with pytest.raises(WrongLoop, match="No event loop runs"):
        await asyncio.to_thread(queue.enqueue, "a", "x")

    async def elsewhere():
        queue.enqueue("a", "x")

    with pytest.raises(WrongLoop, match="Make a queue, and an engine"):
        await asyncio.to_thread(asyncio.run, elsewhere())


async def test_a_message_that_is_cancelled_at_once_is_not_sent_and_its_id_is_free(make_queue, gate):
    queue = await make_queue(gate)
    withdrawn = queue.enqueue("a", "m1", message_id="id")
    withdrawn.cancel()
    assert await queue.enqueue("a", "m2", message_id="id") == "M2"
    assert gate.begun == ["m2"]


async def test_an_answer_of_the_server_other_than_yes_settles_the_message(make_queue, server, kind_name):
    """The server refuses what would need more memory than it may use."""
    if kind_name != "bullmq":
        pytest.skip("the setting is Redis'")  # it is changed while the server runs, which NATS cannot
    import redis  # noqa: PLC0415 - of this engine's extra

    queue = await make_queue(shout)
    with redis.Redis.from_url(server.url) as look:
        look.config_set("maxmemory", 1)
        try:
            with pytest.raises(EngineRefused, match="maxmemory"):
                await queue.enqueue("a", "x")
            with pytest.raises(EngineRefused):
                await queue.post("a", "x")
        finally:
            look.config_set("maxmemory", 0)
    assert await queue.enqueue("a", "y") == "Y"


async def test_the_figures_can_be_read_while_another_thread_sends(make_queue):
    queue = await make_queue()
    outbox = queue._promises.outbox

    class Line:
        """A line during the look at which another thread, the queue's, has its turn."""

        def __len__(self):
            outbox._lines.setdefault("another", Line())
            return 1

    outbox._lines["one"] = Line()
    try:
        assert queue.get_memory_stats().total_queued == 1
    finally:
        outbox._lines.clear()


# -- pieces ----------------------------------------------------------------------------------------------


async def settled(text, *classes):
    """The future of a message with this outcome."""
    future = asyncio.get_running_loop().create_future()
    outcome.settle(future, text, loads=str, kinds=outcome.remakeable(classes), chat_id="a")
    return await future


async def test_every_outcome_settles_its_future():
    class OddError(Exception):
        def __init__(self):
            super().__init__("made", "of", "three")

    assert await settled(outcome.result("x")) == "x"
    with pytest.raises(DeadlineExceeded):
        await settled(outcome.EXPIRED)
    with pytest.raises(asyncio.CancelledError):
        await settled(outcome.CANCELLED)
    with pytest.raises(HandlerFailed, match="OddError: "):  # it cannot be made of its `args`
        await settled(outcome.failure(OddError()), OddError)
    with pytest.raises(HandlerFailed, match="UnicodeDecodeError"):  # its `args` are no JSON
        await settled(outcome.failure(UnicodeDecodeError("utf-8", b"x", 0, 1, "no")))
    with pytest.raises(HandlerFailed, match=r"bot\.Blocked: you"):  # of a handler further on
        await settled(outcome.failure(HandlerFailed("bot.Blocked", "you")))
    foreign = ['{"error": "no"}', '{"error": {"code": 1}, "text": "", "args": []}', '{"result": 42}', "[" * 100_000]
    for text in ("", "42", '{"status": "done"}', *foreign):
        with pytest.raises(ValueError, match="was written by something else"):
            await settled(text)


def test_an_error_of_a_handler_elsewhere_survives_pickling():
    error = pickle.loads(pickle.dumps(HandlerFailed("bot.Blocked", "you")))  # noqa: S301 - our own
    assert (error.type_name, error.text, str(error)) == ("bot.Blocked", "you", "bot.Blocked: you")


def test_an_envelope_comes_out_as_it_went_in():
    envelope = Envelope("id", "chat ü", '{"a": 1}', 17.5, reply=False, trail=(1, 2))
    assert Envelope.from_json(envelope.to_json()) == envelope
    newer = envelope.to_json().replace("{", '{"priority": 1, ', 1)
    assert Envelope.from_json(newer) == envelope


async def test_a_task_that_loses_a_cancellation_is_ended_all_the_same():
    """A client library may lose one, and go on with its loop."""
    lost = 0

    async def deaf():
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost == 2:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await end([task])
    assert task.cancelled()
    assert lost == 2
