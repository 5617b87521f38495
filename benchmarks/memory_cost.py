"""What the plugin keeps over a long run: resident memory of the process, sampled while trivial tests pass.

The slope is a regression over the second half of the samples, so that what a start fills up does not count; how
uncertain it is, is said. `TESTS` in the environment makes it shorter.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import peers
import suites
from table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = int(os.environ.get("TESTS", "100000"))
SAMPLES = 100
MIB = 2**20
SLOPE = 1.0
"""MiB in 100,000 tests below which a slope is none: a page of the allocator more or less."""

SUITE = f"""
import asyncio
import pytest

async def work():
    pass

@pytest.mark.parametrize("number", range({TESTS}))
async def test_it(number):
    await asyncio.create_task(work())
"""

SAMPLER = f"""
import gc
import os
from pathlib import Path

DONE = [0]
SAMPLES = open("samples", "w")

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def pytest_runtest_logfinish():
    DONE[0] += 1
    if DONE[0] % {max(1, TESTS // SAMPLES)} == 0:
        gc.collect()
        print(resident(), file=SAMPLES, flush=True)
"""


def _samples(python: str, folder: Path, *options: str) -> list[float]:
    suites.ran(python, folder, *options)
    return [int(line) / MIB for line in (folder / "samples").read_text(encoding="utf-8").split()]


def rows() -> Iterator[Row]:
    """What is there more at the end, and how it grows, less how pytest itself does.

    Raises:
        OSError: Where the system has no `/proc`.
    """
    python = peers.environment("plugin", [*peers.HARNESS, *peers.PROJECT])
    with tempfile.TemporaryDirectory() as place:
        folder = suites.written(Path(place), SUITE, "", 0, SAMPLER)
        none = _samples(python, folder)
        ours = _samples(python, folder, *suites.WITH)
    yield Row(f"resident after {TESTS:,} async tests", "no plugin", ours[-1] - none[-1], "MiB more", 10, digits=1)
    half = len(ours) // 2
    more = [b - a for a, b in zip(none[half:], ours[half:], strict=True)]
    done = [number * TESTS / SAMPLES / 100_000 for number in range(len(more))]
    line = statistics.linear_regression(done, more)
    rest = [y - line.slope * x - line.intercept for x, y in zip(done, more, strict=True)]
    spread = statistics.pstdev(done) * len(done) ** 0.5
    error = 1.96 * (sum(it * it for it in rest) / (len(rest) - 2)) ** 0.5 / spread
    yield Row(f"its slope, ± {error:.2f}", "no plugin", line.slope, "MiB/100k", SLOPE)
