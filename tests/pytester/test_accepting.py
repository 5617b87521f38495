"""Causes that a project lives with, by their fingerprint; and the lines that a report gives to work on with."""

from __future__ import annotations

import json
import re
import shlex

import pytest

LEAKS = """
    async def heartbeat():
        await asyncio.sleep(3600)

    async def test_leaks():
        asyncio.create_task(heartbeat())
        await asyncio.sleep(0)

    async def test_leaks_more():
        asyncio.create_task(forever())
        asyncio.create_task(heartbeat())
        await asyncio.sleep(0)
"""

BEAT = """
    async def heartbeat():
        await asyncio.sleep(3600)

    def start():
        return asyncio.create_task(heartbeat())

"""
"""One cause, whoever starts it: a task's line to change is the one in `start`."""


def fingerprints(project, source, *args):
    """What each leak of a file is to be accepted by, by what it runs; the file is written."""
    project.write(source=source)
    project.run("--taskleak-report=json:leaks.json", "--taskleak=warn", *args)
    leaks = json.loads((project.pytester.path / "leaks.json").read_text(encoding="utf-8"))["leaks"]
    (project.pytester.path / "leaks.json").unlink()
    return {leak["runs"]: leak["fingerprint"] for leak in leaks}


def accept(project, *lines):
    project.ini("taskleak_accept =\n" + "".join(f"    {line}\n" for line in lines))


@pytest.mark.parametrize("args", [(), ("-n1",)], ids=["here", "xdist"])
def test_a_cause_that_is_accepted_is_told_and_fails_no_test(project, args):
    accept(project, f"{fingerprints(project, BEAT + LEAKS_OF_BEAT)['heartbeat']}   the SDK never stops it")
    result = project.run(*args)
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "=* taskleak =*",
            "1 cause, 2 leaked tasks in 2 tests",
            "*heartbeat ×2 outlived `test_a`, *, and 1 other  [[]accepted: the SDK never stops it[]]",
        ]
    )
    assert "accept it" not in result.stdout.str()
    assert "matched nothing" not in result.stdout.str()


LEAKS_OF_BEAT = """
    async def test_a():
        start()
        await asyncio.sleep(0)

    async def test_b():
        start()
        await asyncio.sleep(0)
"""


def test_what_else_a_test_leaks_fails_it_and_is_shown_alone(project):
    accept(project, f"{fingerprints(project, LEAKS)['forever']} known")
    result = project.run()
    result.assert_outcomes(failed=2)
    failure = result.stdout.str().partition("= FAILURES =")[2].partition("= taskleak =")[0]
    assert "task heartbeat" in failure
    assert "task forever" not in failure
    result.stdout.fnmatch_lines(["*task forever outlived `test_leaks_more`*[[]accepted: known[]]"])


def test_one_cause_in_one_test_and_not_the_same_line_in_another(project):
    """A cause is told by where it was made: the same heartbeat, started elsewhere, is another."""
    project.write(source=LEAKS)
    project.run("--taskleak-report=json:leaks.json")
    leaks = json.loads((project.pytester.path / "leaks.json").read_text(encoding="utf-8"))["leaks"]
    first = next(leak["fingerprint"] for leak in leaks if leak["test"].endswith("test_leaks"))
    accept(project, f"{first} known")
    project.run().assert_outcomes(passed=1, failed=1)


def test_it_is_shown_in_whole_with_its_reason_where_every_frame_is(project):
    accept(project, f"{fingerprints(project, BEAT + LEAKS_OF_BEAT)['heartbeat']} the SDK never stops it")
    text = project.run("-v").stdout.str()
    told = text.partition("= taskleak =")[2]
    assert told.count("accepted: the SDK never stops it\nrun it alone: pytest -vv test_it.py::test_") == 2
    assert "to accept it" not in told


@pytest.mark.parametrize(
    ("source", "args"),
    [
        (
            """
            @pytest_asyncio.fixture(scope="module", loop_scope="module")
            async def server():
                yield start()

            async def test_it(server):
                pass
            """,
            (),
        ),
        (
            """
            @pytest.fixture
            async def server():
                return start()

            async def test_it(server):
                pass
            """,
            (),
        ),
        (
            """
            pytestmark = pytest.mark.asyncio(loop_scope="module")
            begin = []

            def boom():
                raise ValueError

            async def test_it():
                begin.append(asyncio.get_running_loop().create_future())
                begin[0].add_done_callback(lambda future: boom())

            async def test_later():
                begin[0].set_result(None)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            """,
            (),
        ),
        (
            """
            async def cleans_up():
                try:
                    await heartbeat()
                finally:
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)

            async def test_it():
                task = asyncio.create_task(cleans_up())
                await asyncio.sleep(0)
                task.cancel()
            """,
            ("--taskleak-strict",),
        ),
    ],
    ids=["wide fixture", "fixture", "late", "strict"],
)
def test_whoevers_it_is_and_whenever_it_is_found(project, source, args):
    both = BEAT + "\n" + "\n".join(line[8:] for line in source.splitlines())
    known = fingerprints(project, both, *args)
    assert known
    accept(project, *(f"{fingerprint} known" for fingerprint in known.values()))
    result = project.run(*args, "--taskleak-report=json:leaks.json")
    assert result.ret == pytest.ExitCode.OK
    outcomes = result.parseoutcomes()
    assert not {"failed", "errors"} & set(outcomes)
    (leak, *_) = json.loads((project.pytester.path / "leaks.json").read_text(encoding="utf-8"))["leaks"]
    assert (leak["mode"], leak["reason"]) == ("accepted", "known")


def test_an_attempt_that_was_repeated_counts_as_met(project):
    source = f"""
    {BEAT}
    @pytest.mark.flaky(reruns=1)
    async def test_it(request):
        if request.node.execution_count == 1:
            start()
            await asyncio.sleep(0)
            raise ValueError
    """
    accept(project, f"{fingerprints(project, BEAT + LEAKS_OF_BEAT)['heartbeat']} known")
    project.write(source=source)
    result = project.run()
    result.assert_outcomes(passed=1)
    assert "matched nothing" not in result.stdout.str()


def test_growth_with_each_repetition_is_accepted_too(project):
    source = """
    class Job: ...
    KEPT = []

    @pytest.mark.taskleak(repeat=3)
    def test_it():
        KEPT.append(Job())
    """
    project.write(source=source)
    found = re.search(r"taskleak_accept`: (\w{12}) ", project.run_apart("-v").stdout.str())
    accept(project, f"{found[1]} known")
    project.run_apart().assert_outcomes(passed=1)


def test_what_matched_nothing_is_told_where_every_test_ran(project):
    accept(project, "0123456789ab gone since", "abababababab gone, too")
    project.write(source="def test_it(): pass")
    result = project.run()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "=* taskleak =*",
            "`taskleak_accept`: 0123456789ab matched nothing in this run (gone since)",
            "`taskleak_accept`: abababababab matched nothing in this run (gone, too)",
        ]
    )


@pytest.mark.parametrize(
    "args",
    [
        *(("-k", "it"), ("-m", "not slow"), ("test_it.py::test_it",), ("test_it.py",), ("--lf",), ("--collect-only",)),
        *(("--taskleak-kinds=futures",), ("--taskleak=off",), ("-o", "taskleak=off")),
    ],
    ids=" ".join,
)
def test_a_run_of_a_part_says_nothing_of_what_it_did_not_meet(project, args):
    accept(project, "0123456789ab known")
    project.write(source="def test_it(): pass")
    assert "taskleak_accept" not in project.run(*args).stdout.str()


def test_a_run_in_a_folder_says_nothing_of_what_it_did_not_meet(project, monkeypatch):
    accept(project, "0123456789ab known")
    project.write("unit/test_it.py", "def test_it(): pass")
    monkeypatch.chdir(project.pytester.path / "unit")
    result = project.run()
    result.assert_outcomes(passed=1)
    assert "taskleak_accept" not in result.stdout.str()


def test_the_command_is_for_the_folder_that_it_is_given_in(project, monkeypatch):
    project.write("unit/test_it.py", "async def test_it(): asyncio.create_task(forever()); await asyncio.sleep(0)")
    (project.pytester.path / "other").mkdir()
    monkeypatch.chdir(project.pytester.path / "other")
    project.run("-v", "../unit").stdout.fnmatch_lines(["run it alone: pytest -vv ../unit/test_it.py::test_it"])


def test_a_run_that_ends_early_says_nothing_of_what_it_did_not_meet(project):
    accept(project, "0123456789ab known")
    project.write(source="def test_fails(): assert False\ndef test_it(): pass", prelude="")
    assert "taskleak_accept" not in project.run("-x").stdout.str()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0123456789ab", "'0123456789ab' is not valid; give a line for each cause: its fingerprint, as `pytest -v`"),
        ("0123 why", "'0123 why' is not valid"),
        ("0123456789AB why", "'0123456789AB why' is not valid"),
        ("0123456789ab why\n    0123456789ab again", "0123456789ab is there twice; give one reason for each cause"),
    ],
    ids=["no reason", "short", "upper case", "twice"],
)
def test_a_line_that_cannot_be_meant_is_an_error(project, line, said):
    accept(project, line)
    project.write(source="def test_it(): pass")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ini value `taskleak_accept`: {said}" in result.stderr.str()


def test_a_block_is_judged_as_ever(project):
    source = f"""
    {BEAT}
    from pytest_taskleak import assert_no_leaks

    async def test_it():
        async with assert_no_leaks(cancel=True):
            start()
    """
    accept(project, f"{fingerprints(project, BEAT + LEAKS_OF_BEAT)['heartbeat']} known")
    project.write(source=source)
    project.run().assert_outcomes(failed=1)


def test_the_markdown_and_the_graph_say_so(project):
    accept(project, f"{fingerprints(project, BEAT + LEAKS_OF_BEAT)['heartbeat']} the SDK")
    project.run("--taskleak-report=md:leaks.md", "--taskleak-report=dot:leaks.dot").assert_outcomes(passed=2)
    assert "\\(accepted: the SDK\\) | 2 | 2 |" in (project.pytester.path / "leaks.md").read_text(encoding="utf-8")
    assert "accepted: the SDK" in (project.pytester.path / "leaks.dot").read_text(encoding="utf-8")


def test_the_lines_to_go_on_with_do_what_they_say(project):
    folder = "tests of it"
    project.write(
        f"{folder}/test_it.py",
        """
        @pytest.mark.parametrize("x", ["it's", "$HOME"])
        async def test_it(x):
            asyncio.create_task(forever())
            await asyncio.sleep(0)
        """,
    )
    text = project.run("-v", "--taskleak-strict", "--taskleak-grace=0.05", "-n0").stdout.str()
    commands = [shlex.split(line.partition(": ")[2]) for line in text.splitlines() if line.startswith("run it alone")]
    assert [command[:4] for command in commands] == [
        ["pytest", "-vv", "--taskleak-grace=0.05", "--taskleak-strict"],
    ] * 2
    result = project.run(*commands[0][1:])
    result.assert_outcomes(failed=1)
    assert "the await graph" in result.stdout.str()
    (line,) = {line for line in text.splitlines() if line.startswith("to accept it")}
    accept(project, line.partition(": ")[2])
    project.run("-v").assert_outcomes(passed=2)


def test_without_v_there_are_no_such_lines(project):
    project.write(source=LEAKS)
    text = project.run().stdout.str()
    assert "run it alone" not in text
    assert "to accept it" not in text
