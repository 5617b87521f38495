"""What a test that leaks costs: the process of a run with it, less that of the same run with the test clean.

Wall time, medians of runs in turns. The grace of 0.1 s that each leaking test is given is a part of it.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import peers
import suites
from table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 7
LIMITS = {1: 250, 1_000: 1_000}
"""Milliseconds, by the number of tasks that are leaked."""

SUITE = """
import asyncio

async def work():
    await asyncio.Event().wait()
"""
LEAKS = """
async def test_it():
    tasks = [asyncio.create_task(work()) for _ in range({tasks})]
    await asyncio.sleep(0)
"""
CLEAN = (
    LEAKS
    + """
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
"""
)
FAILED = 1


def rows() -> Iterator[Row]:
    """A row for each number of tasks."""
    python = peers.environment("plugin", [*peers.HARNESS, *peers.PROJECT])
    with tempfile.TemporaryDirectory() as place:
        for tasks, limit in LIMITS.items():
            clean = suites.written(Path(place) / f"clean{tasks}", SUITE, CLEAN.format(tasks=tasks), 1)
            leaks = suites.written(Path(place) / f"leaks{tasks}", SUITE, LEAKS.format(tasks=tasks), 1)
            added = [
                suites.ran(python, leaks, *suites.WITH, ok=(FAILED,))[0] - suites.ran(python, clean, *suites.WITH)[0]
                for _ in range(ROUNDS)
            ]
            what = f"a test that leaks {tasks:,} task{'s' if tasks > 1 else ''}"
            yield Row(
                what, "the same, clean", statistics.median(added) * 1000, "ms more", limit, digits=0, aim=limit / 2
            )
