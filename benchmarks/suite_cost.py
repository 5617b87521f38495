"""What the plugin adds to a suite that does not leak: CPU of the whole process, runs taken in turns.

Peers run on the same tests in the same turn: no plugin, this one, pyleak (its marker on every test).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = 300
ROUNDS = 7

SUITES = {
    "async tests, 5 tasks each": """
import asyncio
import pytest

async def work():
    await asyncio.sleep(0)

@pytest.mark.parametrize("number", range({tests}))
async def test_it(number):
    await asyncio.gather(*(work() for _ in range(5)))
""",
    "plain sync tests": """
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_it(number):
    assert number >= 0
""",
}

WAYS = {
    "no plugin": ("-p", "no:taskleak", "-p", "no:pyleak"),
    "taskleak": ("-p", "no:pyleak"),
    "pyleak, tasks": ("-p", "no:taskleak", "-p", "mark_all"),
}

MARK_ALL = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.no_leaks("tasks"))
"""


def cpu(folder: Path, options: tuple[str, ...]) -> float:
    """Seconds of CPU for one run; an outcome other than all passed is an error."""
    others = ("randomly", "xdist", "rerunfailures", "timeout", "hypothesispytest", "anyio", "trio")
    off = [word for name in others for word in ("-p", f"no:{name}")]
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *off, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Print a row for each suite and way."""
    print(f"{TESTS} tests, {ROUNDS} runs each, in turns; CPU seconds of the process")
    print(f"{'':46}{'median':>8}{'× none':>10}")
    for name, source in SUITES.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            (folder / "test_it.py").write_text(source.format(tests=TESTS), encoding="utf-8")
            (folder / "mark_all.py").write_text(MARK_ALL, encoding="utf-8")
            ini = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
            (folder / "pytest.ini").write_text(ini, encoding="utf-8")
            seconds: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(ROUNDS):
                for way, options in WAYS.items():
                    seconds[way].append(cpu(folder, options))
            none = statistics.median(seconds["no plugin"])
            for way, values in seconds.items():
                median = statistics.median(values)
                print(f"{name:30}{way:16}{median:8.2f}{median / none:10.2f}")


if __name__ == "__main__":
    main()
