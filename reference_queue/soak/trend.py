"""Whether a figure grows: least squares, and how sure that is."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Trend", "trend"]

_LEAST = 8
"""Fewer points tell nothing."""


class Trend(NamedTuple):
    """How much a figure grows over a span, in the figure's unit."""

    growth: float
    """Over the whole span, as the line of least squares has it."""
    error: float
    """Half of the 95 % confidence interval of `growth`."""

    @property
    def least(self) -> float:
        """The least that it must have grown, with 97.5 % confidence."""
        return self.growth - self.error

    @property
    def most(self) -> float:
        """The most that it may have grown, with 97.5 % confidence."""
        return self.growth + self.error


def trend(times: Sequence[float], figures: Sequence[float]) -> Trend:
    """Return by how much figures grow from the first time to the last.

    Samples of memory that follow each other are much alike, and count for fewer than they are: their number is
    multiplied by (1 - r) / (1 + r), r being the correlation of each residual with the next (source: Santer et al.,
    "Statistical significance of trends", J. Geophys. Res. 105, 2000, eq. 6). The quantile of Student's t follows from
    the normal one (Abramowitz and Stegun, 26.7.5).

    Raises:
        ValueError: there are fewer than 8 points.
    """
    count = len(times)
    if count < _LEAST or count != len(figures):
        raise ValueError(
            f"{count} times and {len(figures)} figures tell no trend. Give as many of both, at least {_LEAST}."
        )
    slope, intercept = statistics.linear_regression(times, figures)
    residuals = [figure - slope * time - intercept for time, figure in zip(times, figures, strict=True)]
    span = times[-1] - times[0]
    squares = math.fsum(it * it for it in residuals)
    mean = statistics.fmean(times)
    spread = math.fsum((time - mean) ** 2 for time in times)
    if not squares:
        return Trend(slope * span, 0.0)
    alike = max(0.0, math.fsum(a * b for a, b in pairwise(residuals)) / squares)
    freedom = max(count * (1 - alike) / (1 + alike) - 2, 1.0)
    return Trend(slope * span, _quantile(freedom) * math.sqrt(squares / freedom / spread) * span)


def _quantile(freedom: float) -> float:
    z = statistics.NormalDist().inv_cdf(0.975)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2
