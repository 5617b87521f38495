"""The page for Prometheus: what it shows, that its own readers accept it, and what it does not keep alive."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import math
import shutil
import subprocess
import sys
import threading
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from reference_queue import MemoryStats, MessageQueue, QueueFull
from reference_queue._figures import FIGURES
from reference_queue.metrics import QueueMetrics

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def metrics():
    return QueueMetrics()


def samples(metrics, parse=parse_text, accept=None):
    """Every sample of the page: its name and the values of its labels, with its value."""
    body, _ = metrics.page(accept)
    return {
        (sample.name, *(sample.labels[label] for label in ("queue", "outcome", "le") if label in sample.labels)): (
            sample.value
        )
        for family in parse(body.decode())
        for sample in family.samples
    }


async def busy_queue(metrics, script, clock):
    """A queue that has done everything that has a figure, with a handler under way and a message queued."""
    queue = MessageQueue(script, workers=1, max_queued_per_chat=2, policy="reject", observer=metrics.observer("inbox"))
    metrics.add("inbox", queue)
    script.hold("a1", "b1")
    queue.enqueue("a", "a1")
    await script.begun("a1")
    withdrawn = queue.enqueue("a", "a2")
    queue.enqueue("a", "a3", deadline=2)
    with pytest.raises(QueueFull):
        queue.enqueue("a", "a4")
    withdrawn.cancel()
    await clock.advance(3)
    failed = queue.enqueue("c", "c1")
    script.hold("c1")
    script.release("a1")
    await script.begun("c1")
    script.release("c1", error=KeyError("c1"))
    await asyncio.wait([failed])
    queue.enqueue("b", "b1")
    queue.enqueue("b", "b2")
    await script.begun("b1")
    return queue


@pytest.mark.parametrize(("parse", "accept"), [(parse_text, None), (parse_openmetrics, OPENMETRICS)])
async def test_the_page_shows_every_figure_and_the_times_in_both_formats(metrics, script, clock, parse, accept):
    queue = await busy_queue(metrics, script, clock)
    found = samples(metrics, parse, accept)
    stats = queue.get_memory_stats()
    for field, figure in FIGURES.items():
        if hasattr(stats, field):
            name = f"reference_queue_{figure.name.replace('.', '_')}{'_total' if figure.rises else ''}"
            assert found[name, "inbox"] == getattr(stats, field), field
    assert (stats.received, stats.rejected, stats.expired, stats.cancelled, stats.failed) == (6, 1, 1, 1, 1)
    assert found["reference_queue_wait_seconds_count", "inbox", "begun"] == 3
    assert found["reference_queue_wait_seconds_count", "inbox", "expired"] == 1
    assert found["reference_queue_wait_seconds_sum", "inbox", "expired"] == 3.0
    assert found["reference_queue_handling_seconds_bucket", "inbox", "completed", "2.5"] == 0
    assert found["reference_queue_handling_seconds_bucket", "inbox", "completed", "5.0"] == 1
    assert found["reference_queue_handling_seconds_bucket", "inbox", "completed", "+Inf"] == 1
    assert found["reference_queue_handling_seconds_sum", "inbox", "completed"] == 3.0
    assert found["reference_queue_handling_seconds_count", "inbox", "failed"] == 1
    await queue.aclose("cancel")


def test_every_field_of_the_statistics_has_a_figure_and_every_name_is_used_once():
    assert {field.name for field in dataclasses.fields(MemoryStats)} <= set(FIGURES)
    assert len({figure.name for figure in FIGURES.values()}) == len(FIGURES)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; version=0.0.4"),
        ("text/plain", "text/plain; version=0.0.4"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0"),
    ],
)
def test_the_accept_header_chooses_the_format(metrics, accept, content_type):
    assert metrics.page(accept).content_type.startswith(content_type)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (of Prometheus) is not installed")
async def test_promtool_has_nothing_to_complain_of(metrics, script, clock):
    queue = await busy_queue(metrics, script, clock)
    command = ["promtool", "check", "metrics"]
    page = metrics.page().body
    await queue.aclose("cancel")
    result = subprocess.run(command, input=page, capture_output=True, check=False, timeout=60)  # noqa: ASYNC221 - the queue is closed
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


async def test_no_label_tells_a_chat(metrics, script, clock):
    queue = await busy_queue(metrics, script, clock)
    for family in parse_text(metrics.page().body.decode()):
        for sample in family.samples:
            assert set(sample.labels) <= {"queue", "outcome", "le"}
            assert sample.labels["queue"] == "inbox"
    await queue.aclose("cancel")


async def test_two_queues_share_a_page_and_one_of_them_can_be_taken_off(metrics, script):
    async with MessageQueue(script, observer=metrics.observer("one")) as one, MessageQueue(script) as two:
        assert metrics.add("one", one) is one
        metrics.add("two", two)
        await one.enqueue("a", "a1")
        found = samples(metrics)
        assert found["reference_queue_messages_completed_total", "one"] == 1
        assert found["reference_queue_messages_completed_total", "two"] == 0
        with pytest.raises(ValueError, match=r"There is a queue named 'one' already\. Choose another name, or remove"):
            metrics.add("one", two)
        with pytest.raises(ValueError, match="There is an observer named 'one' already"):
            metrics.observer("one")
        metrics.remove("one")
        assert {key[1] for key in samples(metrics)} == {"two"}
        metrics.remove("one")


async def test_a_queue_that_is_gone_is_gone_from_the_page_and_its_name_is_free(metrics, script):
    queue = metrics.add("inbox", MessageQueue(script, observer=metrics.observer("inbox")))
    await queue.enqueue("a", "a1")
    await queue.aclose()
    assert ("reference_queue_wait_seconds_count", "inbox", "begun") in samples(metrics)
    del queue
    gc.collect()
    assert samples(metrics) == {}
    async with metrics.add("inbox", MessageQueue(script, observer=metrics.observer("inbox"))):
        assert samples(metrics)["reference_queue_messages_completed_total", "inbox"] == 0


def test_one_registry_takes_one_collector_and_gives_it_back(metrics):
    registry = CollectorRegistry()
    first = QueueMetrics(registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        QueueMetrics(registry)
    registry.unregister(first)
    QueueMetrics(registry)


async def test_the_page_can_be_asked_for_in_a_thread_while_the_queue_works(metrics):
    """As prometheus_client's own server does it. No counter ever falls, or its rate would jump."""

    async def handler(message):
        await asyncio.sleep(0)
        return message

    server, thread = start_http_server(0, "127.0.0.1", metrics.registry)
    url = f"http://127.0.0.1:{server.server_port}/metrics"
    pages = []

    def scrape():
        for _ in range(15):
            with urllib.request.urlopen(url, timeout=30) as answer:
                pages.append(answer.read().decode())

    scraper = threading.Thread(target=scrape)
    try:
        async with MessageQueue(handler, workers=4, observer=metrics.observer("inbox")) as queue:
            metrics.add("inbox", queue)
            scraper.start()
            number = 0
            while scraper.is_alive():
                number += 1
                await asyncio.gather(*(queue.enqueue(chat, number) for chat in range(20)))
    finally:
        scraper.join()
        server.shutdown()
        server.server_close()
        thread.join()
    counts = {}
    for page in pages:
        for family in parse_text(page):
            for sample in family.samples:
                if family.type != "gauge":
                    key = sample.name, *sample.labels.values()
                    assert sample.value >= counts.get(key, 0), key
                    counts[key] = sample.value
    assert len(pages) == 15
    assert 0 < counts["reference_queue_messages_completed_total", "inbox"] <= number * 20


def test_a_counter_that_a_torn_look_finds_too_low_does_not_fall(metrics):
    class Torn:
        received = 5

        def get_memory_stats(self):
            return dataclasses.replace(EMPTY, received=self.received)

    torn = metrics.add("torn", Torn())
    key = "reference_queue_messages_received_total", "torn"
    assert samples(metrics)[key] == 5
    torn.received = 4
    assert samples(metrics)[key] == 5
    torn.received = 6
    assert samples(metrics)[key] == 6


def test_a_queue_that_cannot_tell_its_figures_does_not_hide_the_others(metrics, script, caplog):
    class Broken:
        def get_memory_stats(self):
            raise RuntimeError("set changed size during iteration")

    broken, well = metrics.add("broken", Broken()), metrics.add("well", MessageQueue(script))
    assert {key[1] for key in samples(metrics)} == {"well"}
    assert caplog.messages == ["The queue 'broken' could not tell its figures"]
    assert broken is not well


def test_figures_of_other_kinds_of_queues_are_shown_as_far_as_they_are_known(metrics):
    @dataclasses.dataclass
    class Stats:
        total_chats: int = 3
        redelivered: int = 2
        unheard_of: int = 1

    class Other:
        def get_memory_stats(self):
            return Stats()

    other = metrics.add("other", Other())
    assert samples(metrics) == {
        ("reference_queue_chats_active", "other"): 3,
        ("reference_queue_messages_redelivered_total", "other"): 2,
    }
    assert other.get_memory_stats().unheard_of == 1


@pytest.mark.parametrize(
    ("use", "error", "text"),
    [
        (lambda metrics: metrics.add(7, MessageQueue(print)), TypeError, "name=7 is not a str"),
        (lambda metrics: metrics.add("", MessageQueue(print)), ValueError, "name='' is empty"),
        (lambda metrics: metrics.add("inbox", 7), TypeError, r"7 has no get_memory_stats\(\)"),
        (lambda metrics: metrics.observer(None), TypeError, "name=None is not a str"),
        (lambda _: QueueMetrics(buckets=()), ValueError, r"buckets=\(\) do not rise"),
        (lambda _: QueueMetrics(buckets=(1, 1)), ValueError, r"buckets=\(1, 1\) do not rise"),
        (lambda _: QueueMetrics(buckets=(math.inf,)), ValueError, r"buckets=\(inf,\) do not rise"),
        (lambda _: QueueMetrics(buckets=(1, math.nan)), ValueError, r"buckets=\(1, nan\) do not rise"),
        (lambda _: QueueMetrics(buckets=("a", 1)), TypeError, r"buckets=\('a', 1\) are no numbers"),
    ],
)
def test_wrong_usage_is_named_with_what_is_right(metrics, use, error, text):
    with pytest.raises(error, match=text):
        use(metrics)


def test_buckets_that_end_with_infinity_as_the_librarys_own_do_give_each_bound_once():
    metrics = QueueMetrics(buckets=Histogram.DEFAULT_BUCKETS)
    observer = metrics.observer("inbox")
    observer.begun(0.02)
    (begun,) = [family for family in parse_text(metrics.page().body.decode()) if "wait" in family.name]
    bounds = [
        each.labels["le"]
        for each in begun.samples
        if each.name.endswith("_bucket") and each.labels["outcome"] == "begun"
    ]
    assert bounds == [*map(str, Histogram.DEFAULT_BUCKETS[:-1]), "+Inf"]


EMPTY = MemoryStats(*[0] * len(dataclasses.fields(MemoryStats)))


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [("metrics", "prometheus_client", "metrics"), ("telemetry", "opentelemetry", "otel")],
)
def test_an_extra_that_is_missing_is_named_with_the_command_that_brings_it(module, library, extra):
    program = f"""
import sys
sys.modules[{library!r}] = None
try:
    import reference_queue.{module}
except ImportError as error:
    print(error.name, error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.startswith(f"{library} reference_queue.{module} needs ")
    assert result.stdout.endswith(f"Install it: pip install 'pytest-taskleak[{extra}]'\n")
