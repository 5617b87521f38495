"""How the plugin is switched on and off: each way in a process of its own, since entry points matter."""

from __future__ import annotations

import pytest

SOURCE = """\
import asyncio

kept = []


async def forever():
    await asyncio.Event().wait()


async def start():
    kept.append(asyncio.create_task(forever(), name="poller"))


def test_leaks():
    asyncio.run(start())


def test_is_clean():
    asyncio.run(asyncio.sleep(0))
"""

CAUGHT = "FAILED test_it.py::test_leaks - pytest_taskleak.TaskLeakError: 1 task outlived `test_leaks`: task 'poller'"

# Looks at every moment that a run has, since what was wrapped in between may be restored at its end.
WATCHING = """\
import asyncio
import atexit
import os
import pathlib
import threading

import pytest
import uvloop

NAMES = [
    (asyncio.Runner, "close"),
    (asyncio.BaseEventLoop, "create_task"),
    (asyncio.BaseEventLoop, "close"),
    (asyncio.BaseEventLoop, "call_exception_handler"),
    (asyncio.SelectorEventLoop, "close"),
    (threading.Thread, "start"),
    (uvloop.Loop, "create_task"),
    (uvloop.Loop, "close"),
    (uvloop.Loop, "call_exception_handler"),
]
HERE = pathlib.Path(__file__).parent
WHO = os.environ.get("PYTEST_XDIST_WORKER", "main")


def look(moment):
    for cls, name in NAMES:
        code = getattr(getattr(cls, name), "__code__", None)
        if code is not None and "pytest_taskleak" in code.co_filename:
            note(f"{moment}: {cls.__name__}.{name}")


def note(line):
    with (HERE / f"{WHO}.wrapped").open("a") as file:
        print(line, file=file)


note("looked")
look("import")
atexit.register(look, "exit")


@pytest.hookimpl(trylast=True)
def pytest_configure():
    look("configure")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart():
    look("start")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    look("collected")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report):
    look(f"after {report.when}")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish():
    look("finish")


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure():
    look("unconfigure")
"""

EVERY_NAME = {
    "Runner.close",
    "BaseEventLoop.create_task",
    "BaseEventLoop.close",
    "BaseEventLoop.call_exception_handler",
    "{loop}.close",
    "Thread.start",
    "Loop.create_task",
    "Loop.close",
    "Loop.call_exception_handler",
}

AUTOLOAD = [pytest.param(True, id="autoload"), pytest.param(False, id="no-autoload")]


@pytest.fixture
def suite(project, monkeypatch):
    """A leaking and a clean test that need no other plugin, and a conftest that looks at what is wrapped."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    monkeypatch.delenv("PYTEST_PLUGINS", raising=False)
    project.write(source="", prelude=SOURCE)
    project.write("conftest.py", source="", prelude=WATCHING)
    project.write("pytest.ini", source="", prelude="[pytest]\n")
    return project


@pytest.fixture
def run(suite, monkeypatch):
    """Run it with or without autoloading; without pytest-asyncio, which warns where its ini values are missing."""

    def run(*args, autoload=True):
        if not autoload:
            monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        return suite.run_apart("-p", "no:asyncio", *args)

    return run


def wrapped(project, who="main"):
    """What was seen wrapped, by the moment."""
    first, *lines = (project.pytester.path / f"{who}.wrapped").read_text().splitlines()
    assert first == "looked"
    seen = {}
    for line in lines:
        moment, _, name = line.partition(": ")
        seen.setdefault(moment, set()).add(name)
    return seen


def assert_on(result, *, times=1):
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    out = result.stdout.str()
    assert CAUGHT in out
    assert out.count("\ntaskleak: fail, grace 0.1 s\n") == times
    assert "defect of the plugin" not in out


def assert_off(result):
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    assert "taskleak: fail" not in result.stdout.str()
    assert "TaskLeakError" not in result.stdout.str()


def test_it_is_on_by_autoloading(run):
    assert_on(run())


def test_it_is_not_there_without_autoloading_and_without_a_word(run):
    assert_off(run(autoload=False))


@pytest.mark.parametrize("name", ["taskleak", "pytest_taskleak"])
@pytest.mark.parametrize("autoload", AUTOLOAD)
def test_p_switches_it_on(run, name, autoload):
    assert_on(run("-p", name, autoload=autoload))


def test_naming_it_twice_judges_once(run):
    result = run("-p", "taskleak", "-p", "pytest_taskleak")
    assert_on(result)
    assert result.stdout.str().count("1 cause, 1 leaked task in 1 test") == 1


@pytest.mark.parametrize("args", [("-n2",), ("-p", "taskleak", "-n2")], ids=["autoload", "named"])
def test_it_is_on_in_xdist_workers(run, suite, args):
    assert_on(run(*args))
    assert wrapped(suite) == {}
    workers = [wrapped(suite, who) for who in ("gw0", "gw1")]
    assert [seen["finish"] for seen in workers] == [{name.format(loop=selector_loop()) for name in EVERY_NAME}] * 2


@pytest.mark.parametrize("name", ["taskleak", "pytest_taskleak"])
def test_it_is_on_in_xdist_workers_without_autoloading(run, suite, name):
    assert_on(run("-p", name, "-p", "xdist", "-n2", autoload=False))
    assert wrapped(suite) == {}
    assert wrapped(suite, "gw0")["finish"] == wrapped(suite, "gw1")["finish"] != set()


def test_it_is_not_there_in_xdist_workers_when_it_is_switched_off(run, suite):
    assert_off(run("-p", "no:taskleak", "-n2"))
    assert [wrapped(suite, who) for who in ("main", "gw0", "gw1")] == [{}, {}, {}]


def test_p_no_switches_it_off(run, suite):
    result = run("-p", "no:taskleak")
    assert_off(result)
    assert "plugins:" in result.stdout.str()
    assert wrapped(suite) == {}


def test_p_no_takes_its_options_away(run):
    result = run("-p", "no:taskleak", "--taskleak=off")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unrecognized arguments: --taskleak=off"])


def selector_loop():
    """The name of the class behind `asyncio.SelectorEventLoop`, which differs by platform."""
    import asyncio  # noqa: PLC0415 - of no other use here

    return asyncio.SelectorEventLoop.__name__


def test_a_run_that_judges_wraps_from_its_first_test_to_its_end(run, suite):
    """The control of the tests below: the looking conftest does see what is wrapped."""
    assert_on(run())
    seen = wrapped(suite)
    assert set(seen) == {"after setup", "after call", "after teardown", "finish"}
    assert seen["finish"] == {name.format(loop=selector_loop()) for name in EVERY_NAME}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--co", "-q"], ["test_it.py::test_leaks", "test_it.py::test_is_clean"]),
        (["--help"], ["*--taskleak={fail,warn,off}*", "*--taskleak-grace*", "*taskleak_strict*"]),
        (["--markers"], ["@pytest.mark.taskleak(*"]),
        (["--fixtures"], ["*cache*"]),
        (["--version", "--version"], ["*pytest-taskleak*"]),
    ],
    ids=["co", "help", "markers", "fixtures", "version"],
)
def test_a_run_without_tests_wraps_nothing(run, suite, args, words):
    result = run(*args)
    assert result.ret == pytest.ExitCode.OK
    out = result.stdout.str() + result.stderr.str()
    pytest.LineMatcher(out.splitlines()).fnmatch_lines(words)
    assert wrapped(suite) == {}


def test_off_on_the_command_line_wraps_nothing(run, suite):
    result = run("--taskleak=off")
    assert_off(result)
    result.stdout.fnmatch_lines(["taskleak: off"])
    assert wrapped(suite) == {}


def test_off_in_the_ini_file_wraps_nothing(run, suite):
    suite.ini("taskleak = off\n")
    assert_off(run())
    assert wrapped(suite) == {}


def test_a_run_whose_tests_are_all_marked_off_wraps_nothing(run, suite):
    suite.write(source='import pytest\npytestmark = pytest.mark.taskleak("off")\n', prelude=SOURCE)
    run().assert_outcomes(passed=2)
    assert wrapped(suite) == {}


@pytest.mark.parametrize("args", [["-k", "nothing_like_it"], ["--deselect", "test_it.py"]], ids=["k", "deselect"])
def test_a_run_with_every_test_deselected_wraps_nothing(run, suite, args):
    result = run(*args)
    result.assert_outcomes(deselected=2)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert wrapped(suite) == {}


def test_a_collection_error_wraps_nothing(run, suite):
    suite.write("test_broken.py", "import nothing_of_that_name", prelude="")
    result = run()
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert wrapped(suite) == {}


@pytest.mark.parametrize(
    ("args", "ini"),
    [
        (["--strict-markers"], ""),
        (["--strict-config"], "taskleak_grace = 0.1\n"),
        ([], "strict = true\n"),
        (["--strict-markers"], "strict = true\ntaskleak = fail\ntaskleak_strict = false\n"),
    ],
    ids=["strict-markers", "strict-config", "strict", "everything"],
)
def test_it_works_under_strictness(run, suite, args, ini):
    suite.ini(ini)
    suite.write(
        "test_marked.py",
        """
        import pytest

        @pytest.mark.taskleak(grace=0.01)
        def test_leaks_marked():
            asyncio.run(start())
        """,
        prelude=SOURCE.split("def test_leaks", maxsplit=1)[0],
    )
    result = run(*args)
    result.assert_outcomes(passed=1, failed=2)
    assert CAUGHT in result.stdout.str()
    assert "1 task outlived `test_leaks_marked`: task 'poller'" in result.stdout.str()


@pytest.mark.parametrize(
    "args",
    [(), ("-p", "taskleak"), ("-p", "pytest_taskleak"), ("--taskleak=warn",), ("-n2",)],
    ids=["autoload", "named", "package", "warn", "xdist"],
)
def test_it_gives_no_warning_of_its_own(run, args):
    result = run("-W", "error", *args)
    if args == ("--taskleak=warn",):
        result.assert_outcomes(passed=2, warnings=0)
    else:
        result.assert_outcomes(passed=1, failed=1, warnings=0)
    assert "task 'poller'" in result.stdout.str()
    assert "warnings summary" not in result.stdout.str()
    assert result.stderr.str() == ""


def test_it_gives_no_warning_while_it_is_loaded(run):
    """`PYTHONWARNINGS=error` makes an error of what the imports themselves warn about."""
    result = run("-W", "error", "--help")
    assert result.ret == pytest.ExitCode.OK
    assert "taskleak" not in result.stderr.str()
