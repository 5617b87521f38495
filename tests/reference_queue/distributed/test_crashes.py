"""Worker processes that are killed, stopped and revived, and a server that is restarted: nothing lost, order kept.

benchmarks/crash_runs.py does the same many times and prints figures.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from reference_queue import DeadlineExceeded, QueueClosed
from reference_queue.distributed import DistributedQueue, EngineLost
from reference_queue.distributed._trial import Trial


@pytest.fixture
def trial(kind_name, server, name, tmp_path):
    return Trial(kind_name, server.url, name, tmp_path / "journal")


async def test_a_worker_that_is_killed_loses_nothing(trial):
    """Kill -9 while it has messages in hand: the other worker gets them, before the later ones of their chats."""
    report = await trial.run(Trial.kill_worker)
    assert report.held, report
    assert 1 <= report.redelivered <= trial.partitions
    assert {process.returncode for process in trial.workers} == {0, -9}


async def test_a_worker_that_is_stopped_and_revived_breaks_no_order(trial):
    """It is stopped for longer than its lease; what it had in hand is delivered to the other one meanwhile."""
    report = await trial.run(Trial.stop_worker)
    assert report.held, report
    assert 1 <= report.redelivered <= trial.partitions
    assert {process.returncode for process in trial.workers} == {0}


async def test_a_server_that_is_restarted_loses_nothing(kind, kind_name, name, tmp_path):
    """Kill -9 of the server, and a start from what it has on its disk: producers and workers connect again."""
    with tempfile.TemporaryDirectory(prefix="rq") as folder:
        server = kind.start(Path(folder))

        async def restart(_trial):
            server.kill()
            await asyncio.to_thread(server.restart)

        trial = Trial(kind_name, server.url, name, tmp_path / "journal", lease=5.0)
        try:
            report = await trial.run(restart)
        finally:
            server.stop()
    assert report.held, report
    assert {process.returncode for process in trial.workers} == {0}


async def test_a_server_that_is_lost_settles_every_future_and_is_taken_up_again(kind, name, gate):
    """Sent while it is down: by the deadline, or when it is back. Closing does not wait for it."""
    with tempfile.TemporaryDirectory(prefix="rq") as folder:
        server = kind.start(Path(folder))
        try:
            worker = DistributedQueue(kind.engine(server.url, 5.0), gate, name=name, partitions=2)
            producer = DistributedQueue(kind.engine(server.url, 5.0), name=name, partitions=2)
            await worker.open()
            await producer.open()
            assert await producer.enqueue("a", "m1") == "M1"
            server.kill()
            late = [producer.enqueue("a", "m2"), producer.enqueue("a", "m3", message_id="m3")]
            with pytest.raises(DeadlineExceeded, match="The server is lost"):
                await producer.enqueue("b", "never", deadline=1.0)
            with pytest.raises(EngineLost):
                await producer.get_server_stats()
            posting = asyncio.create_task(producer.post("b", "withdrawn"))
            await asyncio.wait([posting], timeout=0.1)
            posting.cancel()
            assert producer.get_memory_stats().total_queued >= 2
            other = DistributedQueue(kind.engine(server.url, 5.0), name=name, partitions=2)
            with pytest.raises(EngineLost):
                await other.open()
            await asyncio.to_thread(server.restart)
            await other.open()  # it can be tried again
            assert await asyncio.gather(*late) == ["M2", "M3"]
            assert await other.enqueue("a", "m3", message_id="m3") == "M3"
            assert gate.begun == ["m1", "m2", "m3"]
            server.kill()
            unsent = producer.enqueue("a", "m4")
            for queue in (producer, worker, other):
                await asyncio.wait_for(queue.aclose("cancel"), 20)
            with pytest.raises(QueueClosed):
                await unsent
        finally:
            server.stop()


async def test_a_queue_with_nobody_to_handle_it_waits_for_a_worker(trial):
    """All workers die; a new one takes up where they left."""

    async def replace(trial):
        for process in tuple(trial.workers):
            process.kill()
            await process.wait()
        await trial.start_worker()

    report = await trial.run(replace, workers=1)
    assert report.held, report
