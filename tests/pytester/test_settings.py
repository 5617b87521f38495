"""What users can set, where, what comes before what, and what they are told of a setting that cannot be meant."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

pytestmark = pytest.mark.taskleak("off", reason="runs that are told not to look leak on purpose, in this process")

LEAKY = """
    kept = []

    {marker}
    async def test_leaks():
        kept.append(asyncio.create_task(forever(), name="poller"))

    async def test_is_clean():
        await asyncio.sleep(0)
"""

CANCELLED = """
    kept = []

    async def ends_slowly():
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    {marker}
    async def test_cancels():
        kept.append(asyncio.create_task(ends_slowly(), name="poller"))
        await asyncio.sleep(0)
        kept[0].cancel()
"""

OUTLIVED = "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`"


@pytest.fixture
def leaky(project):
    project.write(source=LEAKY.format(marker=""))
    return project


def assert_failed(result):
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert f"TaskLeakError: {OUTLIVED}" in result.stdout.str()


def assert_warned(result):
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    out = result.stdout.str()
    assert "TaskLeakError" not in out
    result.stdout.fnmatch_lines(
        [
            "*= taskleak =*",
            "test_it.py::test_leaks",
            "*task 'poller', forever*",
            "fix: *",
            "1 cause, 1 leaked task in 1 test",
        ]
    )


def assert_off(result):
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    assert "poller" not in result.stdout.str()


JUDGED = {"fail": assert_failed, "warn": assert_warned, "off": assert_off}


def explained(result):
    """The explanation of the one leak: from its task to the hint's last line."""
    lines = result.outlines
    start = next(number for number, line in enumerate(lines) if line.startswith("task 'poller', forever"))
    end = next(number for number, line in enumerate(lines[start:], start) if not line or line.startswith("="))
    return lines[start:end]


# -- the mode


@pytest.mark.parametrize("mode", JUDGED)
def test_the_mode_on_the_command_line(leaky, mode):
    JUDGED[mode](leaky.run(f"--taskleak={mode}"))


@pytest.mark.parametrize("mode", JUDGED)
def test_the_mode_in_the_ini_file(leaky, mode):
    leaky.ini(f"taskleak = {mode}\n")
    JUDGED[mode](leaky.run())


@pytest.mark.parametrize("mode", JUDGED)
@pytest.mark.parametrize("marker", ['("{}")', '(mode="{}")'], ids=["positional", "named"])
def test_the_mode_in_a_marker(project, mode, marker):
    project.write(source=LEAKY.format(marker="@pytest.mark.taskleak" + marker.format(mode)))
    JUDGED[mode](project.run())


def test_the_mode_is_fail_where_nobody_says(leaky):
    assert_failed(leaky.run())


@pytest.mark.parametrize("line", [None, "fail", "warn", "off"])
@pytest.mark.parametrize("marker", [None, "fail", "warn", "off"])
@pytest.mark.parametrize("ini", [None, "fail", "warn", "off"])
def test_the_command_line_comes_before_the_marker_before_the_ini(project, line, marker, ini):
    project.write(source=LEAKY.format(marker=f'@pytest.mark.taskleak("{marker}")' if marker else ""))
    if ini:
        project.ini(f"taskleak = {ini}\n")
    args = [f"--taskleak={line}"] if line else []
    JUDGED[line or marker or ini or "fail"](project.run(*args))


def test_warn_shows_the_text_that_fail_shows(leaky):
    failed, warned = leaky.run("--taskleak=fail"), leaky.run("--taskleak=warn")
    assert_failed(failed)
    assert_warned(warned)
    assert explained(warned) == explained(failed)
    assert explained(warned)[-1].startswith(("fix:", "    ", "then:"))


def test_warn_leaves_every_outcome_alone(project):
    project.write(
        source="""
        kept = []

        def leak():
            kept.append(asyncio.create_task(forever(), name="poller"))

        @pytest.fixture
        async def broken():
            leak()
            raise RuntimeError("its own")

        async def test_passes():
            leak()

        async def test_fails():
            leak()
            assert not "its own"

        async def test_skips():
            leak()
            pytest.skip("its own")

        @pytest.mark.xfail
        async def test_fails_as_expected():
            leak()
            assert not "its own"

        async def test_has_no_setup(broken):
            pass
        """
    )
    result = project.run("--taskleak=warn", "--junitxml=junit.xml")
    result.assert_outcomes(passed=1, failed=1, skipped=1, xfailed=1, errors=1)
    out = result.stdout.str()
    assert "5 leaked tasks in 5 tests" in out
    assert "TaskLeakError" not in out
    suite = ET.parse(project.pytester.path / "junit.xml").getroot().find("testsuite")  # noqa: S314 - pytest wrote it
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("1", "1", "2")


def test_warn_leaves_the_exit_status_alone_for_fixtures_too(project):
    project.write(
        source="""
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def server():
            yield asyncio.create_task(forever(), name="poller")

        @pytest.mark.asyncio(loop_scope="module")
        async def test_one(server):
            pass
        """
    )
    result = project.run("--taskleak=warn")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    assert "outlived fixture `server` (module scope)" in result.stdout.str()


@pytest.mark.parametrize("first", ["off", "warn"])
def test_what_a_pardoned_test_left_is_nobody_elses(project, first):
    project.write(
        source=f"""
        pytestmark = pytest.mark.asyncio(loop_scope="module")
        kept = []

        @pytest.mark.taskleak("{first}")
        async def test_leaks():
            kept.append(asyncio.create_task(forever(), name="poller"))

        async def test_two():
            await asyncio.create_task(asyncio.sleep(0))

        async def test_three():
            pass
        """
    )
    result = project.run()
    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.OK
    assert ("poller" in result.stdout.str()) is (first == "warn")
    assert "outlived `test_two`" not in result.stdout.str()
    assert "outlived `test_three`" not in result.stdout.str()


# -- the grace


def graces(result):
    """The seconds that the leak was given, as the report tells them."""
    found = [line for line in result.outlines if "still pending" in line]
    return [line.partition("still pending ")[2].partition(" after")[0] for line in found]


@pytest.mark.parametrize(
    ("ini", "marker", "args", "grace"),
    [
        (None, None, [], "0.1 s"),
        ("0.01", None, [], "0.01 s"),
        ("0.01", "0.02", [], "0.02 s"),
        ("0.01", "0.02", ["--taskleak-grace=0.03"], "0.03 s"),
        (None, "0", [], "0 s"),
        (None, None, ["--taskleak-grace=0"], "0 s"),
        (None, None, ["-o", "taskleak_grace=0.04"], "0.04 s"),
    ],
    ids=["default", "ini", "marker", "line", "none-by-marker", "none-by-line", "override"],
)
def test_the_grace_is_taken_from_the_first_that_says(project, ini, marker, args, grace):
    project.write(source=LEAKY.format(marker=f"@pytest.mark.taskleak(grace={marker})" if marker else ""))
    if ini:
        project.ini(f"taskleak_grace = {ini}\n")
    result = project.run(*args)
    assert_failed(result)
    assert graces(result) == [grace]


@pytest.mark.parametrize(("marker", "word"), [("grace=30", "PASSED"), ("grace=0", "FAILED")])
def test_a_task_that_ends_within_the_grace_is_none(judged, marker, word):
    words, text = judged(f"""
        kept = []

        @pytest.mark.taskleak({marker})
        async def test_ends_soon():
            kept.append(asyncio.create_task(asyncio.sleep(0.05), name="brief"))
    """)
    assert words == {"test_ends_soon": word}
    assert ("brief" in text.replace('name="brief"', "")) is (word == "FAILED")


def test_a_marker_of_one_test_does_not_set_the_grace_of_the_next(project):
    project.write(
        source="""
        kept = []

        @pytest.mark.taskleak(grace=0.01)
        async def test_leaks():
            kept.append(asyncio.create_task(forever(), name="poller"))

        async def test_leaks_too():
            kept.append(asyncio.create_task(forever(), name="poller"))
        """
    )
    assert graces(project.run()) == ["0.01 s", "0.1 s"]


# -- strict and cancel


@pytest.mark.parametrize(
    ("ini", "marker", "args", "fails"),
    [
        (None, None, [], False),
        ("true", None, [], True),
        ("true", "False", [], False),
        (None, "True", [], True),
        ("false", "False", ["--taskleak-strict"], True),
    ],
    ids=["default", "ini", "marker-off", "marker", "line"],
)
def test_strict_reports_what_was_cancelled_and_not_awaited(project, ini, marker, args, fails):
    if ini:
        project.ini(f"taskleak_strict = {ini}\n")
    project.write(source=CANCELLED.format(marker=f"@pytest.mark.taskleak(strict={marker})" if marker else ""))
    result = project.run(*args)
    result.assert_outcomes(passed=not fails, failed=fails)
    assert ("1 task outlived `test_cancels`: task 'poller', ends_slowly, cancel" in result.stdout.str()) is fails


CANCELS = """
    pytestmark = pytest.mark.asyncio(loop_scope="module")
    kept = []

    {marker}
    async def test_leaks():
        kept.append(asyncio.create_task(forever(), name="poller"))

    async def test_looks():
        assert kept[0].cancelled() is {cancelled}
        kept[0].cancel()
"""


@pytest.mark.parametrize(
    ("ini", "marker", "args", "cancelled"),
    [
        (None, None, [], False),
        ("true", None, [], True),
        ("true", "False", [], False),
        (None, "True", [], True),
        (None, "False", ["--taskleak-cancel"], True),
        (None, "True", ["--taskleak=warn"], True),
    ],
    ids=["default", "ini", "marker-off", "marker", "line", "warn"],
)
def test_cancel_cancels_what_was_reported(project, ini, marker, args, cancelled):
    if ini:
        project.ini(f"taskleak_cancel = {ini}\n")
    mark = f"@pytest.mark.taskleak(cancel={marker})" if marker else ""
    project.write(source=CANCELS.format(marker=mark, cancelled=cancelled))
    result = project.run(*args)
    if args == ["--taskleak=warn"]:
        result.assert_outcomes(passed=2)
    else:
        result.assert_outcomes(passed=1, failed=1)
    assert OUTLIVED in result.stdout.str() or "task 'poller', forever outlived `test_leaks`" in result.stdout.str()
    assert "1 cause, 1 leaked task in 1 test" in result.stdout.str()


def test_cancel_leaves_alone_what_was_not_reported(project):
    project.write(
        source="""
        pytestmark = pytest.mark.asyncio(loop_scope="module")

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def server():
            task = asyncio.create_task(forever(), name="server")
            yield task
            assert not task.done()
            task.cancel()

        async def test_leaks(server):
            server.leaked = asyncio.get_running_loop().create_task(forever(), name="poller")

        async def test_looks(server):
            assert server.leaked.cancelled()
            assert not server.done()
        """
    )
    result = project.run("--taskleak-cancel")
    result.assert_outcomes(passed=1, failed=1)


# -- where they are read from


@pytest.mark.parametrize(
    ("table", "header"),
    [
        ("", "taskleak: fail, grace 0.1 s"),
        ('taskleak = "warn"\ntaskleak_grace = 1', "taskleak: warn, grace 1 s"),
        ("taskleak_grace = 0.25\ntaskleak_strict = true", "taskleak: fail, grace 0.25 s, strict"),
        ("taskleak_strict = true\ntaskleak_cancel = true", "taskleak: fail, grace 0.1 s, strict, cancel"),
        ('taskleak = "off"\ntaskleak_strict = true', "taskleak: off"),
    ],
    ids=["nothing", "int", "float", "flags", "off"],
)
def test_the_typed_table_of_pyproject(leaky, table, header):
    (leaky.pytester.path / "pytest.ini").unlink()
    leaky.write(
        "pyproject.toml",
        f'[tool.pytest]\nasyncio_mode = "auto"\nasyncio_default_fixture_loop_scope = "function"\n{table}\n',
        prelude="",
    )
    result = leaky.run()
    JUDGED[header.removeprefix("taskleak: ").partition(",")[0]](result)
    assert header in result.outlines


@pytest.mark.parametrize(
    ("args", "header"),
    [
        ([], "taskleak: fail, grace 0.1 s"),
        (["--taskleak=warn", "--taskleak-grace=2.5"], "taskleak: warn, grace 2.5 s"),
        (["--taskleak-strict", "--taskleak-cancel"], "taskleak: fail, grace 0.1 s, strict, cancel"),
        (["--taskleak-repeat=3"], "taskleak: fail, grace 0.1 s, repeat 3"),
        (["--taskleak=off", "--taskleak-strict", "--taskleak-repeat=3"], "taskleak: off"),
    ],
    ids=["nothing", "mode-and-grace", "flags", "repeat", "off"],
)
def test_the_head_of_the_run_tells_what_holds(project, args, header):
    project.write(source="def test_it(): pass")
    assert [line for line in project.run(*args).outlines if line.startswith("taskleak")] == [header]


# -- markers on functions, classes and modules


def test_the_closest_marker_wins(judged):
    words, text = judged("""
        pytestmark = pytest.mark.taskleak("off")
        kept = []

        def leak():
            kept.append(asyncio.create_task(forever(), name="poller"))

        async def test_of_the_module():
            leak()

        @pytest.mark.taskleak("fail")
        async def test_of_its_own():
            leak()

        @pytest.mark.taskleak("fail")
        class TestClass:
            async def test_of_the_class(self):
                leak()

            @pytest.mark.taskleak("off")
            async def test_of_its_own(self):
                leak()

            @pytest.mark.taskleak(grace=0.01)
            async def test_of_both(self):
                leak()
    """)
    assert words == {
        "test_of_the_module": "PASSED",
        "test_of_its_own": "FAILED",
        "TestClass::test_of_the_class": "FAILED",
        "TestClass::test_of_its_own": "PASSED",
        "TestClass::test_of_both": "FAILED",
    }
    assert "1 cause, 3 leaked tasks in 3 tests" in text
    assert text.count("still pending 0.01 s") == 1


def test_a_marker_on_a_parameter(judged):
    words, _ = judged("""
        kept = []

        @pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.taskleak("off"))])
        async def test_leaks(number):
            kept.append(asyncio.create_task(forever()))
    """)
    assert words == {"test_leaks[1]": "FAILED", "test_leaks[2]": "PASSED"}


@pytest.mark.parametrize(
    "expect", ['"poller"', '["other", "poller"]', '("poller",)', '"poll*"', '"p?ller"', '"forever"', '"for*"']
)
def test_expected_tasks_may_stay(project, expect):
    project.write(source=LEAKY.format(marker=f'@pytest.mark.taskleak(expect={expect}, reason="for life")'))
    assert_off(project.run())


@pytest.mark.parametrize("expect", ['"pollers"', '"poll"', '["other"]', '"Poller"', '"test_*"'])
def test_other_tasks_may_not(project, expect):
    project.write(source=LEAKY.format(marker=f'@pytest.mark.taskleak(expect={expect}, reason="for life")'))
    assert_failed(project.run())


def test_only_the_expected_ones_may_stay(judged):
    words, text = judged("""
        kept = []

        @pytest.mark.taskleak(expect="watcher", reason="the library's own")
        async def test_leaks():
            for name in ("watcher", "poller"):
                kept.append(asyncio.create_task(forever(), name=name))
    """)
    assert words == {"test_leaks": "FAILED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert "'watcher'" not in text


def test_expected_names_of_all_markers_count(judged):
    words, text = judged("""
        pytestmark = pytest.mark.taskleak(expect="watcher", reason="the library's own")
        kept = []

        @pytest.mark.taskleak(expect="poller", reason="this one too")
        async def test_leaks():
            for name in ("watcher", "poller"):
                kept.append(asyncio.create_task(forever(), name=name))

        async def test_leaks_too():
            for name in ("watcher", "poller"):
                kept.append(asyncio.create_task(forever(), name=name))
    """)
    assert words == {"test_leaks": "PASSED", "test_leaks_too": "FAILED"}
    assert "1 task outlived `test_leaks_too`: task 'poller'" in text


def test_an_expected_task_of_a_wide_loop_is_not_reported_later(project):
    project.write(
        source="""
        pytestmark = pytest.mark.asyncio(loop_scope="module")
        kept = []

        @pytest.mark.taskleak(expect="poller", reason="for the life of the loop")
        async def test_leaks():
            kept.append(asyncio.create_task(forever(), name="poller"))

        async def test_two():
            assert not kept[0].done()
        """
    )
    result = project.run()
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    assert "= taskleak =" not in result.stdout.str()


# -- what cannot be meant


NUMBERS = "give seconds, 0 or more"
TIMES = "give a whole number, 3 or more, or 0 for not at all"
LIMIT = "give seconds, 0 for off"
SEARCH = "give seconds, 0 for no search"


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("--taskleak=maybe", "argument --taskleak: invalid choice: 'maybe' (choose from"),
        ("--taskleak=", "argument --taskleak: invalid choice: '' (choose from"),
        ("--taskleak-grace=soon", f"--taskleak-grace: 'soon' is not a number; {NUMBERS}"),
        ("--taskleak-grace=", f"--taskleak-grace: '' is not a number; {NUMBERS}"),
        ("--taskleak-grace=-1", f"--taskleak-grace: grace -1.0 is not valid; {NUMBERS}"),
        ("--taskleak-grace=nan", f"--taskleak-grace: grace nan is not valid; {NUMBERS}"),
        ("--taskleak-grace=inf", f"--taskleak-grace: grace inf is not valid; {NUMBERS}"),
        ("--taskleak-blocked=soon", f"--taskleak-blocked: 'soon' is not a number; {LIMIT}"),
        ("--taskleak-blocked=-1", f"--taskleak-blocked: blocked -1.0 is not valid; {LIMIT}"),
        ("--taskleak-blocked=inf", f"--taskleak-blocked: blocked inf is not valid; {LIMIT}"),
        ("--taskleak-search=long", f"--taskleak-search: 'long' is not a number; {SEARCH}"),
        ("--taskleak-search=-1", f"--taskleak-search: search -1.0 is not valid; {SEARCH}"),
        ("--taskleak-graze=1", "unrecognized arguments: --taskleak-graze=1"),
        ("--taskleak-repeat=often", f"--taskleak-repeat: 'often' is not a whole number; {TIMES}"),
        ("--taskleak-repeat=2.5", f"--taskleak-repeat: '2.5' is not a whole number; {TIMES}"),
        ("--taskleak-repeat=2", f"--taskleak-repeat: repeat=2 is not valid; {TIMES}"),
        ("--taskleak-repeat=-3", f"--taskleak-repeat: repeat=-3 is not valid; {TIMES}"),
        ("--taskleak-strict=yes", "argument --taskleak-strict: ignored explicit argument 'yes'"),
    ],
)
def test_a_wrong_option_is_a_usage_error(leaky, arg, message):
    result = leaky.run(arg)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()
    if "choice" in message:
        assert all(mode in result.stderr.str().partition("choose from")[2] for mode in JUDGED)
    assert "Traceback" not in result.stderr.str()
    assert "test session starts" not in result.stdout.str()


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("taskleak = maybe", ["ini value `taskleak`: 'maybe' is not valid; valid are fail, warn, off"]),
        ("taskleak = Fail", ["ini value `taskleak`: 'Fail' is not valid; valid are fail, warn, off"]),
        ("taskleak_grace = soon", ["`taskleak_grace`", "'soon'", NUMBERS]),
        ("taskleak_grace = -1", [f"ini value `taskleak_grace`: grace -1.0 is not valid; {NUMBERS}"]),
        ("taskleak_grace = nan", [f"ini value `taskleak_grace`: grace nan is not valid; {NUMBERS}"]),
        ("taskleak_blocked = soon", ["`taskleak_blocked`", "'soon'", LIMIT]),
        ("taskleak_blocked = -1", [f"ini value `taskleak_blocked`: blocked -1.0 is not valid; {LIMIT}"]),
        ("taskleak_search = long", ["`taskleak_search`", "'long'", SEARCH]),
        ("taskleak_search = -1", [f"ini value `taskleak_search`: search -1.0 is not valid; {SEARCH}"]),
        ("taskleak_strict = perhaps", ["`taskleak_strict`", "'perhaps'", "true or false"]),
        ("taskleak_repeat = often", ["`taskleak_repeat`", "'often'", TIMES]),
        ("taskleak_repeat = 1", [f"ini value `taskleak_repeat`: repeat=1 is not valid; {TIMES}"]),
        ("taskleak_cancel = perhaps", ["`taskleak_cancel`", "'perhaps'", "true or false"]),
        ("strict = true\ntaskleak_graze = 1", ["Unknown config option: taskleak_graze"]),
    ],
)
def test_a_wrong_ini_value_is_a_usage_error(leaky, line, messages):
    leaky.ini(line + "\n")
    result = leaky.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for message in messages:
        assert message in result.stderr.str()
    assert "Traceback" not in result.stderr.str()
    assert "passed" not in result.stdout.str()


@pytest.mark.parametrize(
    ("line", "name", "given"),
    [
        ("taskleak = 1", "taskleak", "int"),
        ("taskleak = true", "taskleak", "bool"),
        ('taskleak = "maybe"', "taskleak", "'maybe'"),
        ('taskleak_grace = "1"', "taskleak_grace", "str"),
        ("taskleak_grace = true", "taskleak_grace", ""),
        ("taskleak_grace = -1", "taskleak_grace", "-1"),
        ('taskleak_blocked = "1"', "taskleak_blocked", "str"),
        ("taskleak_blocked = -1", "taskleak_blocked", "-1"),
        ('taskleak_strict = "yes"', "taskleak_strict", "str"),
        ("taskleak_cancel = 1", "taskleak_cancel", "int"),
    ],
)
def test_a_wrong_value_of_the_typed_table_is_a_usage_error(leaky, line, name, given):
    (leaky.pytester.path / "pytest.ini").unlink()
    leaky.write("pyproject.toml", f"[tool.pytest]\n{line}\n", prelude="")
    result = leaky.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = [line for line in result.errlines if re.search(rf"[`']{name}[`']", line)]
    assert len(told) == 1
    assert given in told[0]
    assert "Traceback" not in result.stderr.str()


VALID = "valid are mode, grace, strict, cancel, blocked, expect, repeat, reason"
MODES = "valid are fail, warn, off"

WRONG_MARKERS = [
    ("", f"says nothing; {VALID}"),
    ("()", f"says nothing; {VALID}"),
    ('("maybe")', f"'maybe' is not valid; {MODES}"),
    ('(mode="maybe")', f"'maybe' is not valid; {MODES}"),
    ("(False)", f"False is not valid; {MODES}"),
    ('(["off"])', f"['off'] is not valid; {MODES}"),
    ('("off", "warn")', "got 2 positional arguments ('off', 'warn'); only the mode is positional"),
    ('("off", mode="warn")', "got the mode twice, 'off' and 'warn'"),
    ("(graze=1)", f"unknown argument 'graze'; {VALID}"),
    ("(ignore=['poller'])", f"unknown argument 'ignore'; {VALID}"),
    ("(grace=-1)", f"grace -1 is not valid; {NUMBERS}"),
    ("(grace='1')", f"grace '1' is not valid; {NUMBERS}"),
    ("(grace=True)", f"grace True is not valid; {NUMBERS}"),
    ("(grace=float('inf'))", f"grace inf is not valid; {NUMBERS}"),
    ("(grace=float('nan'))", f"grace nan is not valid; {NUMBERS}"),
    ("(blocked=-1)", f"blocked -1 is not valid; {LIMIT}"),
    ("(blocked='1')", f"blocked '1' is not valid; {LIMIT}"),
    ("(blocked=True)", f"blocked True is not valid; {LIMIT}"),
    ("(blocked=float('nan'))", f"blocked nan is not valid; {LIMIT}"),
    ("(strict=1)", "strict=1 is not valid; give True or False"),
    ("(strict='yes')", "strict='yes' is not valid; give True or False"),
    ("(repeat=2)", f"repeat=2 is not valid; {TIMES}"),
    ("(repeat=-1)", f"repeat=-1 is not valid; {TIMES}"),
    ("(repeat=5.0)", f"repeat=5.0 is not valid; {TIMES}"),
    ("(repeat='5')", f"repeat='5' is not valid; {TIMES}"),
    ("(repeat=True)", f"repeat=True is not valid; {TIMES}"),
    ("(cancel='no')", "cancel='no' is not valid; give True or False"),
    ("(expect='poller')", "expect='poller' needs a reason=... that says why it may stay"),
    ("(expect=['a', 'b'])", "expect=['a', 'b'] needs a reason=... that says why it may stay"),
    ("(expect='poller', reason='')", "reason='' is not a sentence; give a string that says why"),
    ("(expect='poller', reason='  ')", "reason='  ' is not a sentence; give a string that says why"),
    ("(expect='poller', reason=7)", "reason=7 is not a sentence; give a string that says why"),
    ("(expect=1, reason='it is')", "expect=1 is not valid; give a task's name or a list of names"),
    ("(expect={'poller'}, reason='it is')", "expect={'poller'} is not valid; give a task's name or a list of names"),
    ("(expect=['poller', 1], reason='it is')", "expect=['poller', 1] holds 1; names are non-empty strings"),
    ("(expect='', reason='it is')", "expect='' holds ''; names are non-empty strings"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG_MARKERS)
def test_a_wrong_marker_is_a_usage_error_before_the_first_test(project, arguments, message):
    project.write(
        source=f"""
        def test_before():
            pass

        @pytest.mark.taskleak{arguments}
        async def test_wrong():
            pass
        """
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = [line for line in (*result.outlines, *result.errlines) if "taskleak`" in line]
    assert told == [f"ERROR: test_it.py::test_wrong: marker `taskleak`: {message}"]
    assert "Traceback" not in result.stderr.str()
    assert "test_it.py ." not in result.stdout.str()


def test_a_wrong_marker_of_a_class_or_module_names_a_test(project):
    project.write(
        source="""
        @pytest.mark.taskleak(graze=1)
        class TestClass:
            def test_one(self):
                pass
        """
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "test_it.py::TestClass::test_one: marker `taskleak`: unknown argument 'graze'" in result.stderr.str()


def test_a_wrong_marker_beside_a_right_one_is_heard_of(project):
    """Also where the right one is closer and wins."""
    project.write(
        source="""
        pytestmark = pytest.mark.taskleak("maybe")

        @pytest.mark.taskleak("off")
        def test_one():
            pass
        """
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "'maybe' is not valid" in result.stderr.str()


def test_a_wrong_marker_fails_an_xdist_run_and_says_why(project):
    project.write(source="@pytest.mark.taskleak(graze=1)\ndef test_one(): pass\n")
    result = project.run_apart("-n1")
    assert result.ret not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    assert "unknown argument 'graze'" in result.stdout.str() + result.stderr.str()
    result.stdout.no_fnmatch_line("*1 passed*")
