"""The memory breaker: when it opens, who waits, who is refused, and a process that would die without it."""

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reference_queue import LoopEnded, MemoryBreaker, MemoryFull, MessageDropped, MessageQueue, QueueClosed, Reading


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


def test_it_opens_at_80_percent_and_closes_below_70(memory):
    breaker = memory.breaker()
    states = [memory.at(percent, breaker) for percent in (79, 80, 79, 70, 69, 79, 95)]
    assert states == ["closed", "open", "open", "open", "closed", "closed", "open"]
    assert breaker.opened == 2
    assert breaker.reading == Reading(95, 100, "a test")


def test_the_marks_can_be_set(memory):
    breaker = memory.breaker(open_at=0.5, close_at=0.4)
    assert [memory.at(percent, breaker) for percent in (49, 50, 41, 39)] == ["closed", "open", "open", "closed"]


def test_it_looks_at_memory_at_most_once_in_a_second(memory):
    breaker = memory.breaker()
    for _ in range(100):
        breaker.allows()
    assert memory.looks == 1
    memory.now += 0.99
    breaker.allows()
    assert memory.looks == 1
    memory.now += 0.02
    breaker.allows()
    assert memory.looks == 2


def test_memory_that_stays_between_the_marks_lets_one_message_try_and_then_all(memory):
    breaker = memory.breaker(retry_after=30)
    memory.at(85, breaker)
    assert memory.at(75, breaker, after=29) == "open"
    assert memory.at(75, breaker, after=2) == "half-open"
    assert breaker.allows()
    breaker.passed()
    assert not breaker.allows()
    assert memory.at(75, breaker) == "closed"


def test_memory_that_stays_high_lets_one_message_through_now_and_then_and_no_more(memory):
    breaker = memory.breaker(retry_after=30)
    memory.at(85, breaker)
    passed = 0
    for _ in range(301):
        memory.now += 1
        while breaker.allows():
            breaker.passed()
            passed += 1
    assert passed == 9  # one each 31 to 32 seconds: thirty open, one until the next look, which may come a moment late
    assert breaker.opened == 1


def test_a_trial_lasts_until_a_message_comes(memory):
    breaker = memory.breaker(retry_after=30, trial=2)
    memory.at(85, breaker)
    assert memory.at(85, breaker, after=31) == "half-open"
    assert memory.at(85, breaker, after=3600) == "half-open"
    breaker.passed()
    assert memory.at(85, breaker) == "half-open"
    breaker.passed()
    assert memory.at(85, breaker) == "open"


def test_each_change_is_logged_once(memory, caplog):
    caplog.set_level(logging.INFO, "reference_queue")
    breaker = memory.breaker(retry_after=30)
    for percent in (85, 86, 87, 69, 68):
        memory.at(percent, breaker)
    memory.at(90, breaker)
    memory.at(90, breaker, after=31)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "Memory breaker open at 85%, 0 MiB of 0 MiB (a test): no more messages are taken in"),
        ("INFO", "Memory breaker closed at 69%, 0 MiB of 0 MiB (a test)"),
        ("WARNING", "Memory breaker open at 90%, 0 MiB of 0 MiB (a test): no more messages are taken in"),
        ("INFO", "Memory breaker half-open at 90%, 0 MiB of 0 MiB (a test): 1 messages may pass"),
    ]


def test_a_meter_that_fails_keeps_nobody_out_and_is_told_once(memory, caplog):
    breaker = memory.breaker()
    memory.at(85, breaker)
    assert memory.at(None, breaker) == "closed"
    memory.at(None, breaker)
    assert breaker.reading is None
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "Memory breaker: the meter failed, so messages pass until it works again"
    ]
    assert memory.at(85, breaker) == "open"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"open_at": 0.7, "close_at": 0.8}, "open_at=0.7 and close_at=0.8 are no marks"),
        ({"open_at": 80, "close_at": 70}, "Give parts of the limit"),
        ({"every": 0}, "every=0 is out of range"),
        ({"retry_after": -1}, "retry_after=-1 is out of range"),
        ({"trial": 0}, "trial=0 is too small"),
        ({"limit": 0}, "limit=0 is too small"),
        ({"limit": 1000}, "limit=1000 is for the meter of the system"),
    ],
)
def test_what_makes_no_sense_is_refused(memory, options, text):
    with pytest.raises(ValueError, match=text):
        memory.breaker(**options)


@pytest.mark.parametrize("option", ["every", "retry_after"])
def test_no_time_at_all_is_refused(memory, option):
    with pytest.raises(TypeError, match=f"{option}=None"):
        memory.breaker(**{option: None})


# -- in a queue ------------------------------------------------------------------------------------------


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


async def test_messages_wait_while_it_is_open_and_come_in_order_when_it_closes(closing, script, memory, clock):
    queue = closing(script)
    memory.percent = 85
    results = [queue.enqueue("a", message) for message in ("a1", "a2", "a3")]
    await clock.advance(5)
    stats = queue.get_memory_stats()
    assert (stats.waiting, stats.total_queued, script.order) == (3, 0, [])
    memory.percent = 69
    await clock.advance(1.1)
    assert [await result for result in results] == ["A1", "A2", "A3"]
    assert script.order == ["a1", "a2", "a3"]


async def test_a_post_feels_the_pressure(closing, script, memory, clock):
    queue = closing(script)
    memory.percent = 85
    posted = asyncio.create_task(queue.post("a", "a1"))
    await clock.advance(5)
    assert not posted.done()
    memory.percent = 60
    await clock.advance(1.1)
    await posted


async def test_what_is_queued_already_is_handled_while_it_is_open(closing, script, memory, clock):
    queue = closing(script)
    before = queue.enqueue("a", "a1")
    memory.percent = 85
    await clock.advance(1.1)
    after = queue.enqueue("a", "a2")
    assert await before == "A1"
    assert not after.done()


async def test_nothing_of_it_is_left_once_nobody_waits(closing, script, memory, clock):
    queue = closing(script)
    memory.percent = 85
    first, second = queue.enqueue("a", "a1"), queue.enqueue("b", "b1", deadline=3)
    assert len(queue._pool.tasks) == 1
    first.cancel()
    await clock.advance(3.1)
    assert second.done()
    await clock.advance(0)
    assert queue._pool.tasks == set()
    assert queue.get_memory_stats().total_chats == 0


async def test_who_waits_again_at_once_is_seen_to(closing, script, memory, clock):
    queue = closing(script)
    memory.percent = 85
    queue.enqueue("a", "a1").cancel()
    await asyncio.sleep(0)  # the callback of the cancelled future has told the lookout to stop, who has not ended yet
    result = queue.enqueue("a", "a2")
    await clock.advance(5)
    memory.percent = 60
    await clock.advance(1.1)
    assert await result == "A2"


async def test_half_open_lets_one_waiting_message_in(closing, script, memory, clock):
    queue = closing(script)
    memory.percent = 85
    results = [queue.enqueue(chat, f"{chat}1") for chat in "abc"]
    for _ in range(33):
        await clock.advance(1)
    assert [result.done() for result in results] == [True, False, False]


async def test_reject_refuses_with_what_is_full_and_what_to_do(closing, script, memory):
    queue = closing(script, policy="reject")
    memory.percent = 85
    with pytest.raises(MemoryFull, match=r"85%, 0 MiB of 0 MiB \(a test\); the breaker opened at 80%\..*Send later"):
        queue.enqueue("a", "a1")
    assert queue.get_memory_stats().rejected == 1
    assert queue.get_memory_stats().total_chats == 0


async def test_a_handler_of_the_queue_does_not_wait_for_memory(closing, memory, clock):
    async def handler(message):
        if message == "outer":
            memory.percent = 85
            await clock.advance(1.1)
            await queue.post("b", "inner")

    queue = closing(handler)
    with pytest.raises(MemoryFull, match="The caller is a handler of this queue"):
        await queue.enqueue("a", "outer")


async def test_drop_oldest_puts_the_message_in_the_place_of_the_oldest(closing, script, memory, clock):
    queue = closing(script, policy="drop_oldest", workers=1)
    script.hold("a1")
    results = [queue.enqueue("a", message) for message in ("a1", "a2")]
    await script.begun("a1")
    memory.percent = 85
    await clock.advance(1.1)
    newest = queue.enqueue("b", "b1")
    with pytest.raises(MessageDropped):
        await results[1]
    script.release("a1")
    assert await newest == "B1"


async def test_drop_oldest_refuses_where_there_is_nothing_to_drop(closing, script, memory):
    queue = closing(script, policy="drop_oldest")
    memory.percent = 85
    with pytest.raises(MemoryFull, match="choose the policy 'wait'"):
        queue.enqueue("a", "a1")


async def test_a_bound_that_is_reached_is_told_as_the_bound_even_if_memory_is_full_too(closing, script, memory, clock):
    queue = closing(script, policy="reject", max_queued_per_chat=1, workers=1)
    script.hold("a1")
    queue.enqueue("a", "a1")
    await script.begun("a1")
    queue.enqueue("a", "a2")
    memory.percent = 85
    await clock.advance(1.1)
    with pytest.raises(Exception, match="max_queued_per_chat=1") as caught:
        queue.enqueue("a", "a3")
    assert not isinstance(caught.value, MemoryFull)
    script.release("a1")


async def test_a_drain_lets_all_in_that_wait_for_memory(closing, script, memory, clock):
    """They take their memory already, and nobody else comes."""
    queue = closing(script)
    memory.percent = 85
    results = [queue.enqueue("a", message) for message in ("a1", "a2")]
    await clock.advance(2)
    await queue.aclose()
    assert [result.result() for result in results] == ["A1", "A2"]
    assert queue._pool.tasks == set()


async def test_a_cancelling_close_settles_all_that_wait_for_memory(closing, memory, clock):
    async def handler(message):
        await clock.advance(0)

    queue = closing(handler)
    memory.percent = 85
    results = [queue.enqueue(chat, chat) for chat in "ab"]
    await queue.aclose("cancel")
    for result in results:
        assert not isinstance(result.exception(), (MemoryFull, LoopEnded))
        assert result.exception() is None or isinstance(result.exception(), QueueClosed)


def test_a_loop_that_ends_settles_what_waits_for_memory(run_program):
    """No worker is alive then that could do it."""
    program = """
    async def handler(message):
        return message

    async def main():
        breaker = MemoryBreaker(meter=lambda: Reading(9, 10, "a test"))
        queue = MessageQueue(handler, breaker=breaker)
        results.append(queue.enqueue("a", "a1"))

    results = []
    asyncio.run(main())
    show(results)
    """
    assert run_program(program) == ["LoopEnded"]


# -- a process whose memory is limited --------------------------------------------------------------------

CHILD = """
import asyncio, mmap, os, resource, sys
from reference_queue import MemoryBreaker, MessageQueue

MIB = 2**20
how, limit, with_breaker = sys.argv[1], int(sys.argv[2]) * MIB, sys.argv[3] == "breaker"
if how == "rlimit":
    size = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize")))
    resource.setrlimit(resource.RLIMIT_AS, (size * 1024 + limit,) * 2)
else:
    with open(os.path.join(how, "cgroup.procs"), "w") as file:
        file.write(str(os.getpid()))

async def handler(body):
    await asyncio.sleep(0)

filling = b"x" * MIB

async def main():
    breaker = MemoryBreaker(every=0.001, retry_after=60) if with_breaker else None
    async with MessageQueue(handler, workers=4, breaker=breaker) as queue:
        for number in range(700):
            # What is freed of the heap stays address space, so that the limit of that needs memory outside the heap.
            body = mmap.mmap(-1, MIB) if how == "rlimit" else bytearray(MIB)
            body[:] = filling
            await queue.post(number % 10, body)
            del body
        await queue.join()
        stats = queue.get_memory_stats()
    print(stats.completed, breaker.opened > 0, breaker.reading.source.split()[0])

asyncio.run(main())
"""


@pytest.fixture
def limited_group():
    """A real cgroup of at most 128 MiB, of whichever version this machine has."""
    limit = str(128 * 2**20)
    if sys.platform != "linux":
        pytest.skip("cgroups are Linux's")
    for parent, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        folder = Path(parent) / f"reference-queue-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / name).write_text(limit)
        except OSError:
            folder.rmdir()
            continue
        yield folder
        folder.rmdir()
        return
    pytest.skip("this user may not make a cgroup with a memory limit here")


def child(how, *options):
    command = [sys.executable, "-c", CHILD, str(how), *options]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells how much counts towards the limit")
def test_a_process_with_a_real_limit_lives_with_the_breaker_and_dies_without_it():
    """700 MiB of messages through 300 MiB."""
    lives = child("rlimit", "300", "breaker")
    assert (lives.returncode, lives.stdout.split()) == (0, ["700", "True", "RLIMIT_AS"]), lives.stderr
    dies = child("rlimit", "300", "none")
    assert dies.returncode == 1
    assert "Cannot allocate memory" in dies.stderr


def test_a_process_in_a_real_cgroup_lives_with_the_breaker_and_is_killed_without_it(limited_group):
    lives = child(limited_group, "0", "breaker")
    assert (lives.returncode, lives.stdout.split()) == (0, ["700", "True", "cgroup"]), lives.stderr
    dies = child(limited_group, "0", "none")
    assert dies.returncode == -9
