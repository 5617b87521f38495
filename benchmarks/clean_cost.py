"""What the plugin adds to a trivial test that leaks nothing, in instructions.

They are counted by cachegrind (valgrind) as a slope, a run of 401 tests less a run of one, so that what a run costs by
itself drops out; what else the machine does does not count. Where names lie in tables of hashes is chance, worth
0.2 %: three seeds are taken, and their mean. The collector is off, as a difference of two runs is noise where it is
not; the last row is with the collector on.
"""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import peers
import suites
from table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

MORE = 400
"""Tests by which the longer run is longer.

A table of the interpreter's own that outgrows itself once, such as that of all
interned names, takes a million instructions: of a hundred tests, 0.4 % of each."""

SEEDS = (0, 1, 2)

KINDS = (
    ("async test, one task", suites.ASYNCHRONOUS, suites.ASYNCHRONOUS_TEST, suites.COLLECTOR_OFF, 1.02, 1.01),
    ("sync test", "", suites.SYNCHRONOUS_TEST, suites.COLLECTOR_OFF, 1.005, 1.002),
    ("async test, one task, collector on", suites.ASYNCHRONOUS, suites.ASYNCHRONOUS_TEST, "", None, None),
)
VERSIONS = ("3.12", "3.13")


def _slope(  # noqa: PLR0913, PLR0917 - all that makes a run
    python: str, folder: Path, head: str, test: str, conftest: str, options: tuple[str, ...]
) -> float:
    """The instructions of one test."""
    few = suites.written(folder / "few", head, test, 1, conftest)
    many = suites.written(folder / "many", head, test, 1 + MORE, conftest)
    slopes = [
        (suites.instructions(python, many, *options, seed=seed) - suites.instructions(python, few, *options, seed=seed))
        / MORE
        for seed in SEEDS
    ]
    return statistics.mean(slopes)


def rows() -> Iterator[Row]:
    """A row for each kind of test and Python.

    Raises:
        RuntimeError: Where there is no valgrind, which must be installed.
    """
    if shutil.which("valgrind") is None:
        raise RuntimeError("valgrind is not installed; it counts the instructions, and nothing else does")
    with tempfile.TemporaryDirectory() as place, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for version in VERSIONS:
            base = peers.interpreter(version)
            if base is None:
                print(f"(no Python {version} here)")
                continue
            python = peers.environment(version, [*peers.HARNESS, *peers.PROJECT], base)
            asked = {
                (name, options): pool.submit(
                    _slope,
                    python,
                    Path(place) / version / str(number) / str(len(options)),
                    head,
                    test,
                    conftest,
                    options,
                )
                for number, (name, head, test, conftest, *_) in enumerate(KINDS)
                for options in (suites.WITHOUT, suites.WITH)
            }
            for name, *_, limit, aim in KINDS:
                ratio = asked[name, suites.WITH].result() / asked[name, suites.WITHOUT].result()
                yield Row(f"{name}, {version}", "no plugin", ratio, limit=limit, aim=aim, digits=4)
