"""The incident's table, measured, and its checklist with the result of each item."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from reference_queue.soak.trend import trend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reference_queue.soak.load import Sample
    from reference_queue.soak.run import Outcome

__all__ = ["Item", "checklist", "table"]

MIB = 2**20
MOST_GROWTH = 4 * MIB
"""Bytes by which the reference queue's memory may have grown over the run after its warm-up: what allocators take at a
time. The incident's queue took 450 MB in ten minutes."""
MOST_PROMISES = 50
"""Live promises at the incident's load, by the incident's own table; and by so many more, surely, they climb."""
HOUR = 60
_WARM_UP = 1 / 3
"""The part of a run in which memory may find its level."""
_ROWS = 6


class Item(NamedTuple):
    """One line of the checklist."""

    passed: bool
    what: str
    figure: str

    def __str__(self) -> str:
        return f"{'PASS' if self.passed else 'FAIL'}  {self.what}: {self.figure}"


def table(outcome: Outcome) -> str:
    """Return the incident's table for one load, as wide as 72 columns at most."""
    broken, reference = outcome.samples["broken"], outcome.samples["reference"]
    lines = [
        f"{'':>9} | {'before: the incident':^25} | {'after: this queue':^25}".rstrip(),
        f"{'time':>9} | {'live promises':>14} {'memory':>10} | {'live promises':>14} {'memory':>10}",
        f"{'-' * 9}-+-{'-' * 25}-+-{'-' * 25}",
    ]
    times = {outcome.load.minutes * row / _ROWS for row in range(1, _ROWS + 1)}
    times |= {samples[-1].minute for name, samples in outcome.samples.items() if outcome.stopped(name)}
    for minute in sorted(times):
        cells = [_cells(samples, minute, outcome.load.minutes) for samples in (broken, reference)]
        lines.append(f"{_time(minute):>9} | {cells[0]:>25} | {cells[1]:>25}".rstrip())
    for name in ("broken", "reference"):
        if outcome.stopped(name):
            last = outcome.samples[name][-1]
            lines.append(f"The {name} queue was stopped at {outcome.limit / MIB:,.0f} MiB, after {_time(last.minute)}.")
    return "\n".join(lines)


def _time(minute: float) -> str:
    return f"{minute:.0f} min" if minute >= 1 else f"{minute * 60:.1f} s"


def _cells(samples: Sequence[Sample], minute: float, minutes: float) -> str:
    """The sample next to a time, nothing where the queue had been stopped by then."""
    nearest = min(samples, key=lambda sample: abs(sample.minute - minute), default=None)
    if nearest is None or abs(nearest.minute - minute) > minutes / 50:
        return "stopped"
    return f"{nearest.promises:>14,} {nearest.memory / MIB:>6,.0f} MiB"


def checklist(outcome: Outcome) -> Iterator[Item]:
    """Yield the items of the incident's checklist after deploying, for the reference queue under one load."""
    load, samples = outcome.load, outcome.samples["reference"]
    whole = bool(samples) and not outcome.stopped("reference")
    alerts = samples[-1].alerts if samples else 0
    enough = load.minutes >= HOUR
    if load.name == "incident":
        figure = f"{alerts} in {load.minutes:g} minutes{'' if enough else ', which is no hour'}"
        yield Item(whole and not alerts and enough, "one hour without a promise alert", figure)
    else:
        yield Item(whole and not alerts, "no promise alert", f"{alerts}")
    settled = _after_warm_up(samples, load.minutes)
    yield _promises(samples, settled, whole=whole, bounded=load.name == "incident")
    yield _heap(settled, whole=whole)
    sent = samples[-1].sent if samples else 0
    reached = sent / load.minutes
    figure = f"{reached:,.0f} a minute, from {load.chats:,} chats"
    yield Item(whole and reached >= _KEEPS_UP * load.rate, "high concurrency", figure)


_KEEPS_UP = 0.9
"""The part of the load that must have been sent; a busy machine may fall a little behind."""


def _after_warm_up(samples: Sequence[Sample], minutes: float) -> list[Sample]:
    return [sample for sample in samples if sample.minute >= minutes * _WARM_UP]


def _promises(samples: Sequence[Sample], settled: Sequence[Sample], *, whole: bool, bounded: bool) -> Item:
    """Judge live promises: one that falls now and then may climb all the same, so the line through all counts, too."""
    what = "promises do not grow"
    most = max((sample.promises for sample in samples), default=0)
    falls = sum(after.promises < before.promises for before, after in pairwise(settled))
    fewer = f"fewer in {falls} of {max(len(settled) - 1, 0)}"
    try:
        found = trend([sample.minute for sample in settled], [sample.promises for sample in settled])
    except ValueError:
        return Item(False, what, f"at most {most:,}; {fewer}")  # noqa: FBT003 - a failed item
    climbs = found.least >= MOST_PROMISES
    passed = whole and falls > 0 and not climbs and (most < MOST_PROMISES or not bounded)
    return Item(passed, what, f"at most {most:,}; {found.growth:+,.0f} ± {found.error:,.0f}; {fewer}")


def _heap(samples: Sequence[Sample], *, whole: bool) -> Item:
    what = "memory does not grow"
    try:
        found = trend([sample.minute for sample in samples], [sample.memory for sample in samples])
    except ValueError as error:
        return Item(False, what, str(error))  # noqa: FBT003 - a failed item
    span = samples[-1].minute - samples[0].minute
    figure = (
        f"{found.growth / MIB:+.2f} ± {found.error / MIB:.2f} MiB in {_time(span)} "
        f"(95 %; at most {MOST_GROWTH / MIB:.0f} MiB)"
    )
    return Item(whole and found.most <= MOST_GROWTH, what, figure)
