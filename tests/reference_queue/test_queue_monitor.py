"""The monitor: the incident's three lines, alerts on crossing, and the queue that sets the alert off."""

import asyncio
import logging
from types import SimpleNamespace

import pytest

from reference_queue import MessageQueue, Monitor
from reference_queue.incident import BrokenMessageQueue, IncidentFigures, Watched


class Fake:
    """Figures that are set by hand."""

    def __init__(self, queued=0, pending=0, chats=12, processing=12):
        self.figures = IncidentFigures(chats, queued, processing, pending)

    def set(self, **figures):
        self.figures = self.figures._replace(**figures)

    def get_memory_stats(self):
        return self.figures


@pytest.fixture
def lines(caplog):
    """The level and the text of each line since the last call."""
    caplog.set_level(logging.DEBUG, "reference_queue.monitor")

    def lines(*, debug=False):
        found = [f"{record.levelname} {record.message}" for record in caplog.records if record.levelno > 10 or debug]
        caplog.clear()
        return found

    return lines


def test_the_incidents_lines_are_logged(lines):
    queue = Fake(queued=45, pending=12)
    monitor = Monitor(queue, cache=lambda: 234)
    monitor.look()
    assert lines(debug=True) == [
        "DEBUG Memory - Queue: 45 msgs in 12 chats | Processing: 12 | Promises: 12 | Cache: 234 contacts"
    ]
    queue.set(total_queued=523)
    monitor.look()
    assert lines() == ["WARNING HIGH QUEUE VOLUME - 523 messages queued"]
    queue.set(pending_promises=250)
    monitor.look()
    assert lines() == ["ERROR TOO MANY PENDING PROMISES - 250 promises. Possible leak!"]
    assert monitor.alerts == ("high volume", "pending promises")


def test_without_a_cache_none_is_told(lines):
    Monitor(Fake(queued=1, chats=1, processing=1, pending=1)).look()
    assert lines(debug=True) == ["DEBUG Memory - Queue: 1 msgs in 1 chats | Processing: 1 | Promises: 1"]


def test_an_alert_comes_on_crossing_and_again_only_after_the_figure_was_well_below(lines):
    queue = Fake()
    monitor = Monitor(queue, too_many_pending=100)
    said = []
    for pending in (100, 101, 150, 90, 101, 80, 101, 79, 101):
        queue.set(pending_promises=pending)
        monitor.look()
        said.append(lines())
    alert = ["ERROR TOO MANY PENDING PROMISES - 101 promises. Possible leak!"]
    normal = ["INFO Pending promises are normal again - 79 promises"]
    assert said == [[], alert, [], [], [], [], [], normal, alert]


def test_the_volume_is_said_to_be_normal_again(lines):
    queue = Fake(queued=501)
    monitor = Monitor(queue, high_volume=500)
    monitor.look()
    queue.set(total_queued=399)
    monitor.look()
    assert lines() == [
        "WARNING HIGH QUEUE VOLUME - 501 messages queued",
        "INFO Queue volume is normal again - 399 messages queued",
    ]
    assert monitor.alerts == ()


def test_each_record_has_the_figures_as_fields(caplog):
    caplog.set_level(logging.DEBUG, "reference_queue.monitor")
    Monitor(Fake(queued=501, pending=12), cache=lambda: 7, name="bot").look()
    fields = ("queue_name", "total_chats", "total_queued", "processing", "pending_promises", "cached_contacts", "alert")
    assert [tuple(getattr(record, name) for name in fields) for record in caplog.records] == [
        ("bot", 12, 501, 12, 12, 7, None),
        ("bot", 12, 501, 12, 12, 7, "high volume"),
    ]


def test_a_cache_that_cannot_be_counted_is_told_once_until_it_can(lines):
    answers = [KeyError("contacts"), KeyError("contacts"), 3, KeyError("contacts")]

    def count():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monitor = Monitor(Fake(), cache=count)
    failed = ["ERROR The count of the cache cannot be had; this is said once until it works again"]
    said = []
    for _ in range(4):
        monitor.look()
        said.append(lines())
    assert said == [failed, [], [], failed]


async def test_a_queue_that_fails_does_not_end_the_monitor(lines, clock):
    class Broken:
        looks = 0

        def get_memory_stats(self):
            self.looks += 1
            raise RuntimeError("gone")

    queue = Broken()
    async with Monitor(queue, every=60):
        await clock.advance(0)
        await clock.advance(61)
        await clock.advance(61)
    assert queue.looks == 4
    assert lines() == ["ERROR The figures of the queue cannot be had; this is said once until it works again"]


async def test_it_looks_at_once_then_every_so_often_and_at_the_end(lines, clock):
    async with Monitor(Fake(), every=60):
        await clock.advance(0)
        assert len(lines(debug=True)) == 1
        await clock.advance(59)
        assert lines(debug=True) == []
        await clock.advance(2)
        assert len(lines(debug=True)) == 1
    assert len(lines(debug=True)) == 1
    await clock.advance(600)
    assert lines(debug=True) == []


async def test_its_task_ends_with_its_block_also_when_that_fails(clock):
    before = asyncio.all_tasks()
    with pytest.raises(KeyError):
        async with Monitor(Fake()):
            raise KeyError
    assert asyncio.all_tasks() == before


async def test_it_cannot_be_entered_twice_at_the_same_time():
    monitor = Monitor(Fake())
    async with monitor:
        with pytest.raises(RuntimeError, match="runs already"):
            await monitor.__aenter__()
    async with monitor:
        pass


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"every": 0}, ValueError, "every=0 is out of range"),
        ({"every": None}, TypeError, "every=None is not a number"),
        ({"high_volume": 0}, ValueError, "high_volume=0 is too small"),
        ({"too_many_pending": 1.5}, TypeError, "too_many_pending=1.5 is not an int"),
    ],
)
def test_what_makes_no_sense_is_refused(options, error, text):
    with pytest.raises(error, match=text):
        Monitor(Fake(), **options)


async def test_the_alert_fires_on_the_broken_queue(lines):
    """Its handler fails for one message in ten, as happens, and each failure ends the processor of a chat."""

    async def handler(_instance, message):
        if message % 10 == 0:
            raise ConnectionError
        return message

    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    queue = BrokenMessageQueue(handler)
    monitor = Monitor(Watched(queue))
    futures = [queue.enqueue(None, str(number % 7), number) for number in range(2000)]
    for _ in range(100):
        await asyncio.sleep(0)
    monitor.look()
    pending = sum(not future.done() for future in futures)
    assert pending > 1900
    assert lines()[-1] == f"ERROR TOO MANY PENDING PROMISES - {pending} promises. Possible leak!"


@pytest.mark.parametrize("workers", [64, 200])
async def test_the_alert_never_fires_on_the_reference_queue_under_the_same_load(lines, workers):
    """Not with more workers than the threshold, either, which are all busy at the same time."""

    async def handler(message):
        await asyncio.sleep(0)
        if message % 10 == 0:
            raise ConnectionError
        return message

    async with MessageQueue(handler, workers=workers) as queue:
        monitor = Monitor(queue, high_volume=10_000)
        most = 0
        for number in range(4000):
            queue.enqueue(number % 1000, number)
            if number % 500 == 499:
                await asyncio.sleep(0)
                monitor.look()
                most = max(most, queue.get_memory_stats().pending_promises)
    assert most == workers
    assert lines() == []


class _Half:
    """A queue whose statistics have only some of the figures, until it is mended."""

    def __init__(self):
        self.stats = SimpleNamespace(total_chats=1, total_queued=1, processing=1)

    def get_memory_stats(self):
        return self.stats


async def test_figures_that_are_not_there_are_logged_once_and_do_not_end_the_task(clock, caplog):
    queue = _Half()
    with caplog.at_level(logging.DEBUG, "reference_queue.monitor"):
        async with Monitor(queue, every=1):
            for _ in range(3):
                await clock.advance(1)
            assert [record.levelname for record in caplog.records] == ["ERROR"]
            assert "The figures of the queue cannot be had" in caplog.text
            queue.stats.pending_promises = 1
            await clock.advance(1)
            assert caplog.records[-1].getMessage() == "Memory - Queue: 1 msgs in 1 chats | Processing: 1 | Promises: 1"


@pytest.mark.parametrize("queue", ["inbox", None, MessageQueue])
def test_what_has_no_figures_is_refused_when_the_monitor_is_made(queue):
    with pytest.raises(TypeError, match=r"has no get_memory_stats\(\)\. Give a queue"):
        Monitor(queue)


def test_a_cache_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match=r"cache=3 cannot be called"):
        Monitor(_Half(), cache=3)
