"""What the README shows is what its reader gets."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from golden.make import demonstration, expected

from reference_queue.soak.command import heading
from reference_queue.soak.load import LOADS, Sample
from reference_queue.soak.run import Outcome
from reference_queue.soak.verdict import table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_report_of_a_blocked_loop_is_one_that_the_plugin_writes():
    (shown,) = (block for block in blocks("console") if "held up" in block)
    wanted = expected(Path("blocked.py")).read_text(encoding="utf-8")
    assert shown.partition("...\n")[2].replace("for 0.3 s", "for … s") in wanted


def test_the_settings_and_markers_are_valid(pytester):
    (settings,) = blocks("toml")
    (markers,) = (block for block in blocks("python") if "pytestmark" in block)
    pytester.makepyprojecttoml(f'{settings}strict = true\nasyncio_mode = "auto"\n')
    pytester.makepyfile(markers)
    pytester.runpytest_subprocess().assert_outcomes(passed=3)


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_two_commands_are_there(command):
    assert command in README
    target = command.split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.fixture(scope="module", name="demonstration")
def shown_by_the_demonstration():
    return demonstration()


def test_the_report_is_the_demonstrations(demonstration):
    (shown,) = (block for block in blocks("text") if "taskleak" in block)
    assert shown in demonstration


def test_the_table_of_the_soak_is_one_that_it_prints():
    """Its figures are those of one run; its lines are the program's."""
    (shown,) = (block for block in blocks("text") if "before: the incident" in block)
    load = LOADS["incident"]
    samples = [Sample(minute, 10, 22 * 2**20, 0, 0, 0) for minute in range(61)]
    outcome = Outcome(load, 300 * 2**20, {"broken": samples, "reference": samples})
    assert shown.startswith(heading(outcome) + table(outcome).partition("   10 min")[0])


def test_the_demonstration_loses_nothing_with_a_process(demonstration):
    if sys.platform == "win32":
        pytest.skip("there is no package of a Valkey server for Windows")
    assert "Nothing was lost, and the order was kept." in demonstration


def test_the_demonstration_finds_the_one_queue_and_passes_the_other(demonstration):
    broken, reference = demonstration.split("2. The same bot")
    reference, _, _ = reference.partition("3. ")
    assert re.search(r"reference_queue/incident\.py:\d+: in BrokenMessageQueue\.enqueue", broken)
    assert "1 failed, 1 passed" in broken
    assert "3 passed" in reference
    assert "leaked" not in reference


PROGRAMS = [block for block in blocks("python") if 'if __name__ == "__main__":' in block]


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_an_example_that_is_a_program_runs_as_one(program, tmp_path):
    """Where it is an example only, what is below the guard does not run."""
    path = tmp_path / "program.py"
    path.write_text(program, encoding="utf-8")
    subprocess.run([sys.executable, str(path)], check=True, timeout=60)
