"""A drawing of a run's counts as SVG, in a few lines of its own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_taskleak.growth.suite import Series

_WIDTH, _HEIGHT, _MARGIN = 800, 400, 60
_POINTS = 1000
"""Points of one line; of more tests every so many are drawn, and the last."""
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")


def draw(lines: Sequence[Series], title: str) -> str:
    """A line for each process: objects over tests."""
    most = max((len(series.counts) for series in lines), default=1)
    counts = [0, *(count for series in lines for count in series.counts)]
    low, high = min(counts), max(counts)
    right, bottom = _WIDTH - _MARGIN, _HEIGHT - _MARGIN

    def x(test: int) -> float:
        return round(_MARGIN + test / max(most, 1) * (right - _MARGIN), 1)

    def y(count: int) -> float:
        return round(bottom - (count - low) / max(high - low, 1) * (bottom - _MARGIN), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<path d="M{_MARGIN} {_MARGIN}V{bottom}H{right}" fill="none" stroke="black"/>',
        _text(_MARGIN, 30, title, 16),
        _text(_MARGIN - 5, y(high) + 4, f"{high:+,}", anchor="end"),
        _text(_MARGIN - 5, y(low) + 4, f"{low:+,}" if low else "0", anchor="end"),
        _text(right, bottom + 20, f"{most:,} tests", anchor="end"),
    ]
    for number, (series, colour) in enumerate(zip(lines, itertools.cycle(_COLOURS), strict=False)):
        every = max(1, len(series.counts) // _POINTS)
        points = [(0, 0), *enumerate(series.counts, 1)]
        drawn = " ".join(f"{x(test)},{y(count)}" for test, count in [*points[::every], points[-1]])
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if series.process:
            parts.append(_text(right + 5, _MARGIN + 16 * number, series.process, colour=colour))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, size: int = 12, *, anchor: str = "start", colour: str = "black") -> str:  # noqa: PLR0913 - what SVG asks for
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
