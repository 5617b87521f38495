"""What the README shows is what its reader gets."""

import re
from pathlib import Path

import pytest
from golden.make import demonstration, expected

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
    (shown,) = blocks("text")
    assert shown in demonstration


def test_the_demonstration_finds_the_one_queue_and_passes_the_other(demonstration):
    broken, reference = demonstration.split("2. The same bot")
    assert re.search(r"reference_queue/incident\.py:\d+: in BrokenMessageQueue\.enqueue", broken)
    assert "1 failed, 1 passed" in broken
    assert "3 passed" in reference
    assert "leaked" not in reference
