"""The growth of a whole run: the table, the drawing, the limit, and that nothing is done where nobody asks."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

GROWS = """
    CACHE = []

    class Session:
        pass

    @pytest.mark.parametrize("number", range(20))
    def test_keeps(number):
        CACHE.extend(Session() for _ in range(30))

    def test_keeps_more():
        CACHE.extend([] for _ in range(5000))
"""

CLEAN = """
    @pytest.mark.parametrize("number", range(20))
    def test_is_clean(number):
        assert [[] for _ in range(1000)]
"""


MOST = 39 if sys.version_info >= (3, 14) else 37
"""Objects per test, fewer than: 30 are the test's; of pytest's own, 3.14 counts dicts of plain values, too."""


def slopes(result):
    """The objects per test, as the table tells them."""
    return [float(number) for number in re.findall(r"objects, (-?[\d.]+) per test", result.stdout.str())]


def test_the_table_names_the_tests_and_the_types(project):
    project.write(source=GROWS)
    result = project.run_apart("--taskleak-growth")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "*= taskleak: objects over the run =*",
            f"+*5,*objects, 3[0-{MOST % 10 - 1}].? per test",
            "stayed after",
            " *+*,*  test_it.py::test_keeps_more",
            "types that grew",
            " *  list",
            " *+600  Session",
        ]
    )
    assert 30 <= slopes(result)[0] < MOST


def test_a_clean_run_does_not_grow(project):
    project.write(source=CLEAN)
    result = project.run_apart("--taskleak-growth", "--taskleak-growth-limit=8")
    assert result.ret == pytest.ExitCode.OK
    assert abs(slopes(result)[0]) < 8  # pytest itself keeps some


def test_what_pytest_keeps_of_failed_tests_is_not_counted(project):
    project.write(source=CLEAN.replace("assert [", "assert not ["))
    result = project.run_apart("--taskleak-growth", "-p", "no:rerunfailures")  # it keeps each failure's traceback
    assert abs(slopes(result)[0]) < 20


@pytest.mark.parametrize(("limit", "fails"), [("20", True), ("40.5", False)])
def test_a_run_that_grows_faster_than_it_may_fails(project, limit, fails):
    project.write(source=GROWS)
    result = project.run_apart(f"--taskleak-growth-limit={limit}")
    result.assert_outcomes(passed=21)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if fails else pytest.ExitCode.OK)
    assert (f"objects per test are more than {limit}" in result.stdout.str()) is fails


def test_too_few_tests_do_not_fail(project):
    project.write(source=GROWS)
    result = project.run("--taskleak-growth-limit=0", "-k", "test_keeps_more")
    assert result.ret == pytest.ExitCode.OK
    assert "objects, too few tests to tell how many per test" in result.stdout.str()


def test_the_run_is_drawn(project):
    project.write(source=GROWS)
    result = project.run("--taskleak-growth-plot=growth.svg")
    root = ET.parse(project.pytester.path / "growth.svg").getroot()  # noqa: S314 - drawn here
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == 1
    result.stdout.fnmatch_lines(["plot: *growth.svg"])
    assert not list(project.pytester.path.glob("*.tmp"))


def test_the_workers_count_and_the_controller_draws(project):
    project.write(source=GROWS)
    result = project.run_apart("-n2", "--taskleak-growth-plot=growth.svg", "--taskleak-growth-limit=20")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    root = ET.parse(project.pytester.path / "growth.svg").getroot()  # noqa: S314 - drawn here
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text.startswith("gw")] == ["gw0", "gw1"]
    result.stdout.fnmatch_lines(
        ["gw0: +*objects*", "gw1: +*objects*", "stayed after", "types that grew", " *+600  Session"]
    )


def test_the_collector_is_left_as_it_was(project):
    project.write(source=CLEAN)
    gc.unfreeze()  # what the interpreter itself has frozen, on 3.12, is not frozen again
    before = gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.get_freeze_count()
    project.run("--taskleak-growth")
    assert (gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.get_freeze_count()) == before


@pytest.mark.parametrize(("option", "froze"), [("--taskleak-growth", True), ("--taskleak-growth-no-freeze", False)])
def test_what_was_there_before_is_frozen_unless_that_is_not_wanted(project, option, froze):
    project.write(
        source=GROWS
        + f"""
    def test_looks():
        import gc

        assert (gc.get_freeze_count() > 1000) is {froze}
"""
    )
    result = project.run_apart(option)
    result.assert_outcomes(passed=22)
    assert abs(slopes(result)[0] - 30) < 15


def test_nothing_is_done_where_nobody_asks(project):
    count = "import gc; print(gc.get_freeze_count())"  # 3.12 starts with a few hundred of its own
    plain = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, check=True).stdout.strip()
    project.write(
        source=f"""
        import gc
        import sys

        def test_it(pytestconfig):
            assert gc.get_freeze_count() == {plain}
            assert not pytestconfig.pluginmanager.hasplugin("taskleak-growth")
            assert not [name for name in sys.modules if name.startswith("pytest_taskleak.growth.")]
            assert "objgraph" not in sys.modules
        """
    )
    project.run_apart().assert_outcomes(passed=1)


def test_both_kinds_of_growth_in_one_run(project):
    project.write(source="CACHE = []\n\n\ndef test_it():\n    CACHE.append(object())\n")
    result = project.run("--taskleak-repeat=3", "--taskleak-growth")
    result.assert_outcomes(failed=1)
    assert "+1 object each time (3 of 3)" in result.stdout.str()
    assert "= taskleak: objects over the run =" in result.stdout.str()


@pytest.mark.parametrize(
    ("arg", "messages"),
    [
        ("--taskleak-growth-limit=few", ["--taskleak-growth-limit: 'few' is not a number; give objects per test"]),
        (
            "--taskleak-growth-limit=-1",
            ["--taskleak-growth-limit: '-1' is not valid; give objects per test, 0 or more"],
        ),
        ("--taskleak-growth-limit=nan", ["--taskleak-growth-limit: 'nan' is not valid"]),
        ("--taskleak-growth-plot=a.png", ["'a.png' is not valid; give a name that ends in .svg"]),
        ("--taskleak-growth-plot=no/a.svg", ["'no/a.svg' cannot be written (No such file", "a folder that exists"]),
        ("--taskleak-growth-plot=dir.svg", ["'dir.svg' cannot be written (Is a directory)"]),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error_before_the_first_test(project, arg, messages):
    project.write(source=CLEAN)
    (project.pytester.path / "dir.svg").mkdir()
    result = project.run(arg)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert all(message in result.stderr.str() for message in messages)
    assert "test session starts" not in result.stdout.str()
