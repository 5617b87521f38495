"""What the plugin keeps over a long run, sampled while trivial tests pass, less what pytest itself keeps of them.

Resident memory at the end, and as a slope the blocks that Python's allocator has given out and not got back, which
are exact where resident memory depends on what lay beside what. A regression over the second half of the samples, so
that what a start fills up does not count. `TESTS` in the environment makes it shorter.
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
MB = 1_000_000
SLOPE = 0.01
"""Blocks for each test below which a slope is none: a block in a hundred tests."""

EACH = max(1, TESTS // SAMPLES)
"""Tests from one sample to the next."""

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
import sys
from pathlib import Path

DONE = [0]
SAMPLES = open("samples", "w")

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def pytest_runtest_logfinish():
    DONE[0] += 1
    if DONE[0] % {EACH} == 0:
        gc.collect()
        print(resident(), sys.getallocatedblocks(), file=SAMPLES, flush=True)
"""


def _samples(python: str, folder: Path, *options: str) -> tuple[float, list[int]]:
    """MB that are resident at the end, and the blocks at each sample."""
    suites.ran(python, folder, *options)
    lines = (folder / "samples").read_text(encoding="utf-8").splitlines()
    return int(lines[-1].split()[0]) / MB, [int(line.split()[1]) for line in lines]


def slope_of(more: list[int]) -> tuple[float, float]:
    """Blocks for each test by a regression over samples that lie `EACH` tests apart, and its standard error.

    Raises:
        ValueError: For fewer than three samples, which have no such error.
    """
    if len(more) < 3:  # noqa: PLR2004 - two lie on a line
        raise ValueError(f"{len(more)} samples are too few for a slope: let TESTS be at least 6")
    done = [number * EACH for number in range(len(more))]
    slope, begin = statistics.linear_regression(done, more)
    beside = sum((it - begin - slope * at) ** 2 for at, it in zip(done, more, strict=True))
    middle = statistics.mean(done)
    return slope, (beside / (len(done) - 2) / sum((at - middle) ** 2 for at in done)) ** 0.5


def rows() -> Iterator[Row]:
    """What is there more at the end, and how it grows, less how pytest itself does.

    Raises:
        OSError: Where the system has no `/proc`.
    """
    python = peers.environment("plugin", [*peers.HARNESS, *peers.PROJECT])
    with tempfile.TemporaryDirectory() as place:
        folder = suites.written(Path(place), SUITE, "", 0, SAMPLER)
        none, before = _samples(python, folder, *suites.WITHOUT)
        ours, after = _samples(python, folder, *suites.WITH)
    yield Row(f"resident after {TESTS:,} async tests", "no plugin", ours - none, "MB more", 10, digits=1)
    half = len(after) // 2
    more = [b - a for a, b in zip(before[half:], after[half:], strict=True)]
    slope, error = slope_of(more)
    yield Row(f"blocks kept for each of {TESTS:,} tests", "no plugin", slope, "", SLOPE, digits=4)
    yield Row("standard error of that", "", error, "", digits=4)
