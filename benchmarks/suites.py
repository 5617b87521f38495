"""Suites that are written to be measured, and processes that run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ALIKE = (
    *("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"),
    *("-p", "no:cacheprovider", "-q"),
)
"""What all runs are given."""

WITH = ()
WITHOUT = ("-p", "no:taskleak")
"""pytest loads what is installed, as it does for users; the environments have nothing that does not take part."""

ASYNCHRONOUS = """
import asyncio

async def work():
    pass
"""
ASYNCHRONOUS_TEST = """
async def test_{number}():
    await asyncio.create_task(work())
"""
SYNCHRONOUS_TEST = """
def test_{number}():
    pass
"""
COLLECTOR_OFF = """
import gc

gc.disable()  # when it is at work depends on what else was allocated: noise in a difference
"""


def written(folder: Path, head: str, test: str, tests: int, conftest: str = "") -> Path:
    """The same folder, with a file of so many tests and a conftest."""
    folder.mkdir(parents=True, exist_ok=True)
    body = "\n".join(test.format(number=number) for number in range(tests))
    (folder / "test_it.py").write_text(head + body, encoding="utf-8")
    (folder / "conftest.py").write_text(conftest, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return folder


def surroundings(seed: int = 0) -> dict[str, str]:
    """The environment in which two runs do the same."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    return {**kept, "PYTHONHASHSEED": str(seed)}


def ran(python: str, folder: Path, *options: str, ok: Sequence[int] = (0,)) -> tuple[float, float]:
    """Run the tests of a folder; wall and processor seconds of the process.

    Raises:
        ValueError: For an exit code that is not in `ok`, with what was printed.
    """
    command = [python, "-m", "pytest", *ALIKE, *options]
    begin, spent = time.perf_counter(), _children()
    done = subprocess.run(command, cwd=folder, env=surroundings(), capture_output=True, text=True, check=False)
    wall, spent = time.perf_counter() - begin, _children() - spent
    if done.returncode not in ok:
        raise ValueError(f"{' '.join(command)} ended with {done.returncode}, not {ok}:\n{done.stdout}{done.stderr}")
    return wall, spent


def _children() -> float:
    """Processor seconds of the processes that ended; `os.times` counts in steps of 10 ms."""
    if sys.platform == "win32":
        times = os.times()
        return times.children_user + times.children_system
    import resource  # noqa: PLC0415 - absent there

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def instructions(python: str, folder: Path, *options: str, seed: int = 0) -> int:
    """The instructions of such a run, by cachegrind; an outcome other than all passed is an error."""
    command = [python, "-m", "pytest", *ALIKE, *options]
    environment = surroundings(seed)
    # The first run compiles what it imports.
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    counted = subprocess.run(
        [
            shutil.which("valgrind") or "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
            *command,
        ],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.search(r"I\s+refs:\s+([\d,]+)", counted.stderr)
    if found is None:
        raise ValueError(f"cachegrind told no instructions: {counted.stderr}")
    return int(found[1].replace(",", ""))
