"""What everybody who reads pytest's reports is told of a leak: one test for each consumer."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import xml.etree.ElementTree as ET

import pytest

LEAKY = """
    kept = []

    async def test_clean_before():
        await asyncio.sleep(0)

    async def test_leaks():
        kept.append(asyncio.create_task(forever(), name="poller"))

    async def test_clean_after():
        await asyncio.sleep(0)
"""

HEADLINE = "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`"


@pytest.fixture
def leaky(project):
    """A leaking test between two clean ones."""
    project.write(source=LEAKY)
    return project


def line_of(project, text, name="test_it.py"):
    """The number of the one line that holds `text`."""
    lines = (project.pytester.path / name).read_text().splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if text in line)
    return number


def words(result):
    """Each test's words, as `-v` shows them."""
    found = re.findall(
        r"^\S+::(\S+) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS|RERUN)", result.stdout.str(), re.MULTILINE
    )
    told = {}
    for name, word in found:
        told[name] = f"{told[name]}+{word}" if name in told else word
    return told


def told(result):
    """The terminal's text without the head's lines, and without what differs from run to run."""
    lines = [line for line in result.stdout.lines if not line.startswith(("taskleak:", "plugins:"))]
    return plain("\n".join(lines))


def plain(text):
    """Without durations, addresses and task numbers."""
    for pattern, same in ((r"\d+\.\d+s", "#s"), (r"=+", "="), (r"0x[0-9a-f]+", "0x#"), (r"Task-\d+", "Task-#")):
        text = re.sub(pattern, same, text)
    return text


def without_frames_of_tools(text):
    """Without the native frames of installed code: where pytest shows its own, it shows those of its plugins."""
    lines, skipped = [], None
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip(" |"))
        if skipped is not None and depth > skipped:
            continue
        skipped = depth if re.search(r'File ".*(site-packages|pytest_taskleak)', line) else None
        if skipped is None:
            lines.append(line)
    return "\n".join(lines)


def junit(project, name="junit.xml"):
    return ET.parse(project.pytester.path / name).getroot().find("testsuite")  # noqa: S314 - pytest wrote it


# -- the terminal


def test_the_terminal_counts_one_failure_and_no_error(leaky):
    result = leaky.run()
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["test_it.py .F. *", "*= FAILURES =*", "*_ test_leaks _*", f"E *{HEADLINE}"])
    result.stdout.no_fnmatch_line("*= ERRORS =*")


def test_the_verbose_word_is_failed(leaky):
    result = leaky.run("-v")
    assert words(result) == {"test_clean_before": "PASSED", "test_leaks": "FAILED", "test_clean_after": "PASSED"}


def test_the_short_summary_says_what_leaked(leaky):
    result = leaky.run("-rA")
    result.stdout.fnmatch_lines_random(
        [
            "PASSED test_it.py::test_clean_before",
            "PASSED test_it.py::test_clean_after",
            "FAILED test_it.py::test_leaks - pytest_taskleak.TaskLeakError: 1 task outlived `test_leaks`: *",
        ]
    )
    assert result.stdout.str().count("test_it.py::test_leaks") == 1


def test_the_failure_shows_the_line_that_created_the_task(leaky):
    result = leaky.run()
    number = line_of(leaky, "create_task")
    failure = [
        '>   *asyncio.create_task(forever(), name="poller")*',
        f"E   *pytest_taskleak.TaskLeakError: {HEADLINE}",
        f"test_it.py:{number}: TaskLeakError",
        "*- taskleak -*",
        "task 'poller', forever: waits on `Event.wait`*",
    ]
    result.stdout.fnmatch_lines([*failure, f"test_it.py:{line_of(leaky, 'Event().wait')}: in forever"])
    result.stdout.fnmatch_lines([*failure, "created at", f"test_it.py:{number}: in test_leaks"])
    result.stdout.fnmatch_lines([*failure, "fix: *"])


def test_the_section_at_the_end_counts_causes(leaky):
    result = leaky.run()
    result.stdout.fnmatch_lines(
        [
            "*= taskleak =*",
            "1 cause, 1 leaked task in 1 test",
            f"test_it.py:{line_of(leaky, 'create_task')}: task 'poller', forever outlived `test_leaks`, *",
            "*= short test summary info =*",
        ],
        consecutive=True,
    )


def test_a_run_without_leaks_has_no_section(project):
    project.write(source="async def test_clean(): await asyncio.sleep(0)")
    result = project.run()
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*= taskleak =*")
    assert [line for line in result.outlines if "taskleak" in line and not line.startswith("plugins:")] == [
        "taskleak: fail, grace 0.1 s"
    ]


def test_quiet_gives_a_line_a_leak(leaky):
    out = leaky.run("-q").stdout.str()
    number = line_of(leaky, "create_task")
    one = f"test_it.py:{number}: task 'poller', forever outlived `test_leaks`, waits on `Event.wait`"
    assert out.splitlines().count(one) == 2  # below the failure, and in the section at the end
    assert "created at" not in out
    assert "fix:" not in out


def test_verbose_gives_every_frame(leaky):
    usual, verbose = leaky.run().stdout.str(), leaky.run("-v").stdout.str()
    for out in (usual, verbose):
        assert "created at" in out
        assert "fix:" in out
    assert " in create_task" not in usual
    assert " in create_task" in verbose
    assert ": in Event.wait" not in usual
    assert ": in Event.wait" in verbose


@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native", "no"])
def test_every_traceback_style_names_the_line(leaky, style):
    result = leaky.run(f"--tb={style}")
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    number = line_of(leaky, "create_task")
    wanted = {
        "auto": [f"E *TaskLeakError: {HEADLINE}", f"test_it.py:{number}: TaskLeakError", "created at"],
        "long": [f"E *TaskLeakError: {HEADLINE}", f"test_it.py:{number}: TaskLeakError", "created at"],
        "short": [f"test_it.py:{number}: in test_leaks", f"E *TaskLeakError: {HEADLINE}", "created at"],
        "line": [f"*test_it.py:{number}: pytest_taskleak.TaskLeakError: {HEADLINE}"],
        "native": [f'  File "*test_it.py", line {number}, in test_leaks', f"*TaskLeakError: {HEADLINE}", "created at"],
        "no": [],
    }[style]
    result.stdout.fnmatch_lines([*wanted, "*= taskleak =*", f"test_it.py:{number}: task 'poller', *"])


# -- the exit status, and what ends a run early


def test_exitfirst_stops_after_the_leaking_test(leaky):
    result = leaky.run("-x")
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])


def test_maxfail_counts_leaking_tests(project):
    project.write(
        source="""
        @pytest.mark.parametrize("number", range(5))
        async def test_leaks(number):
            if number != 1:
                asyncio.create_task(forever())
        """
    )
    result = project.run("--maxfail=2")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["test_it.py F.F*", "*stopping after 2 failures*"])
    result.stdout.fnmatch_lines(["1 cause, 2 leaked tasks in 2 tests"])


def test_last_failed_runs_the_leaking_test_only(leaky):
    leaky.run().assert_outcomes(passed=2, failed=1)
    result = leaky.run("--lf", "-v")
    assert words(result) == {"test_leaks": "FAILED"}


def test_stepwise_stops_at_the_leaking_test_and_goes_on_from_there(leaky):
    first = leaky.run("--sw", "-v")
    assert words(first) == {"test_clean_before": "PASSED", "test_leaks": "FAILED"}
    leaky.write(source=LEAKY.replace('kept.append(asyncio.create_task(forever(), name="poller"))', "pass"))
    second = leaky.run("--sw", "-v")
    assert words(second) == {"test_leaks": "PASSED", "test_clean_after": "PASSED"}
    assert second.ret == pytest.ExitCode.OK


def test_exitfirst_reports_errors_of_wider_fixtures_as_ever(project):
    """A failure that ends the run tears down everything with its test, so that its errors are in a report."""
    project.write(
        source="""
        @pytest.fixture(scope="session")
        def session():
            yield
            raise RuntimeError("session broke")

        @pytest.fixture(scope="module")
        def module():
            yield
            raise RuntimeError("module broke")

        async def test_fails(session, module):
            await asyncio.create_task(asyncio.sleep(0))
            assert not "its own"

        async def test_never_runs(session, module):
            pass
        """
    )
    with_it, without = project.run("-x"), project.run("-x", "-p", "no:taskleak")
    with_it.assert_outcomes(failed=1, errors=1)
    out = with_it.stdout.str()
    assert "session broke" in out
    assert "module broke" in out
    assert without_frames_of_tools(told(with_it)) == without_frames_of_tools(told(without))
    assert "taskleak" not in told(with_it)
    assert with_it.ret == without.ret == pytest.ExitCode.TESTS_FAILED


def test_exitfirst_after_a_leak_still_ends_wider_fixtures(project):
    project.write(
        source="""
        @pytest.fixture(scope="module")
        def module():
            yield
            print("module ended")

        async def test_leaks(module):
            asyncio.create_task(forever(), name="poller")

        async def test_never_runs(module):
            pass
        """
    )
    result = project.run("-x", "-s")
    result.assert_outcomes(failed=1)
    assert result.stdout.str().count("module ended") == 1


# -- tests with an outcome of their own


OWN = [
    pytest.param(
        """
        kept = []

        async def test_leaks():
            kept.append(asyncio.create_task(forever(), name="poller"))
            assert not "its own"
        """,
        {"failed": 1},
        ["*E *assert not 'its own'*", "*- taskleak -*", "task 'poller', forever: waits on `Event.wait`*"],
        id="failing",
    ),
    pytest.param(
        """
        kept = []

        async def test_leaks():
            kept.append(asyncio.create_task(forever(), name="poller"))
            pytest.skip("its own reason")
        """,
        {"skipped": 1, "errors": 1},
        [f"E *{HEADLINE}", "SKIPPED * its own reason", "ERROR test_it.py::test_leaks - *"],
        id="skipping",
    ),
    pytest.param(
        """
        kept = []

        @pytest.mark.xfail(reason="its own reason")
        async def test_leaks():
            kept.append(asyncio.create_task(forever(), name="poller"))
            assert not "its own"
        """,
        {"xfailed": 1, "errors": 1},
        [f"E *{HEADLINE}", "XFAIL test_it.py::test_leaks - its own reason", "ERROR test_it.py::test_leaks - *"],
        id="xfail",
    ),
    pytest.param(
        """
        kept = []

        @pytest.mark.xfail(reason="its own reason", strict=True)
        async def test_leaks():
            kept.append(asyncio.create_task(forever(), name="poller"))
            assert not "its own"
        """,
        {"xfailed": 1, "errors": 1},
        [f"E *{HEADLINE}", "XFAIL test_it.py::test_leaks - its own reason", "ERROR test_it.py::test_leaks - *"],
        id="xfail-strict",
    ),
    pytest.param(
        """
        kept = []

        @pytest.mark.xfail(reason="its own reason", raises=AssertionError)
        async def test_leaks():
            kept.append(asyncio.create_task(forever(), name="poller"))
            assert not "its own"
        """,
        {"xfailed": 1, "errors": 1},
        [f"E *{HEADLINE}", "XFAIL test_it.py::test_leaks - its own reason"],
        id="xfail-raises",
    ),
    pytest.param(
        """
        kept = []

        @pytest.mark.xfail(reason="its own reason", strict=False)
        async def test_leaks():
            kept.append(asyncio.create_task(forever(), name="poller"))
        """,
        {"xpassed": 1, "errors": 1},
        [f"E *{HEADLINE}", "XPASS test_it.py::test_leaks - its own reason*", "ERROR test_it.py::test_leaks - *"],
        id="xpass",
    ),
    pytest.param(
        """
        kept = []

        @pytest.mark.xfail(reason="its own reason", strict=True)
        async def test_leaks():
            kept.append(asyncio.create_task(forever(), name="poller"))
        """,
        {"failed": 1},
        ["*[[]XPASS(strict)[]] its own reason*", "*task 'poller', forever: waits on `Event.wait`*"],
        id="xpass-strict",
    ),
    pytest.param(
        """
        kept = []

        @pytest.fixture
        async def broken():
            kept.append(asyncio.create_task(forever(), name="poller"))
            raise RuntimeError("its own")

        async def test_leaks(broken):
            pass
        """,
        {"errors": 1},
        [
            "*ERROR at setup of test_leaks*",
            "E *RuntimeError: its own",
            "task 'poller', forever: waits on `Event.wait`*",
        ],
        id="failing-setup",
    ),
    pytest.param(
        """
        kept = []

        @pytest.fixture
        async def broken():
            yield
            raise RuntimeError("its own")

        async def test_leaks(broken):
            kept.append(asyncio.create_task(forever(), name="poller"))
        """,
        {"passed": 1, "errors": 1},
        [
            "*ERROR at teardown of test_leaks*",
            "E *RuntimeError: its own",
            "task 'poller', forever: waits on `Event.wait`*",
        ],
        id="failing-teardown",
    ),
    pytest.param(
        """
        kept = []

        @pytest.fixture
        async def broken():
            yield
            kept.append(asyncio.create_task(forever(), name="poller"))
            raise RuntimeError("its own")

        async def test_leaks(broken):
            pass
        """,
        {"passed": 1, "errors": 1},
        [
            "*ERROR at teardown of test_leaks*",
            "E *RuntimeError: its own",
            "task 'poller', forever: waits on `Event.wait`*",
        ],
        id="leaking-and-failing-teardown",
    ),
    pytest.param(
        """
        kept = []

        @pytest.fixture
        async def broken():
            yield
            raise RuntimeError("its own end")

        async def test_leaks(broken):
            kept.append(asyncio.create_task(forever(), name="poller"))
            assert not "its own"
        """,
        {"failed": 1, "errors": 1},
        ["E *RuntimeError: its own end", "*E *assert not 'its own'*", "task 'poller', forever: waits on `Event.wait`*"],
        id="failing-test-and-teardown",
    ),
]


@pytest.mark.parametrize(("source", "outcomes", "lines"), OWN)
def test_a_test_keeps_its_own_outcome_and_the_leak_fails_the_run(project, source, outcomes, lines):
    project.write(source=source)
    result = project.run("-rA")
    result.assert_outcomes(**outcomes)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(lines)
    result.stdout.fnmatch_lines(["1 cause, 1 leaked task in 1 test"])
    assert result.stdout.str().count("\nfix: ") == 1


@pytest.mark.parametrize(("source", "outcomes", "lines"), OWN)
def test_without_the_leak_the_same_test_has_the_same_own_outcome(project, source, outcomes, lines):
    """The control of the one above: the plugin adds an error only where no failure is there to carry the leak."""
    project.write(source=source.replace('kept.append(asyncio.create_task(forever(), name="poller"))', "pass"))
    result = project.run("-rA")
    own = dict(outcomes)
    if set(own) & {"skipped", "xfailed", "xpassed"}:
        del own["errors"]
    result.assert_outcomes(**own)
    result.stdout.no_fnmatch_line("*= taskleak =*")


def test_a_leaking_module_fixture_is_an_error_and_no_test_fails(project):
    project.write(
        source="""
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def server():
            task = asyncio.create_task(forever(), name="poller")
            yield task

        @pytest.mark.asyncio(loop_scope="module")
        async def test_one(server):
            pass

        @pytest.mark.asyncio(loop_scope="module")
        async def test_two(server):
            pass
        """
    )
    result = project.run("-v", "--junitxml=junit.xml")
    result.assert_outcomes(passed=2, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E *1 task outlived fixture `server` (module scope): task 'poller', *"])
    suite = junit(project)
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    assert [case.get("name") for case in suite.iter("testcase") if case.find("error") is not None] == ["test_two"]


# -- JUnit XML


def test_junit_has_a_failure_with_the_line_and_the_property(leaky):
    result = leaky.run("--junitxml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    suite = junit(leaky)
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "3", "failures": "1", "errors": "0", "skipped": "0"}
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert list(cases) == ["test_clean_before", "test_leaks", "test_clean_after"]
    assert [name for name, case in cases.items() if list(case)] == ["test_leaks"]
    case = cases["test_leaks"]
    (failure,) = case.findall("failure")
    assert failure.get("message") == f"pytest_taskleak.TaskLeakError: {HEADLINE}"
    assert f"test_it.py:{line_of(leaky, 'create_task')}: TaskLeakError" in failure.text
    assert f"test_it.py:{line_of(leaky, 'create_task')}: in test_leaks" in failure.text
    assert "\nfix: " in failure.text
    (known,) = case.iter("property")
    assert (known.get("name"), known.get("value")) == ("taskleak", HEADLINE)


def test_junit_keeps_a_skip_a_skip(project):
    project.write(source=OWN[1].values[0])
    project.run("--junitxml=junit.xml")
    suite = junit(project)
    assert (suite.get("errors"), suite.get("failures"), suite.get("skipped")) == ("1", "0", "1")
    kinds = [child.tag for case in suite.iter("testcase") for child in case if child.tag != "properties"]
    assert sorted(kinds) == ["error", "skipped"]


def test_junit_is_written_without_a_terminal(leaky):
    result = leaky.run("-p", "no:terminal", "--junitxml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.stdout.str() == ""
    assert result.stderr.str() == ""
    assert junit(leaky).get("failures") == "1"


# -- other plugins


def test_a_rerun_that_does_not_leak_passes(project):
    project.write(
        source="""
        attempts = []

        async def test_leaks():
            attempts.append(1)
            if len(attempts) == 1:
                asyncio.create_task(forever(), name="poller")

        async def test_is_clean():
            pass
        """
    )
    result = project.run("--reruns", "2", "-v")
    assert words(result) == {"test_leaks": "RERUN+PASSED", "test_is_clean": "PASSED"}
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*= 2 passed, 1 rerun in *"])


def test_a_leak_in_every_rerun_fails_once(leaky):
    result = leaky.run("--reruns", "2", "-v", "--junitxml=junit.xml")
    assert words(result) == {
        "test_clean_before": "PASSED",
        "test_leaks": "RERUN+RERUN+FAILED",
        "test_clean_after": "PASSED",
    }
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["1 cause, 1 leaked task in 1 test", "*= 1 failed, 2 passed, 2 rerun in *"])
    assert result.stdout.str().count(f"TaskLeakError: {HEADLINE}\n") == 1
    assert junit(leaky).get("failures") == "1"


def test_a_rerun_is_not_blamed_for_what_the_first_attempt_left_in_a_wide_loop(project):
    project.write(
        source="""
        pytestmark = pytest.mark.asyncio(loop_scope="module")
        attempts = []

        async def test_leaks():
            attempts.append(1)
            if len(attempts) == 1:
                attempts.append(asyncio.create_task(forever(), name="poller"))

        async def test_is_clean():
            pass
        """
    )
    result = project.run("--reruns", "1", "-v")
    assert words(result) == {"test_leaks": "RERUN+PASSED", "test_is_clean": "PASSED"}
    assert result.ret == pytest.ExitCode.OK


def test_a_rerun_for_another_reason_may_pass_and_a_leak_in_it_fails(project):
    project.write(
        source="""
        attempts = []
        kept = []

        async def test_leaks():
            attempts.append(1)
            assert len(attempts) == 2
            kept.append(asyncio.create_task(forever(), name="poller"))
        """
    )
    result = project.run("--reruns", "1", "-v")
    assert words(result) == {"test_leaks": "RERUN+FAILED"}
    result.stdout.fnmatch_lines([f"E *{HEADLINE}"])


def test_github_annotates_the_line_that_created_the_task(project, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.pytester.path))
    project.write(
        "helper.py",
        """
        def start():
            return asyncio.create_task(forever(), name="poller")
        """,
    )
    project.write(source="from helper import start\n\nasync def test_leaks():\n    start()\n\ndef test_clean(): pass\n")
    result = project.run_apart()
    result.assert_outcomes(passed=1, failed=1)
    errors = [line for line in (*result.errlines, *result.outlines) if line.startswith("::")]
    assert len(errors) == 1
    number = line_of(project, "create_task", "helper.py")
    assert errors[0].startswith(f"::error file=helper.py,line={number}::test_leaks")
    assert HEADLINE.replace("waits on", "never wakes, waits on") in errors[0]


def test_xdist_tells_the_controller(leaky):
    result = leaky.run_apart("-n2", "-v", "--junitxml=junit.xml")
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    out = result.stdout.str()
    assert re.findall(r"\[gw\d\] .*FAILED (\S+)", out) == ["test_it.py::test_leaks"]
    result.stdout.fnmatch_lines([f"E *{HEADLINE}", "created at", "*= taskleak =*", "1 cause, 1 leaked task in 1 test"])
    assert out.count("1 cause, ") == 1
    case = next(case for case in junit(leaky).iter("testcase") if case.find("failure") is not None)
    assert case.get("name") == "test_leaks"
    assert [known.get("value") for known in case.iter("property")] == [HEADLINE]


def test_xdist_tells_the_controller_of_a_session_fixture(project):
    project.write(
        source="""
        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def server():
            yield asyncio.create_task(forever(), name="poller")

        @pytest.mark.asyncio(loop_scope="session")
        async def test_one(server):
            pass
        """
    )
    result = project.run_apart("-n1")
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*outlived fixture `server` (session scope)*", "1 cause, 1 leaked task in 1 test"])


def test_a_debugger_is_not_waited_for(leaky):
    result = leaky.run_apart("--pdb")
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    result.stdout.fnmatch_lines([f"E *{HEADLINE}"])


def test_a_debugger_opens_for_a_tests_own_failure(project):
    project.write(source=OWN[0].values[0])
    result = project.run_apart("--pdb")
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    result.stdout.fnmatch_lines(["*E *assert not 'its own'*", "*entering PDB*", "(Pdb) *"])
    result.stdout.fnmatch_lines(["*failed*"])


def test_a_time_limit_that_is_kept_changes_nothing(leaky):
    leaky.run("--timeout=60").assert_outcomes(passed=2, failed=1)


def test_a_test_that_is_too_slow_keeps_that_failure(project):
    project.write(
        source="""
        async def test_leaks():
            task = asyncio.create_task(forever(), name="poller")
            await task

        async def test_is_clean():
            pass
        """
    )
    result = project.run("--timeout=0.2", "--timeout-method=signal")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *Failed: Timeout*0.2*"])


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (["--setup-show"], ["*SETUP    F *", "*test_it.py::test_leaks*"]),
        (
            ["-o", "log_cli=true", "--log-cli-level=DEBUG"],
            ["test_it.py::test_leaks *", "FAILED *", "test_it.py::test_clean_after *"],
        ),
        (["-s"], ["test_it.py .F."]),
        (["--durations=0", "-vv"], ["*slowest durations*", "*s call * test_it.py::test_leaks"]),
        (["--show-capture=no"], ["*- taskleak -*"]),
        (["-l"], ["test_it.py .F.*"]),
        (["--color=yes"], ["*1 failed*"]),
        (["--assert=plain"], ["test_it.py .F.*"]),
        (["-p", "no:cacheprovider"], ["test_it.py .F.*"]),
        (["-p", "no:logging"], ["test_it.py .F.*"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("-") else "",
)
def test_other_ways_to_show_a_run_show_the_same(leaky, args, lines):
    result = leaky.run(*args)
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(lines)
    assert HEADLINE in result.stdout.str()


# -- a run that is cut short


def names():
    """What the plugin wraps, as it is at the moment."""
    return [
        vars(cls).get(name)
        for cls, name in (
            (asyncio.Runner, "close"),
            (asyncio.BaseEventLoop, "create_task"),
            (asyncio.BaseEventLoop, "close"),
            (asyncio.BaseEventLoop, "call_exception_handler"),
            (asyncio.SelectorEventLoop, "close"),
            (threading.Thread, "start"),
        )
    ]


@pytest.mark.parametrize(
    ("how", "words"),
    [("raise KeyboardInterrupt", "*KeyboardInterrupt*"), ('pytest.exit("enough")', "*Exit: enough*")],
    ids=["interrupt", "exit"],
)
@pytest.mark.parametrize("scope", ["function", "module"])
def test_a_run_that_is_cut_short_is_quiet_about_leaks(project, how, words, scope):
    project.write(
        source=f"""
        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        async def test_clean():
            pass

        async def test_is_cut_short():
            task = asyncio.create_task(forever(), name="poller")
            {how}

        async def test_never_runs():
            pass
        """
    )
    before = names()
    result = project.pytester.runpytest_inprocess("-p", "no:randomly", no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([words])
    assert "poller" not in result.stdout.str().replace('task = asyncio.create_task(forever(), name="poller")', "")
    assert "= taskleak =" not in result.stdout.str()
    assert "poller" not in result.stderr.str()
    assert names() == before


def test_what_leaked_before_the_run_was_cut_short_is_still_told(project):
    project.write(
        source="""
        async def test_leaks():
            asyncio.create_task(forever(), name="poller")

        async def test_is_cut_short():
            raise KeyboardInterrupt
        """
    )
    result = project.pytester.runpytest_inprocess("-p", "no:randomly", no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["1 cause, 1 leaked task in 1 test"])


# -- suites without leaks look the same with the plugin and without it


PLAIN = """
import logging
import subprocess
import unittest

def test_passes():
    print("printed")

def test_fails():
    logging.getLogger("plain").warning("logged")
    print("printed")
    assert [1, 2] == [1, 3]

def test_skips():
    pytest.skip("no need")

@pytest.mark.skip(reason="never")
def test_never():
    pass

@pytest.mark.xfail
def test_fails_as_expected():
    raise ValueError("expected")

@pytest.mark.xfail
def test_passes_unexpectedly():
    pass

@pytest.fixture
def broken():
    raise LookupError("no setup")

def test_has_no_setup(broken):
    pass

@pytest.fixture
def breaks():
    yield
    raise LookupError("no teardown")

def test_has_no_teardown(breaks):
    pass

@pytest.fixture(scope="module")
def module():
    print("set up")
    yield
    print("torn down")

def test_warns(module):
    import warnings
    warnings.warn("careful")

def test_has_subtests(subtests):
    for number in range(3):
        with subtests.test(number=number):
            assert number != 1

class TestUnit(unittest.TestCase):
    def test_unit_passes(self):
        pass

    def test_unit_fails(self):
        self.fail("unit")

@pytest.mark.parametrize("number", [1, 2])
class TestClass:
    def test_in_class(self, number):
        assert number == 1
"""

ASYNCHRONOUS = """
@pytest_asyncio.fixture
async def server():
    task = asyncio.create_task(forever())
    print("set up")
    yield task
    task.cancel()
    print("torn down")

async def test_passes(server):
    print("printed")
    await asyncio.create_task(asyncio.sleep(0))

async def test_fails(server):
    print("printed")
    await asyncio.create_task(asyncio.sleep(0))
    assert [1, 2] == [1, 3]

async def test_skips(server):
    pytest.skip("no need")

@pytest.mark.xfail
async def test_fails_as_expected(server):
    raise ValueError("expected")

@pytest_asyncio.fixture
async def breaks():
    yield
    raise LookupError("no teardown")

async def test_has_no_teardown(breaks):
    pass

async def test_fails_in_a_task():
    async def fail():
        raise ValueError("in a task")
    async with asyncio.TaskGroup() as group:
        group.create_task(fail())

class TestUnit(__import__("unittest").IsolatedAsyncioTestCase):
    async def test_unit_fails(self):
        self.fail("unit")
"""


WAYS = [
    (),
    ("-q",),
    ("-v",),
    ("-vv",),
    ("-rA",),
    ("-x",),
    ("--maxfail=2",),
    ("--tb=short",),
    ("--tb=native",),
    ("-l",),
    ("-o", "log_cli=true"),
    ("-o", "console_output_style=count"),
    ("--reruns=1",),
]


def assert_looks_the_same(project, args):
    gc.collect()  # what other tests of this process left must not be told of while these two are compared
    with_it, without = project.run(*args), project.run("-p", "no:taskleak", *args)
    assert with_it.ret == without.ret == pytest.ExitCode.TESTS_FAILED
    assert without_frames_of_tools(told(with_it)) == without_frames_of_tools(told(without))
    assert "taskleak" not in told(with_it)
    assert with_it.stderr.str() == without.stderr.str()


@pytest.mark.parametrize("args", [*WAYS, ("-s",), ("--setup-show",)], ids=" ".join)
def test_a_suite_without_tasks_looks_as_it_does_without_the_plugin(project, args):
    project.write(source=PLAIN)
    assert_looks_the_same(project, args)


@pytest.mark.parametrize("args", WAYS, ids=" ".join)
def test_a_suite_without_leaks_looks_as_it_does_without_the_plugin(project, args):
    """Where nothing is printed between a test and its letter, which comes when its teardown is over."""
    project.ini("log_level = ERROR\n")  # a slow machine lets asyncio's debug mode warn, now here and now there
    project.write(source=ASYNCHRONOUS)
    assert_looks_the_same(project, args)


def test_junit_of_a_suite_without_leaks_is_the_same(project):
    project.write(source=PLAIN)
    project.run("--junitxml=with.xml")
    project.run("--junitxml=without.xml", "-p", "no:taskleak")

    def cases(name):
        return [
            (case.get("classname"), case.get("name"), [(child.tag, plain(child.text or "")) for child in case])
            for case in junit(project, name).iter("testcase")
        ]

    assert cases("with.xml") == cases("without.xml") != []
