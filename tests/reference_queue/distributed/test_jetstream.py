"""What is JetStream's own: records that decide who has a message, and a client that is never trusted to reconnect."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from reference_queue.distributed import DistributedQueue, EngineRefused, HandlerFailed, MessageTooLarge, OutcomeLost
from reference_queue.distributed._jetstream_store import Limits, Store, key_of
from reference_queue.distributed._kinds import KINDS, NatsServer
from reference_queue.distributed.jetstream import JetStreamEngine

pytestmark = pytest.mark.parametrize("kind", ["jetstream"], indirect=True)


def store_of(queue):
    return queue._engine._store


def link_of(queue):
    return queue._engine._link


async def until(condition):
    """Return when it holds: the server is waited for, which tells nobody here."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - as the docstring says
            await asyncio.sleep(0.01)


async def overwrite(queue, message_id, **fields):
    """Write the record of a message as another instance would that has taken it over."""
    record = {
        "state": "held",
        "holder": "another",
        "attempt": 2,
        "deliveries": 1,
        "lease": 0.1,
        "outcome": "",
        **fields,
    }
    await link_of(queue).ask(store_of(queue).record(key_of(message_id)), record)


# -- who has a message -----------------------------------------------------------------------------------


async def test_an_instance_whose_message_was_taken_over_is_cancelled_and_its_outcome_dropped(make_queue, gate, caplog):
    gate.hold("m1")
    queue = await make_queue(gate)
    result = queue.enqueue("a", "m1", message_id="id")
    await gate.has_begun("m1")
    await overwrite(queue, "id")
    await until(lambda: not gate.running)  # at the next renewal of the lease
    gate.release("m1")
    assert await result == "M1"
    assert gate.begun == ["m1", "m1"]
    assert "The lease of message 'id' of partition" in caplog.text


async def test_an_outcome_that_comes_after_another_ones_is_refused(make_queue, gate):
    """As of a worker that was stopped, and revived when all was done: it finds the record written."""
    gate.hold("m1")
    queue = await make_queue(gate, lease=30)
    result = queue.enqueue("a", "m1", message_id="id")
    await gate.has_begun("m1")
    await overwrite(queue, "id", state="done", outcome=json.dumps({"result": '"of another"'}))
    gate.release("m1")
    assert not result.done()
    again = await make_queue(lease=30)
    assert await again.enqueue("a", "m1", message_id="id") == "of another"
    result.cancel()


async def test_a_renewal_that_comes_after_the_outcome_does_not_take_its_place(make_queue, gate):
    gate.hold("m1")
    queue = await make_queue(gate, partitions=1, lease=20)
    result = queue.enqueue("a", "m1", message_id="id")
    await gate.has_begun("m1")
    consumer = queue._engine._consumer
    hand = consumer._hands[0]
    await hand.lock.acquire()
    gate.release("m1")
    await until(lambda: hand.delivery is None and hand.lock._waiters)  # the outcome is next
    renewal = asyncio.create_task(consumer._renew_one(hand))
    await until(lambda: len(hand.lock._waiters) == 2)
    hand.lock.release()
    assert await result == "M1"
    await renewal
    record = await store_of(queue).read(link_of(queue), key_of("id"))
    assert (record.state, record.outcome) == ("done", json.dumps({"result": '"M1"'}))


async def test_a_message_that_the_server_delivers_twice_waits_for_the_lease_of_the_first(make_queue, gate):
    """A server that was killed forgets deliveries of its last moments: JetStream writes them down a moment later."""
    gate.hold("m1")
    first = await make_queue(gate, partitions=1, lease=20)
    result = first.enqueue("a", "m1")
    await gate.has_begun("m1")
    second = await make_queue(gate, partitions=1, lease=20)
    await link_of(second).publish(first._engine._consumer._hands[0].message.reply, b"-NAK")
    await until(lambda: second._engine._consumer._hands)
    gate.release("m1")
    assert await result == "M1"
    assert await second.enqueue("a", "m2") == "M2"
    assert gate.begun == ["m1", "m2"]
    assert second.get_memory_stats().redelivered == 0


async def test_what_is_no_message_is_logged_and_left_out(make_queue, gate, caplog):
    queue = await make_queue(gate, partitions=1)
    await link_of(queue).ask(store_of(queue).message(0), "not of ours")
    assert await queue.enqueue("a", "m1") == "M1"
    assert "A message in partition 0 of queue" in caplog.text
    assert (await queue.get_server_stats()).total_queued == 0


# -- lost connections ------------------------------------------------------------------------------------


async def test_an_outcome_that_was_told_while_the_producer_was_not_connected_is_found(make_queue, gate):
    gate.hold("m1")
    worker = await make_queue(gate)
    producer = await make_queue()
    result = producer.enqueue("a", "m1")
    await gate.has_begun("m1")
    producer._engine._servers[:] = ["nats://127.0.0.1:1"]  # nobody listens there
    link_of(producer)._client.abort()
    await until(lambda: link_of(producer) is None)
    gate.release("m1")
    await until(lambda: worker.get_memory_stats().completed)
    await until(lambda: not worker._engine._consumer._hands)
    assert not result.done()
    producer._engine._servers[:] = worker._engine._servers
    assert await result == "M1"


async def test_a_handler_outlives_the_connection_of_its_instance(make_queue, gate):
    """And nothing that was not sent before is sent behind a gap: there is nothing of the old connection."""
    gate.hold("m1")
    queue = await make_queue(gate, lease=20)
    results = [queue.enqueue("a", "m1"), queue.enqueue("a", "m2")]
    await gate.has_begun("m1")
    link = link_of(queue)
    link._client.abort()
    await until(lambda: link_of(queue) not in (None, link))
    gate.release("m1")
    assert await asyncio.gather(*results) == ["M1", "M2"]
    assert gate.begun == ["m1", "m2"]
    assert not link._client.tasks()


async def test_a_server_that_does_not_answer_is_lost_and_taken_up_again(kind, name, gate):
    """It is stopped, not gone: its connections stay open, and fill up."""
    with tempfile.TemporaryDirectory(prefix="rq") as folder:
        server = NatsServer(Path(folder))
        try:
            engine = JetStreamEngine(server.url, options={"ping_interval": 0.1})
            async with DistributedQueue(engine, gate, name=name, partitions=2) as queue:
                assert await queue.enqueue("a", "m1") == "M1"
                server.process.send_signal(signal.SIGSTOP)
                late = [queue.enqueue("a", "m" * 800_000) for _ in range(20)]
                await until(lambda: engine._link is None)
                server.process.send_signal(signal.SIGCONT)
                assert await asyncio.gather(*late) == ["M" * 800_000] * 20
                assert gate.begun.count("m" * 800_000) == 20
        finally:
            server.stop()


async def test_streams_that_were_deleted_are_made_again(make_queue, gate):
    queue = await make_queue(gate)
    assert await queue.enqueue("a", "m1") == "M1"
    store, link = store_of(queue), link_of(await make_queue())
    for stream in (store.messages, store.records):
        await link.ask(f"$JS.API.STREAM.DELETE.{stream}")
    assert await queue.enqueue("a", "m2") == "M2"


async def test_an_outcome_that_the_server_has_let_go_of_is_lost(make_queue, gate):
    queue = await make_queue(gate)
    await queue.enqueue("a", "m1", message_id="id")
    await link_of(queue).ask(f"$JS.API.STREAM.PURGE.{store_of(queue).records}")
    with pytest.raises(OutcomeLost, match="the server knows nothing of it any more"):
        await queue.enqueue("a", "m1", message_id="id")
    assert gate.begun == ["m1"]


# -- refusals --------------------------------------------------------------------------------------------


async def test_what_is_too_large_is_refused_and_holds_nothing_up(make_queue):
    async def handler(message):
        return "x" * 2_000_000 if message == "large" else message

    queue = await make_queue(handler)
    with pytest.raises(EngineRefused, match=r"A message of 2000\d+ bytes is more than the NATS server takes"):
        await queue.enqueue("a", "x" * 2_000_000)
    with pytest.raises(HandlerFailed, match="The outcome cannot be stored: 2000"):
        await queue.enqueue("a", "large")
    assert await queue.enqueue("a", "next") == "next"


async def test_what_is_sent_along_with_what_is_too_large_is_none_the_worse_for_it(make_queue, gate):
    queue = await make_queue(gate)
    results = [queue.enqueue("a", text) for text in ("m1", "x" * 2_000_000, "m2", "y" * 2_000_000, "m3")]
    told = await asyncio.gather(*results, return_exceptions=True)
    assert [type(each) for each in told] == [str, MessageTooLarge, str, MessageTooLarge, str]
    assert gate.begun == ["m1", "m2", "m3"]


async def test_an_answer_that_comes_while_the_question_is_still_being_sent_is_heard(make_queue, monkeypatch):
    link = link_of(await make_queue())
    send = link._client.publish

    async def publish(*args, **options):
        await send(*args, **options)
        await link._client.flush()  # the server answers in order: it has answered the question by now

    monkeypatch.setattr(link._client, "publish", publish)
    async with asyncio.timeout(30):
        assert "streams" in await link.ask("$JS.API.INFO")


async def test_an_opening_that_is_cancelled_in_the_step_in_which_it_is_done_leaves_no_connection(make_engine, name):
    engine = make_engine()
    queue = DistributedQueue(engine, name=name, partitions=4)
    opening = asyncio.create_task(queue.open())
    connect = engine._connect

    async def connect_and_cancel(*args):
        link = await connect(*args)
        asyncio.get_running_loop().call_soon(opening.cancel)
        return link

    engine._connect = connect_and_cancel
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


@pytest.mark.parametrize("what", ["publish", "subscri"])
async def test_a_server_that_forbids_what_the_engine_needs_says_so(kind, what):
    permissions = {"publish": 'publish: "rq.>"', "subscri": 'subscribe: "rq.>"'}[what]
    with tempfile.TemporaryDirectory(prefix="rq") as folder:
        server = NatsServer(Path(folder), password="secret", permissions=permissions)  # noqa: S106 - as below
        try:
            queue = DistributedQueue(JetStreamEngine(server.url.replace("//", "//user:secret@")), name="name")
            async with asyncio.timeout(30):
                with pytest.raises(EngineRefused, match=rf"forbids what the engine needs.*violation for {what}"):
                    await queue.open()
        finally:
            server.stop()


async def test_what_the_engine_can_do_without_may_be_forbidden(kind, caplog):
    """The word that an outcome is stored: who handled the message cannot send it, and keeps its connection."""
    with tempfile.TemporaryDirectory(prefix="rq") as folder:
        server = NatsServer(Path(folder), password="secret", permissions='publish: {deny: "_INBOX.>"}')  # noqa: S106 - as below
        try:
            engine = JetStreamEngine(server.url.replace("//", "//user:secret@"), lease=1)
            async with DistributedQueue(engine, gate_free, name="name", partitions=1) as queue:
                link = link_of(queue)
                result = queue.enqueue("a", "x")
                await until(lambda: "forbids what the engine needs" in caplog.text)
                await queue.post("a", "y")
                await until(lambda: queue.get_memory_stats().completed == 2)
                assert link_of(queue) is link
                result.cancel()
        finally:
            server.stop()


async def test_an_error_of_what_hears_messages_is_logged(make_queue, caplog):
    link = link_of(await make_queue())

    async def heard(_message):
        raise ValueError("a mistake of ours")

    await link.listen("somewhere", heard)
    await link.publish("somewhere")
    await until(lambda: "a mistake of ours" in caplog.text)


async def test_whatever_keeps_a_new_connection_from_being_made_it_is_tried_again(make_queue, monkeypatch, caplog):
    queue = await make_queue(gate_free)
    engine = queue._engine
    connect = engine._connect
    tried = []

    async def fails_once(*args):
        tried.append(args)
        if len(tried) == 1:
            raise KeyError("config")
        return await connect(*args)

    monkeypatch.setattr(engine, "_connect", fails_once)
    link_of(queue).fail("a test")
    assert await queue.enqueue("a", "x") == "x"
    assert "KeyError: 'config'" in caplog.text


async def gate_free(message):
    return message


@pytest.mark.parametrize("renewed", ["write", "pull"])
async def test_whatever_a_renewal_raises_leases_are_renewed_afterwards(make_queue, gate, monkeypatch, renewed):
    gate.hold("m1")
    queue = await make_queue(gate)
    result = queue.enqueue("a", "m1")
    await gate.has_begun("m1")
    consumer = queue._engine._consumer
    if renewed == "pull":
        monkeypatch.setattr(consumer._pulls, "again", failing_once(consumer._pulls.again))
    else:
        monkeypatch.setattr(consumer, "_write", failing_once(consumer._write))
    (hand,) = consumer._hands.values()
    at = hand.renewed
    await until(lambda: hand.renewed > at)
    gate.release("m1")
    assert (await result, gate.begun) == ("M1", ["m1"])


def failing_once(function):
    failed = []

    async def function_that_failed(*args):
        if not failed:
            failed.append(args)
            raise RuntimeError("nobody has thought of it")
        return await function(*args)

    return function_that_failed


async def test_a_server_without_jetstream_or_with_a_password_says_so(kind):
    with tempfile.TemporaryDirectory(prefix="rq") as folder:
        server = NatsServer(Path(folder), jetstream=False, password="secret")  # noqa: S106 - of this server alone
        try:
            for url, text in (
                (server.url, "does not let this client in"),
                (server.url.replace("//", "//user:secret@"), "has no JetStream.*nats-server -js"),
            ):
                queue = DistributedQueue(JetStreamEngine(url), name="name")
                with pytest.raises(EngineRefused, match=text):
                    await queue.open()
                await queue.aclose()
        finally:
            server.stop()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"lease": 0.1}, ValueError, r"lease=0\.1 is too short\. Give seconds of at least 0\.5\."),
        ({"lease": 5, "remember": 9}, ValueError, r"remember=9 is too short\. Give seconds of at least 10\."),
        ({"lease": None}, TypeError, "lease=None is not a number"),
        ({"remember": None}, TypeError, "remember=None is not a number"),
        ({"lease": "5"}, TypeError, "lease='5' is not a number"),
        ({"deliveries": 0}, ValueError, "deliveries=0 is too small"),
    ],
)
def test_an_argument_that_is_out_of_range_is_told(kind, options, error, text):
    with pytest.raises(error, match=text):
        JetStreamEngine(**options)


def test_queues_whose_names_look_alike_share_no_stream(kind):
    limits = Limits(1.0, 3, 60.0)
    names = ["a b", "a_b", "a.b", "a*", "a", "ü", "x" * 300, "x" * 301]
    stores = [Store(name, 4, limits) for name in names]
    assert len({store.messages for store in stores} | {store.message(0) for store in stores}) == 2 * len(names)
    assert all(set(store.messages).isdisjoint(" .*>/\\") and len(store.messages) < 100 for store in stores)


def test_without_nats_py_it_is_said_what_to_install(kind):
    program = """
import sys
sys.modules["nats"] = None
try:
    import reference_queue.distributed.jetstream
except ImportError as error:
    print(error)
"""
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "pip install 'pytest-taskleak[nats]'" in told


def test_every_engine_is_tested(kind):
    """The contract and the crashes run with whatever stands here."""
    assert {"bullmq", "jetstream"} <= set(KINDS)
