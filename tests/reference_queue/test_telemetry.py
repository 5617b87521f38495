"""What OpenTelemetry is told: names, units, attributes and buckets of its conventions, and the figures."""

from __future__ import annotations

import asyncio
import gc

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from reference_queue import MessageQueue, QueueFull
from reference_queue._figures import FIGURES
from reference_queue.telemetry import QueueTelemetry

BASE = {"messaging.system": "reference_queue", "messaging.destination.name": "inbox"}
SEND = {**BASE, "messaging.operation.name": "enqueue"}
PROCESS = {**BASE, "messaging.operation.name": "process"}
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def telemetry(reader):
    provider = MeterProvider([reader])
    yield QueueTelemetry(provider)
    provider.shutdown()


def collect(reader):
    """The metrics by name."""
    data = reader.get_metrics_data()
    return {
        metric.name: metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def counts(metric):
    return {frozenset(point.attributes.items()): point.value for point in metric.data.data_points}


def times(metric):
    return {frozenset(point.attributes.items()): (point.count, point.sum) for point in metric.data.data_points}


def of(attributes, **more):
    return frozenset({**attributes, **{name.replace("_", "."): value for name, value in more.items()}}.items())


async def test_the_conventions_names_and_attributes_tell_what_happened(telemetry, reader, script, clock):
    async with MessageQueue(script, workers=1, max_queued=1, observer=telemetry.observer("inbox")) as queue:
        telemetry.add("inbox", queue)
        script.hold("a1")
        queue.enqueue("a", "a1")
        await script.begun("a1")
        second, third = queue.enqueue("a", "a2"), queue.enqueue("a", "a3")
        await clock.advance(2)
        script.hold("a2")
        script.release("a1")
        await script.begun("a2")
        script.release("a2", error=KeyError("a2"))
        await asyncio.wait([second, third])
    found = collect(reader)
    assert counts(found["messaging.client.sent.messages"]) == {of(SEND): 3}
    assert times(found["messaging.client.operation.duration"]) == {of(SEND, messaging_operation_type="send"): (3, 2.0)}
    assert counts(found["messaging.client.consumed.messages"]) == {of(PROCESS): 3}
    assert times(found["messaging.process.duration"]) == {
        of(PROCESS): (2, 2.0),
        of(PROCESS, error_type="KeyError"): (1, 0.0),
    }
    assert times(found["reference_queue.wait.duration"]) == {
        frozenset({**BASE, "reference_queue.outcome": "begun"}.items()): (3, 4.0)
    }
    for name in ("messaging.client.operation.duration", "messaging.process.duration", "reference_queue.wait.duration"):
        assert found[name].unit == "s"
        assert all(point.explicit_bounds == BOUNDS for point in found[name].data.data_points)
    for name in ("messaging.client.sent.messages", "messaging.client.consumed.messages"):
        assert found[name].unit == "{message}"
        assert found[name].data.is_monotonic


async def test_a_refusal_counts_as_a_failed_sending(telemetry, reader, script):
    async with MessageQueue(script, max_queued=1, policy="reject", observer=telemetry.observer("inbox")) as queue:
        queue.enqueue("a", "a1")
        with pytest.raises(QueueFull):
            queue.enqueue("a", "a2")
    found = collect(reader)
    refused = "reference_queue.errors.QueueFull"
    assert counts(found["messaging.client.sent.messages"]) == {of(SEND): 1, of(SEND, error_type=refused): 1}


async def test_a_message_that_is_given_up_is_told_with_its_outcome_alone(telemetry, reader, script, clock):
    async with MessageQueue(script, workers=1, observer=telemetry.observer("inbox")) as queue:
        script.hold("a1")
        queue.enqueue("a", "a1")
        queue.enqueue("a", "a2", deadline=3)
        await script.begun("a1")
        await clock.advance(3)
        script.release("a1")
    waits = times(collect(reader)["reference_queue.wait.duration"])
    assert waits[frozenset({**BASE, "reference_queue.outcome": "expired"}.items())] == (1, 3.0)


async def test_every_figure_is_observed_as_long_as_its_queue_lives(telemetry, reader, script):
    queue = telemetry.add("inbox", MessageQueue(script))
    await queue.enqueue("a", "a1")
    await queue.aclose()
    stats, found = queue.get_memory_stats(), collect(reader)
    for field, figure in FIGURES.items():
        if hasattr(stats, field):
            metric = found[f"reference_queue.{figure.name}"]
            assert counts(metric) == {frozenset({("messaging.destination.name", "inbox")}): getattr(stats, field)}
            assert (metric.unit, metric.data.is_monotonic) == (figure.unit, figure.rises)
    del queue
    gc.collect()
    assert collect(reader) == {}


async def test_a_queue_can_be_taken_off_and_its_name_given_to_another(telemetry, reader, script):
    async with MessageQueue(script) as one, MessageQueue(script) as two:
        telemetry.add("inbox", one)
        with pytest.raises(ValueError, match="There is a queue named 'inbox' already"):
            telemetry.add("inbox", two)
        telemetry.remove("inbox")
        assert collect(reader) == {}
        telemetry.add("inbox", two)
        assert counts(collect(reader)["reference_queue.messages.received"]).values() != {}


async def test_classes_of_errors_are_told_apart_up_to_a_bound(telemetry, reader):
    async def handler(number):
        raise type(f"Error{number}", (Exception,), {"__module__": "bot"})

    async with MessageQueue(handler, observer=telemetry.observer("inbox")) as queue:
        await asyncio.wait([queue.enqueue("a", number) for number in range(40)])
    told = times(collect(reader)["messaging.process.duration"])
    assert len(told) == 33
    assert told[of(PROCESS, error_type="bot.Error31")][0] == 1
    assert told[of(PROCESS, error_type="_OTHER")][0] == 8
