"""The figures of queues for Prometheus: needs `prometheus_client` (``pip install 'pytest-taskleak[metrics]'``)."""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from reference_queue._figures import BUCKETS, FIGURES, HasStats, NamedQueues, check_name
from reference_queue.observer import Observer

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
except ImportError as missing:
    raise ImportError(
        "reference_queue.metrics needs prometheus_client, which is not installed. "
        "Install it: pip install 'pytest-taskleak[metrics]'",
        name="prometheus_client",
    ) from missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeVar

    from prometheus_client.core import Metric

    from reference_queue.observer import GivenUpAs, HandledAs

    Q = TypeVar("Q", bound=HasStats)

__all__ = ["Page", "QueueMetrics"]

_WAIT = (
    "reference_queue_wait_seconds",
    "Time from the call that sent a message until its handling began or was given up.",
)
_HANDLING = "reference_queue_handling_seconds", "Time from the beginning of a handler to its end."


class Page(NamedTuple):
    """What Prometheus reads, as the body of an HTTP response, and its ``Content-Type``."""

    body: bytes
    content_type: str


class QueueMetrics(Collector):
    """A collector of the figures of any number of queues, with a registry of its own.

    ::

        metrics = QueueMetrics()
        queue = metrics.add("inbox", MessageQueue(handler, observer=metrics.observer("inbox")))
        body, content_type = metrics.page(request.headers.get("Accept"))

    Every series has the label ``queue``, the name given here; those of time have ``outcome`` too, which is one
    of a handful of words. There is never a label for a chat: chats have no bound, and series must have one.

    - Each field of `MemoryStats` is ``reference_queue_messages_queued``, ``reference_queue_messages_failed_total``
      and so on, read when somebody asks for the page. Counters never fall as long as their queue lives.
    - ``reference_queue_wait_seconds`` is a histogram of the time from the call that sent a message until its
      handler began (outcome ``begun``) or it was given up (``cancelled``, ``dropped``, ``expired``).
    - ``reference_queue_handling_seconds`` is one of the time that handlers took (``completed``, ``failed``,
      ``cancelled``, ``expired``). Both are of queues made with an `observer` from here.

    A queue is not kept alive by it: one that is gone is gone from the page. All methods may be called in any
    thread, also while the queue works, so `prometheus_client.start_http_server(port, registry=metrics.registry)`
    serves the page as well as an application's own handler does.

    Args:
        registry: where to register; None for a registry of its own, with nothing else in it.
        buckets: the upper bounds of the histograms, in seconds, rising; infinity at the end, as `prometheus_client`
            has it, may be left out.

    Raises:
        TypeError, ValueError: the registry has one already, or ``buckets`` are no numbers that rise.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, buckets: Sequence[float] = BUCKETS) -> None:
        try:
            bounds = tuple(map(float, buckets))
        except (TypeError, ValueError):
            raise TypeError(f"buckets={buckets!r} are no numbers. Give upper bounds in seconds.") from None
        if bounds[-1:] == (inf,):
            bounds = bounds[:-1]  # it is always there
        if not bounds or not all(low < high for low, high in pairwise((*bounds, inf))):
            raise ValueError(f"buckets={buckets!r} do not rise. Give upper bounds in seconds, the lowest first.")
        self._queues = NamedQueues()
        self._buckets = bounds
        self._timings: weakref.WeakValueDictionary[str, _Timings] = weakref.WeakValueDictionary()
        self.registry = CollectorRegistry() if registry is None else registry
        self.registry.register(self)

    def observer(self, name: str) -> Observer:
        """Return an observer for one new queue, whose times are shown under the name as long as it lives.

        Raises:
            ValueError: a queue that is alive has one of that name.
            TypeError: the name is not a str.
        """
        check_name(name)
        with self._queues.lock:
            if name in self._timings:
                raise ValueError(f"There is an observer named {name!r} already. Choose another name for this queue.")
            timings = self._timings[name] = _Timings(self._buckets)
        return timings

    def add(self, name: str, queue: Q) -> Q:
        """Show the figures of a queue, of whatever kind, under the name; return the queue.

        Raises:
            ValueError: a queue of that name is shown already.
            TypeError: the name is not a str, or the queue has no ``get_memory_stats()``.
        """
        return self._queues.add(name, queue)

    def remove(self, name: str) -> None:
        """Show a queue, and its times, no longer; nothing happens if it is not shown."""
        with self._queues.lock:
            self._queues.remove(name)
            self._timings.pop(name, None)

    def page(self, accept: str | None = None) -> Page:
        """Return the page for Prometheus: all that is in the registry.

        Args:
            accept: the request's ``Accept`` header, which chooses between the text format of Prometheus and
                OpenMetrics; None for the former.
        """
        encode, content_type = choose_encoder(accept or "")
        return Page(encode(self.registry), content_type)

    def describe(self) -> Iterable[Metric]:
        """Return every family without its samples; a registry asks for them, to keep names apart."""
        return [*_families().values(), *_histograms()]

    def collect(self) -> Iterator[Metric]:
        """Yield the families that have samples now."""
        families = _families()
        for name, figures in self._queues.figures():
            for field, count in figures.items():
                families[field].add_metric([name], count)
        wait, handling = _histograms()
        with self._queues.lock:
            timings = sorted(self._timings.items(), key=lambda item: item[0])
        for name, each in timings:
            for family, histograms in ((wait, each.waits), (handling, each.handlings)):
                for outcome, histogram in histograms.items():
                    family.add_metric([name, outcome], *histogram.read())
        yield from (family for family in [*families.values(), wait, handling] if family.samples)


class _Histogram:
    """Counts of times by bucket, for one thread that writes and any that read."""

    __slots__ = ("_bounds", "_counts", "_lock", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        # As in NamedQueues: a handler that is collected as garbage may be told of in the midst of `observe`.
        self._lock = threading.RLock()
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        with self._lock:
            self._counts[bisect_left(self._bounds, seconds)] += 1
            self._sum += seconds

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Return how many took at most as long as each bound says, and the sum of all."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        buckets: list[tuple[str, float]] = []
        so_far = 0
        for bound, count in zip([*map(str, self._bounds), "+Inf"], counts, strict=True):
            so_far += count
            buckets.append((bound, so_far))
        return buckets, total


class _Timings(Observer):
    """The histograms of one queue."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.waits = {outcome: _Histogram(bounds) for outcome in ("begun", "cancelled", "dropped", "expired")}
        self.handlings = {outcome: _Histogram(bounds) for outcome in ("completed", "failed", "cancelled", "expired")}
        self._begun = self.waits["begun"]

    def begun(self, waited: float, /) -> None:
        self._begun.observe(waited)

    def given_up(self, waited: float, outcome: GivenUpAs, /) -> None:
        self.waits[outcome].observe(waited)

    def handled(self, took: float, outcome: HandledAs, error: type[BaseException] | None, /) -> None:  # noqa: ARG002 - classes of errors have no bound
        self.handlings[outcome].observe(took)


def _families() -> dict[str, CounterMetricFamily | GaugeMetricFamily]:
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for field, figure in FIGURES.items():
        family = CounterMetricFamily if figure.rises else GaugeMetricFamily
        families[field] = family(f"reference_queue_{figure.name.replace('.', '_')}", figure.text, labels=["queue"])
    return families


def _histograms() -> tuple[HistogramMetricFamily, HistogramMetricFamily]:
    labels = ["queue", "outcome"]
    return HistogramMetricFamily(*_WAIT, labels=labels), HistogramMetricFamily(*_HANDLING, labels=labels)
