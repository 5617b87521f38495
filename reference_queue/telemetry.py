"""The figures of queues for OpenTelemetry: needs its API (``pip install 'pytest-taskleak[otel]'``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reference_queue._figures import BUCKETS, FIGURES, HasStats, NamedQueues, check_name
from reference_queue.observer import Observer

try:
    from opentelemetry.metrics import Observation, get_meter
except ImportError as missing:
    raise ImportError(
        "reference_queue.telemetry needs opentelemetry-api, which is not installed. "
        "Install it: pip install 'pytest-taskleak[otel]'",
        name="opentelemetry",
    ) from missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, MeterProvider

    from reference_queue.errors import QueueError
    from reference_queue.observer import GivenUpAs, HandledAs

    Q = TypeVar("Q", bound=HasStats)

__all__ = ["QueueTelemetry"]

_MOST_ERROR_TYPES = 32
"""So many classes of errors are told apart; what comes after them is ``_OTHER``, OpenTelemetry's own word."""


class QueueTelemetry:
    """The instruments of any number of queues; make one for each meter provider.

    ::

        telemetry = QueueTelemetry()
        queue = telemetry.add("inbox", MessageQueue(handler, observer=telemetry.observer("inbox")))

    From queues made with an `observer` from here, by the semantic conventions for messaging (in development as
    of their version 1.43), with ``messaging.system`` ``reference_queue`` and the queue's name as
    ``messaging.destination.name``:

    - ``messaging.client.sent.messages``: messages taken in, and those refused, with ``error.type``.
    - ``messaging.client.operation.duration``: how long ``enqueue`` waited for room, in seconds.
    - ``messaging.client.consumed.messages``: messages whose handling has begun.
    - ``messaging.process.duration``: how long handlers took, in seconds. One whose message was not completed has
      the class of the error as ``error.type``; beyond 32 classes it is ``_OTHER``.

    The conventions have no name for the wait in a queue and for what a queue holds: ``reference_queue.wait.duration``
    is a histogram of the time from the call that sent a message until its handler began or it was given up, told
    apart by ``reference_queue.outcome``; and every field of `MemoryStats` is an up-down counter or a counter such
    as ``reference_queue.messages.queued``, read when the metrics are collected, in whichever thread that is.

    There is never an attribute for a chat: chats have no bound, and time series must have one. A queue is not
    kept alive by it; one that is gone is not told of any more.

    Args:
        meter_provider: where the instruments are made; None for the global one.
    """

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        meter = get_meter("reference_queue", meter_provider=meter_provider)
        self._queues = NamedQueues()
        self._instruments = _instruments(meter)
        for field, figure in FIGURES.items():
            create = meter.create_observable_counter if figure.rises else meter.create_observable_up_down_counter
            create(f"reference_queue.{figure.name}", [_reader(self._queues, field)], figure.unit, figure.text)

    def observer(self, name: str) -> Observer:
        """Return an observer for one new queue, whose messages are told of under the name.

        Raises:
            TypeError, ValueError: the name is not a str, or empty.
        """
        check_name(name)
        return _Measurements(self._instruments, name)

    def add(self, name: str, queue: Q) -> Q:
        """Tell the figures of a queue, of whatever kind, under the name; return the queue.

        Raises:
            ValueError: a queue of that name is told of already.
            TypeError: the name is not a str, or the queue has no ``get_memory_stats()``.
        """
        return self._queues.add(name, queue)

    def remove(self, name: str) -> None:
        """Tell the figures of a queue no longer; nothing happens if they are not told."""
        self._queues.remove(name)


class _Instruments(NamedTuple):
    sent: Counter
    sending: Histogram
    consumed: Counter
    process: Histogram
    wait: Histogram


def _instruments(meter: Meter) -> _Instruments:
    """Make the instruments of what queues tell; the texts of the first four are the conventions' own."""

    def duration(name: str, text: str) -> Histogram:
        return meter.create_histogram(name, "s", text, explicit_bucket_boundaries_advisory=BUCKETS)

    return _Instruments(
        sent=meter.create_counter(
            "messaging.client.sent.messages",
            "{message}",
            "Number of messages producer attempted to send to the broker.",
        ),
        sending=duration(
            "messaging.client.operation.duration",
            "Duration of messaging operation initiated by a producer or consumer client.",
        ),
        consumed=meter.create_counter(
            "messaging.client.consumed.messages",
            "{message}",
            "Number of messages that were delivered to the application.",
        ),
        process=duration("messaging.process.duration", "Duration of processing operation."),
        wait=duration(
            "reference_queue.wait.duration",
            "Time from the call that sent a message until its handling began or was given up.",
        ),
    )


def _reader(queues: NamedQueues, field: str) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def read(_options: CallbackOptions) -> Iterator[Observation]:
        for name, figures in queues.figures():
            if field in figures:
                yield Observation(figures[field], {"messaging.destination.name": name})

    return read


class _Measurements(Observer):
    """Records what one queue tells."""

    def __init__(self, instruments: _Instruments, name: str) -> None:
        self._instruments = instruments
        self._error_types: dict[type[BaseException], str] = {}
        queue = {"messaging.system": "reference_queue", "messaging.destination.name": name}
        self._queue = queue
        self._send = {**queue, "messaging.operation.name": "enqueue"}
        self._sending = {**self._send, "messaging.operation.type": "send"}
        self._processing = {**queue, "messaging.operation.name": "process"}

    def accepted(self, waited: float, /) -> None:
        self._instruments.sent.add(1, self._send)
        self._instruments.sending.record(waited, self._sending)

    def refused(self, error: type[QueueError], /) -> None:
        failed = {"error.type": self._error_type(error)}
        self._instruments.sent.add(1, {**self._send, **failed})
        self._instruments.sending.record(0.0, {**self._sending, **failed})

    def begun(self, waited: float, /) -> None:
        self._instruments.consumed.add(1, self._processing)
        self._instruments.wait.record(waited, {**self._queue, "reference_queue.outcome": "begun"})

    def given_up(self, waited: float, outcome: GivenUpAs, /) -> None:
        self._instruments.wait.record(waited, {**self._queue, "reference_queue.outcome": outcome})

    def handled(self, took: float, outcome: HandledAs, error: type[BaseException] | None, /) -> None:  # noqa: ARG002 - the error's class tells
        failed = {} if error is None else {"error.type": self._error_type(error)}
        self._instruments.process.record(took, {**self._processing, **failed})

    def _error_type(self, error: type[BaseException]) -> str:
        known = self._error_types.get(error)
        if known is None:
            if len(self._error_types) >= _MOST_ERROR_TYPES:
                return "_OTHER"
            where = "" if error.__module__ == "builtins" else f"{error.__module__}."
            known = self._error_types[error] = f"{where}{error.__qualname__}"
        return known
