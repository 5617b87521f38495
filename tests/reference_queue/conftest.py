"""What the tests of the queue share: a handler that follows a script, a clock that is set by hand."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import textwrap
from collections import defaultdict

import pytest

from reference_queue import MemoryBreaker, MessageQueue, Reading


class Script:
    """A handler that notes what happens and holds the messages it is told to hold.

    A message is a string whose first letter is its chat. Its result is the message in capitals.
    """

    def __init__(self):
        self.events = []
        self.running = defaultdict(int)
        self.most_of_a_chat = 0
        self.most = 0
        self.swallow = set()
        self._gates = {}
        self._begun = {}

    async def __call__(self, message):
        chat = message[0]
        self.events.append(f"{message} begins")
        self.running[chat] += 1
        self.most_of_a_chat = max(self.most_of_a_chat, self.running[chat])
        self.most = max(self.most, sum(self.running.values()))
        self.begun(message).set_result(None)
        try:
            while message in self._gates:
                try:
                    return await asyncio.shield(self._gates[message])
                except asyncio.CancelledError:
                    self.events.append(f"{message} cancelled")
                    if message not in self.swallow:
                        raise
            return message.upper()
        finally:
            self.running[chat] -= 1
            self.events.append(f"{message} ends")

    def hold(self, *messages):
        for message in messages:
            self._gates[message] = asyncio.get_running_loop().create_future()

    def begun(self, message):
        """The future that is done when the handling of the message begins."""
        return self._begun.setdefault(message, asyncio.get_running_loop().create_future())

    def release(self, *messages, error=None):
        for message in messages:
            gate = self._gates[message]
            if error is None:
                gate.set_result(message.upper())
            else:
                gate.set_exception(error)

    @property
    def order(self):
        """The messages whose handling has begun, in order."""
        return [event.split()[0] for event in self.events if event.endswith("begins")]


@pytest.fixture
def script():
    return Script()


@pytest.fixture
def ticks():
    """Let the loop go round so often that everything that can happen without time passing has happened."""

    async def ticks(rounds=20):
        for _ in range(rounds):
            await asyncio.sleep(0)

    return ticks


class Clock:
    def __init__(self, loop):
        self.now = loop.time()
        loop.time = lambda: self.now

    async def advance(self, seconds):
        self.now += seconds
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def clock():
    """Time that passes for the loop only when the test says so."""
    return Clock(asyncio.get_running_loop())


@pytest.fixture
async def complaints():
    """What the loop's exception handler was told."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    return told


@pytest.fixture(autouse=True)
def every_future_is_settled(monkeypatch):
    """Hold every future that `enqueue` hands out until it is done, and fail the test that leaves one pending.

    The plugin sees futures that a loop makes; the queue's are made past it.
    """
    pending = set()
    enqueue = MessageQueue.enqueue

    def held(self, *args, **options):
        future = enqueue(self, *args, **options)
        if not future.done():
            pending.add(future)
            future.add_done_callback(pending.discard)
        return future

    monkeypatch.setattr(MessageQueue, "enqueue", held)
    yield
    assert [future for future in pending if not future.done()] == []


PROLOGUE = """
import asyncio, gc
from reference_queue import *

def show(results):
    for result in results:
        if not result.done():
            print("pending")
        elif result.cancelled():
            print("cancelled")
        else:
            print(type(result.exception()).__name__ if result.exception() else result.result())
"""


@pytest.fixture
def run_program():
    """Run a program of its own and return the lines it prints: for loops that end with tasks alive.

    Such tasks are leaks, and are meant to be; a test process may be watched for them, and kept from freeing them.
    """

    def run_program(source):
        program = [sys.executable, "-c", PROLOGUE + textwrap.dedent(source)]
        return subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stdout.split()

    return run_program


class Memory:
    """A meter that is set by hand, and a clock."""

    def __init__(self):
        self.percent = 50
        self.now = 0.0
        self.looks = 0

    def __call__(self):
        self.looks += 1
        if self.percent is None:
            raise OSError("no reading")
        return Reading(self.percent, 100, "a test")

    def breaker(self, **options):
        return MemoryBreaker(meter=self, clock=lambda: self.now, **options)

    def at(self, percent, breaker, *, after=1.0):
        """The state after memory has been at so much for a while."""
        self.percent = percent
        self.now += after
        breaker.allows()
        return breaker.state


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
async def closing(clock, memory):
    """Make queues with a breaker whose clock is the loop's; they are cancelled at the end."""
    async with contextlib.AsyncExitStack() as stack:

        def make(handler, **options):
            breaker = MemoryBreaker(meter=memory, clock=lambda: clock.now)
            queue = MessageQueue(handler, breaker=breaker, **options)
            stack.push_async_callback(queue.aclose, "cancel")
            return queue

        yield make
