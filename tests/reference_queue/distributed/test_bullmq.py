"""What is known to go wrong with BullMQ's Python port over Redis, each against a real server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import bullmq
import pytest
import redis
from distributing import until

from reference_queue.distributed import DistributedQueue, OutcomeLost, current_delivery
from reference_queue.distributed._bullmq_port import BLOCK
from reference_queue.distributed._kinds import KINDS
from reference_queue.distributed.bullmq import BullMQEngine
from reference_queue.distributed.engine import partition_of


@pytest.fixture(autouse=True)
def only_bullmq(kind):
    """These tests are of one engine only."""
    if kind is not KINDS["bullmq"]:
        pytest.skip("of BullMQ only")  # they look into its keys; test_jetstream.py is the other engine's


@pytest.fixture
def look(server):
    """A client of the server, to look at what is stored."""
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


def keys(look, name, what):
    """The keys of a queue, without what BullMQ's own functions would add."""
    escaped = name.replace(" ", "%20")
    return sorted(look.scan_iter(f"bull:{escaped}-*:{what}"))


async def shout(message):
    return message.upper()


async def test_a_read_is_given_up_later_than_the_server_is_asked_to_wait(make_queue):
    """By default redis-py gives up after 5 s, just when BullMQ's drainDelay is over: then the answer is lost."""
    queue = await make_queue(shout)
    for client in queue._engine._port._clients:
        assert client.connection_pool.connection_kwargs["socket_timeout"] > 2 * BLOCK


async def test_a_partition_is_handled_one_message_at_a_time_and_a_message_tried_once(make_queue, look, name):
    """BullMQ's own retries would put a message behind those that came after it."""
    queue = await make_queue(shout, partitions=3)
    await queue.enqueue("a", "x", message_id="1")
    assert [look.hget(key, "concurrency") for key in keys(look, name, "meta")] == ["1", "1", "1"]
    (job,) = keys(look, name, "m1")
    assert json.loads(look.hget(job, "opts"))["attempts"] == 1


async def test_connections_do_not_grow_with_the_partitions(make_queue, look):
    """BullMQ's own classes take seven for each partition: 448 here."""
    before = len(look.client_list())
    queues = [await make_queue(shout, partitions=64), await make_queue(shout, partitions=64)]
    queues.append(await make_queue(partitions=64))
    await asyncio.gather(*(queue.enqueue(f"chat {number}", "x") for number in range(100) for queue in queues))
    assert len(look.client_list()) - before <= 3 * 10


async def test_what_the_server_keeps_of_settled_messages_is_bounded(server, look, name):
    """The latest outcomes are kept for those who ask again; events are few, and idle partitions have no keys else."""
    engine = BullMQEngine(server.url, remember_most=10)
    async with DistributedQueue(engine, shout, name=name, partitions=2) as queue:
        await asyncio.gather(*(queue.enqueue(f"chat {number}", "x", message_id=str(number)) for number in range(60)))
        assert len(keys(look, name, "m[0-9]*")) == 10
        assert await queue.enqueue("chat 59", "y", message_id="59") == "X"
        assert {look.hget(key, "opts.maxLenEvents") for key in keys(look, name, "meta")} == {"2000"}
        assert (await queue.get_server_stats()).total_queued == 0
    kept = {key.rpartition(":")[2] for key in keys(look, name, "*") if ":m" not in key}
    assert kept <= {"completed", "events", "id", "marker", "stalled-check"}


async def test_an_outcome_whose_event_is_missed_is_read_from_what_is_stored(make_queue, gate):
    """Events are trimmed, and lost with a connection."""
    gate.hold("m1")
    await make_queue(gate, partitions=2)
    producer = await make_queue(partitions=2)
    here, there = (next(chat for chat in "abcdefgh" if partition_of(chat, 2) == partition) for partition in (0, 1))
    result = producer.enqueue(here, "m1")
    await gate.has_begun("m1")
    producer._engine._outcomes._after[0] = "9999999999999-0"  # behind every event there will be
    assert await producer.enqueue(there, "m2") == "M2"  # the reading that was under way is over
    gate.release("m1")
    assert await result == "M1"


async def test_the_reading_of_outcomes_ends_when_nobody_waits_and_begins_anew(make_queue):
    queue = await make_queue(shout)
    assert await queue.enqueue("a", "x") == "X"
    await asyncio.wait([queue._engine._outcomes._reading])
    assert await queue.enqueue("a", "y") == "Y"


async def test_a_delivery_whose_lease_is_lost_is_cancelled_and_its_outcome_dropped(make_queue, look, name):
    """As after a stop of the process: the lock is gone from the server when it is to be renewed."""
    seen = []
    begun = asyncio.Event()

    async def handler(_message):
        attempt = current_delivery().attempt
        seen.append(f"{attempt} begins")
        if attempt == 1:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("1 cancelled")
                raise
        return attempt

    queue = await make_queue(handler)
    result = queue.enqueue("a", "x")
    await begun.wait()
    assert look.delete(*keys(look, name, "m*:lock")) == 1
    assert await result == 2
    assert seen == ["1 begins", "1 cancelled", "2 begins"]
    assert queue.get_memory_stats().redelivered == 1


async def test_a_server_that_comes_back_without_its_data_is_set_up_anew(kind, name, gate):
    """The limit of one message at a time is stored, too: without it order would be lost. Who waits is told."""
    gate.hold("m1")
    with tempfile.TemporaryDirectory(prefix="rq") as folder:
        server = kind.start(Path(folder))
        try:
            async with DistributedQueue(BullMQEngine(server.url, lease=1.0), gate, name=name, partitions=1) as queue:
                lost = queue.enqueue("a", "m1")
                await gate.has_begun("m1")
                server.kill()
                for part in (Path(folder) / "appendonlydir").iterdir():
                    part.unlink()
                await asyncio.to_thread(server.restart)
                with pytest.raises(OutcomeLost, match="the server has lost its data"):
                    await lost
                assert await queue.enqueue("a", "m2") == "M2"
                with redis.Redis.from_url(server.url, decode_responses=True) as look:
                    assert [look.hget(key, "concurrency") for key in keys(look, name, "meta")] == ["1"]
        finally:
            server.stop()


async def test_a_job_that_is_no_message_of_ours_is_given_up_and_holds_up_nothing(make_queue, server, name, complaints):
    """Something else has put it into a partition, by BullMQ's own means."""
    queue = await make_queue(shout, lease=0.5, partitions=1)
    theirs = bullmq.Queue(f"{name.replace(' ', '%20')}-0", {"connection": server.url})
    await theirs.add("job", {"foo": "bar"}, {})
    await theirs.close()
    assert await queue.enqueue("a", "x") == "X"
    assert (await queue.get_server_stats()).dead == 1
    assert len(complaints) == 3


def test_a_missing_extra_is_named():
    program = """
import sys
sys.modules["bullmq"] = None
import reference_queue.distributed
try:
    import reference_queue.distributed.bullmq
except ImportError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert "pip install 'pytest-taskleak[redis]'" in told.stdout


async def test_whatever_a_renewal_raises_leases_are_renewed_afterwards(make_queue, gate, monkeypatch, caplog):
    gate.hold("m1")
    queue = await make_queue(gate)
    result = queue.enqueue("a", "m1")
    await gate.has_begun("m1")
    port = queue._engine._port
    extend = port.extend
    asked = []

    async def fails_first(*args):
        asked.append(args)
        if len(asked) == 1:
            raise TypeError("nobody has thought of it")
        return await extend(*args)

    monkeypatch.setattr(port, "extend", fails_first)
    await until(lambda: len(asked) == 3)
    gate.release("m1")
    assert (await result, gate.begun) == ("M1", ["m1"])
    assert ["could not be renewed" in record.message for record in caplog.records] == [True]
