"""Reports in files: what tools and people read beside the terminal."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import get_args

import jsonschema
import pytest

import pytest_taskleak.report
from pytest_taskleak import drawing, files, report
from pytest_taskleak.findings import Place
from pytest_taskleak.leak import Leak
from pytest_taskleak.model import Kind

SCHEMA = json.loads((Path(pytest_taskleak.report.__file__).parent / "schema.json").read_text(encoding="utf-8"))

LEAKS = """
    @pytest.fixture(scope="module")
    async def server():
        return asyncio.create_task(forever(), name="server")

    async def parent():
        asyncio.create_task(forever(), name="child | <b>`&")
        await asyncio.sleep(0)

    @pytest.mark.parametrize("number", [1, 2])
    async def test_leaks(number):
        await asyncio.create_task(parent(), name="parent")

    @pytest.mark.taskleak("warn")
    async def test_warns():
        asyncio.get_running_loop().call_later(1000, print)
        asyncio.get_running_loop().create_future()
        await asyncio.sleep(0)

    def test_passes():
        pass
"""


def read(project, *args, source=LEAKS, result=None):
    """Run a file and give the JSON document, valid by its schema."""
    project.write(source=source)
    told = project.run("--taskleak-report=json:leaks.json", *args)
    document = json.loads((project.pytester.path / "leaks.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, SCHEMA)
    if result is not None:
        result.append(told)
    return document


def test_the_schema_is_one_and_knows_every_kind():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["leak"]["properties"]["kind"]["enum"] == list(get_args(Kind))


def test_the_json_report_tells_each_leak_and_each_cause(project):
    results = []
    document = read(project, result=results)
    results[0].assert_outcomes(passed=2, failed=2)
    first = next(leak for leak in document["leaks"] if leak["task"].startswith("child"))
    lines = (project.pytester.path / "test_it.py").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "child" in text)
    assert (first["path"], first["line"]) == ("test_it.py", line)
    assert first["test"] == "test_it.py::test_leaks[1]"
    assert first["owner"] == {"kind": "test", "name": "test_leaks[1]", "scope": "function"}
    assert (first["kind"], first["mode"], first["runs"], first["phase"]) == ("pending", "fail", "forever", "call")
    assert first["verdict"] == "never wakes, waits on `Event.wait`"
    frame = next(frame for frame in first["created"] if frame["own"])
    assert frame["source"] == lines[line - 1].strip()
    assert frame["source"][frame["column"] : frame["end_column"]].startswith("asyncio.create_task(forever(), name=")
    assert first["creators"][0]["task"] == "parent"
    cause = next(cause for cause in document["causes"] if cause["fingerprint"] == first["fingerprint"])
    assert cause["count"] == 2
    assert cause["tests"] == ["test_it.py::test_leaks[1]", "test_it.py::test_leaks[2]"]
    assert {leak["kind"] for leak in document["leaks"] if leak["mode"] == "warn"} >= {"timer"}
    results[0].stdout.fnmatch_lines(["*- taskleak report: *leaks.json -*"])


def test_the_json_report_has_the_await_graph_where_it_is_asked_for(project):
    document = read(project, "-vv")
    first = next(leak for leak in document["leaks"] if leak["task"].startswith("child"))
    assert [(link["depth"], link["text"]) for link in first["awaits"][:2]] == [
        (0, "task 'child | <b>`&', forever"),
        (1, "forever"),
    ]
    assert first["awaits"][1]["frame"]["path"] == "test_it.py"
    assert first["awaits"][0]["frame"] is None


def test_a_clean_run_is_reported_as_such(project):
    document = read(project, "--taskleak-report=md:leaks.md", source="def test_it(): pass")
    assert document["leaks"] == document["causes"] == []
    assert (project.pytester.path / "leaks.md").read_text() == "### taskleak: nothing leaked\n"


def test_the_controller_alone_writes_and_knows_what_the_workers_found(project):
    document = read(project, "-n2")
    assert len([leak for leak in document["leaks"] if leak["task"].startswith("child")]) == 2


def test_names_that_are_no_text_are_written_all_the_same(project):
    document = read(
        project,
        "--taskleak-report=md:leaks.md",
        source="""
        async def test_it():
            asyncio.create_task(forever(), name="\\ud800\\x00é")
        """,
    )
    assert document["leaks"][0]["task"] == "\\ud800\\x00é"


def test_the_markdown_report_has_a_table_a_graph_and_each_cause(project):
    project.write(source=LEAKS)
    project.run("--taskleak-report=md:leaks.md").assert_outcomes(passed=2, failed=2)
    text = (project.pytester.path / "leaks.md").read_text(encoding="utf-8")
    assert text.startswith("### taskleak: ")
    row = next(line for line in text.splitlines() if line.startswith("|") and "child" in line)
    assert row.startswith("| test\\_it.py:")
    assert row.endswith("| 2 | 2 |")
    assert "child \\| &lt;b&gt;\\`&amp;" in row
    assert "```mermaid\ngraph LR\n" in text
    graph = text.partition("```mermaid")[2].partition("```")[0]
    assert "child #124; #60;b#62;#96;#38;" in graph
    assert "`" not in graph
    assert "<details><summary>task &#x27;child | &lt;b&gt;`&amp;&#x27;, forever: never wakes" in text
    assert "- test\\_it.py::test\\_leaks\\[1\\]" in text


def test_a_report_of_very_many_causes_stays_below_what_a_summary_takes(tmp_path):
    place = Place(str(tmp_path / "test_it.py"), 1, "test_it", None, None, own=True, module="test_it", first_line=1)
    leaks = [
        Leak(
            *("pending", "x" * 300, f"Bot.run_{number}", "waits on `Event.wait`", "y" * 300, "Await it.", "pending"),
            *((place,), (place,), (), "test", "test_it", "function", "test_it.py::test_it", "call"),
        )
        for number in range(3_000)
    ]
    text = report.as_markdown([("test_it.py::test_it", "fail", leaks)], str(tmp_path))
    assert 700_000 < len(text.encode()) < 900_000
    assert "more causes are not shown here" in text
    assert text.count("<details>") == text.count("</details>")
    document = report.as_json([("test_it.py::test_it", "fail", leaks)], str(tmp_path))
    assert len(json.loads(document)["leaks"]) == 3_000


def test_what_others_wrote_to_the_summary_of_a_job_stays(project, monkeypatch):
    summary = project.pytester.path / "summary.md"
    summary.write_text("coverage: 90 %")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    project.write(source=LEAKS)
    project.run(f"--taskleak-report=md:{summary}")
    assert summary.read_text(encoding="utf-8").startswith("coverage: 90 %\n### taskleak: ")


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("xml:leaks.xml", "'xml:leaks.xml' is not valid; give a format and a file as in json:leaks.json, with one of"),
        ("leaks.json", "'leaks.json' is not valid; give a format and a file"),
        ("json:", "'json:' is not valid; give a format and a file"),
        ("json:no/such/folder/leaks.json", "cannot be written (No such file or directory); give a file in a folder"),
        ("json:.", "cannot be written (Is a directory); give a file in a folder"),
        ("md:/dev/null", "cannot be written (Not a regular file); give a file in a folder"),
    ],
)
def test_a_report_that_cannot_be_written_is_an_error_before_the_first_test(project, arg, message):
    project.write(source=LEAKS)
    result = project.run(f"--taskleak-report={arg}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()
    assert "test session starts" not in result.stdout.str()


def test_pictures_need_graphviz_and_the_graph_itself_does_not(project, monkeypatch):
    monkeypatch.setattr(drawing, "program", lambda: None)
    project.write(source=LEAKS)
    result = project.run("--taskleak-report=svg:leaks.svg")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "'svg:leaks.svg' needs graphviz's `dot`, which is not on the PATH; install" in result.stderr.str()
    project.run("--taskleak-report=dot:leaks.dot").assert_outcomes(passed=2, failed=2)
    assert (project.pytester.path / "leaks.dot").read_text(encoding="utf-8").startswith("digraph taskleak {")


def test_a_picture_is_drawn(project, monkeypatch):
    monkeypatch.setattr(drawing, "program", lambda: "dot")
    monkeypatch.setattr(drawing, "draw", lambda text, kind: f"{kind} of {text}".encode())
    project.write(source="def test_it(): pass")
    result = project.run("--taskleak-report=png:leaks.png")
    assert (project.pytester.path / "leaks.png").read_bytes().startswith(b"png of digraph taskleak {")
    result.stdout.fnmatch_lines(["*- taskleak report: *leaks.png -*"])


def test_a_picture_that_graphviz_does_not_draw_is_told_and_leaves_no_file(project, monkeypatch):
    def breaks(text, kind):
        raise OSError(22, "graphviz's `dot` ended with 1: no fonts")

    monkeypatch.setattr(drawing, "program", lambda: "dot")
    monkeypatch.setattr(drawing, "draw", breaks)
    project.write(source="def test_it(): pass")
    result = project.run("--taskleak-report=svg:leaks.svg")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*leaks.svg was not written: graphviz's `dot` ended with 1: no fonts*"])
    assert not (project.pytester.path / "leaks.svg").exists()


def test_each_report_has_a_file_of_its_own(project):
    project.write(source="def test_it(): pass")
    result = project.run("--taskleak-report=json:leaks", "--taskleak-report=md:./leaks")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "leaks is asked for as json and as md; give each report a file of its own" in result.stderr.str()
    twice = project.run("--taskleak-report=json:leaks", "--taskleak-report=json:leaks")
    assert twice.stdout.str().count("taskleak report:") == 1


def test_a_report_that_cannot_be_written_any_more_changes_no_outcome(project, monkeypatch):
    def breaks(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write", breaks)
    project.write(source="def test_it(): pass")
    result = project.run("--taskleak-report=json:leaks.json")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*leaks.json was not written: No space left on device*"])


def test_a_defect_in_one_report_leaves_the_other_and_the_outcome_alone(project, monkeypatch):
    def breaks(found, root):
        raise RuntimeError("its own defect")

    monkeypatch.setattr(report, "as_json", breaks)
    project.write(source=LEAKS)
    result = project.run("--taskleak-report=json:leaks.json", "--taskleak-report=md:leaks.md")
    result.assert_outcomes(passed=2, failed=2)
    assert "its own defect" in result.stdout.str()
    assert not (project.pytester.path / "leaks.json").exists()
    assert (project.pytester.path / "leaks.md").exists()


def test_a_fingerprint_outlives_edits_around_it_and_another_folder(project, monkeypatch):
    """That it is the same on each Python is shown by the expected reports in golden."""
    before = {cause["fingerprint"]: cause["line"] for cause in read(project)["causes"]}
    moved = project.pytester.mkdir("elsewhere")
    project.pytester.path.joinpath("pytest.ini").rename(moved / "pytest.ini")
    lines = textwrap.dedent(LEAKS).replace("async def parent():", "async def parent():\n    more = 1")
    project.write("elsewhere/test_it.py", "# more\n" * 7 + lines)
    monkeypatch.chdir(moved)
    project.run("--taskleak-report=json:leaks.json")
    causes = json.loads((moved / "leaks.json").read_text(encoding="utf-8"))["causes"]
    assert [cause["fingerprint"] for cause in causes] == list(before)
    assert {cause["line"] - before[cause["fingerprint"]] for cause in causes} == {8}
