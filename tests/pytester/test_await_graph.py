"""`-vv`: the whole await graph of a leaked task, and its local variables, which nothing else shows."""

from __future__ import annotations

import json

import pytest

SOURCE = """
    import pathlib

    class Session:
        def __repr__(self):
            with pathlib.Path("asked").open("a") as file:
                file.write("asked ")
            return "Session(hunter2)"

    async def child(session):
        await forever()

    async def parent(session):
        await asyncio.gather(child(session))

    async def test_it():
        asyncio.create_task(parent(Session()), name="parent")
        await asyncio.sleep(0.001)
"""


@pytest.mark.parametrize("args", [("-vv",), ("-vv", "-n1")], ids=["here", "xdist"])
def test_the_graph_and_the_local_variables_are_shown(project, args):
    project.write(source=SOURCE)
    result = project.run(*args)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "the await graph",
            "  task 'parent', parent",
            "    test_it.py:*: in parent",
            "      session = Session(hunter2)",
            "    gather: 1 of 1 go on",
            "      task child",
            "        test_it.py:*: in child",
            "          session = Session(hunter2)",
            "        test_it.py:*: in forever",
            "        */locks.py:*: in Event.wait",
            "        a future that nobody has settled",
            "then: still pending*",
        ],
        consecutive=True,
    )


def test_without_it_nobody_asks_for_a_repr(project):
    project.write(source=SOURCE)
    result = project.run("-v", "--taskleak-report=json:leaks.json", "--show-capture=no", "--tb=short")
    result.assert_outcomes(failed=1)
    assert "await graph" not in result.stdout.str()
    assert "hunter2" not in result.stdout.str().replace('return "Session(hunter2)"', "")
    assert not (project.pytester.path / "asked").exists()
    (leak,) = json.loads((project.pytester.path / "leaks.json").read_text(encoding="utf-8"))["leaks"]
    assert leak["awaits"] == []


def test_a_block_shows_no_local_variables(project):
    head, test, body = SOURCE.partition("    async def test_it():\n")
    block = "        async with pytest_taskleak.assert_no_leaks():\n"
    project.write(source=f"{head}    import pytest_taskleak\n{test}{block}{body.replace('        ', '            ')}")
    result = project.run("-vv", "--tb=short")
    result.assert_outcomes(failed=1)
    assert not (project.pytester.path / "asked").exists()


def test_with_v_the_line_to_change_comes_before_what_it_called_and_who_called_it(judged):
    _, text = judged(
        """
        def begin():
            asyncio.gather(forever())

        async def test_it():
            begin()
            await asyncio.sleep(0)
        """,
        "-v",
    )
    told = text.partition("created at\n")[2].splitlines()
    assert told[0].startswith("test_it.py:")
    assert told[0].endswith(": in begin")
    assert told[1].strip() == "asyncio.gather(forever())"
    through = [line for line in told if line.startswith("    through ")]
    assert through
    assert all("asyncio/tasks.py:" in line for line in through)
    assert any(line.startswith("    from test_it.py:") and line.endswith(" in test_it") for line in told)
