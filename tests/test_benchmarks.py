"""The program that runs the benchmarks: no table is lost, and the words in it are right."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """The module of `make bench`, and no trace of it afterwards."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module("bench")
    for name in set(sys.modules) - before:
        del sys.modules[name]


def rows_of(bench):
    """Rows of two areas, where a third fails."""
    row = bench.Row

    def rows_of(area):
        if area == "start":
            raise ZeroDivisionError("made for this test")
        yield row("what is asked", "no plugin", 1.25, limit=1.02)
        yield row("what is cheaper", "a peer", 21.5, limit=20, at_least=True, digits=0)
        yield row("what nothing is asked of", "", 3, "MB", digits=0)

    return rows_of


def test_an_area_that_fails_loses_no_other_s_table(bench):
    said = []
    found, failed = bench.run(["tests", "start", "suite"], said.append, rows_of(bench))
    assert list(found) == ["tests", "suite"]
    assert [words.partition(":")[0] for words in failed] == ["start"]
    assert "ZeroDivisionError: made for this test" in failed[0]
    assert [text.strip().partition("\n")[0].split(",")[0] for text in said] == [
        "== a test that leaks nothing",
        "== start: failed",
        "== a suite that leaks nothing",
    ]


def test_a_table_says_what_was_reached_in_lines_of_a_terminal_s_width(bench):
    said = []
    bench.run(["tests"], said.append, rows_of(bench))
    lines = said[0].splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[-1] for line in lines[-3:]] == ["MISSED", "reached", "MB"]
    assert "1.25 ×  ≤ 1.02" in lines[-3]
    assert "≥ 20" in lines[-2]


@pytest.mark.parametrize(
    ("measured", "unit", "limit", "digits"),
    [(99_999, "ms more", 1_000, 0), (15.5, "ms more", 15, 1), (11.25, "µs more", 1.5, 2), (12.5, "MiB more", 10, 1)],
)
def test_a_row_of_any_unit_fits_a_terminal_s_width(bench, measured, unit, limit, digits):
    against = "plain, 12.1 µs in a lo"
    what = "the same with pyleak 0.2.0 and bare marker"
    line = bench.Row(what, against, measured, unit, limit, digits=digits, aim=limit / 2).line()
    assert line.endswith("MISSED")
    assert len(line) <= 100


def test_a_table_tells_the_versions_of_the_peers(bench):
    said, peers = [], importlib.import_module("peers")

    def rows(_area):
        peers.used["pyleak"] = ["pytest==9.2.0", "pyleak==0.2.0"]
        yield bench.Row("what is asked", "pyleak", 1.0)

    bench.run(["suite"], said.append, rows)
    assert "pyleak: pytest 9.2.0, pyleak 0.2.0" in said[0].splitlines()[2]


@pytest.mark.parametrize(("measured", "word"), [(1.009, "aim met"), (1.015, "reached"), (1.03, "MISSED")])
def test_a_row_tells_its_limit_and_its_aim_apart(bench, measured, word):
    line = bench.Row("a test", "no plugin", measured, limit=1.02, aim=1.01, digits=3).line()
    assert line.endswith(f"≤ 1.02/1.01   {word}")


def test_rows_are_written_whole_with_what_they_were_measured_on(bench, tmp_path):
    found, _ = bench.run(["tests"], lambda _text: None, rows_of(bench))
    bench.write(tmp_path / "rows.json", found)
    told = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [row["reached"] for row in told["areas"]["tests"]] == [False, True, None]
    assert told["surroundings"][0].startswith("Python ")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]


def test_rows_that_cannot_be_written_leave_nothing_behind(bench, tmp_path):
    with pytest.raises(TypeError):
        bench.write(tmp_path / "rows.json", {"tests": [bench.Row("a figure", "", 1, unit=object())]})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "run", lambda _areas: pytest.fail("it measures"))
    with pytest.raises(SystemExit):
        bench.main(["tests", "--json", str(tmp_path / "absent" / "rows.json")])
    said = capsys.readouterr()
    assert said.out == ""
    assert "to write 'rows.json' to" in said.err


def test_an_environment_that_cannot_be_made_says_why(bench, monkeypatch, tmp_path):
    peers = importlib.import_module("peers")
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    with pytest.raises(RuntimeError, match=r"venv-bench-peer could not be made of \./absent:\n.*absent"):
        peers.environment("peer", ["./absent"])
    assert not (tmp_path / ".venv-bench-peer" / "asked").exists()


def test_growth_is_not_cheap_by_what_two_runs_alike_differ_by(bench):
    cost = importlib.import_module("suite_cost").at_most_and_median
    assert cost([1.0, 1.25, 1.5], [1.0, 1.125, 1.25], [2.0, 2.25, 2.5]) == (0.5, 1.0)
    assert cost([1.0, 1.0, 1.0], [1.5, 1.5, 1.5], [5.0, 5.0, 5.0]) == (0.5, 4.0)


@pytest.mark.parametrize("tests", [6, 150, 199, 1_000])
def test_a_block_that_each_test_keeps_is_a_slope_of_one(bench, monkeypatch, tests):
    monkeypatch.setenv("TESTS", str(tests))
    memory = importlib.import_module("memory_cost")
    samples = range(memory.EACH, tests + 1, memory.EACH)
    assert memory.slope_of(list(samples)) == (1, 0)


def test_the_error_of_a_slope_is_that_of_a_regression(bench, monkeypatch):
    """By hand: 0, 2, 1 over 0, 1, 2 has the slope 0.5, its errors are -0.5, 1, -0.5."""
    monkeypatch.setenv("TESTS", "100")
    slope, error = importlib.import_module("memory_cost").slope_of([0, 2, 1])
    assert (slope, error) == pytest.approx((0.5, 0.75**0.5))


def test_every_area_is_a_file_and_every_file_is_an_area_or_helps_one(bench):
    helpers = {"bench", "table", "peers", "suites"}
    named = {module for module, _ in {**bench.AREAS, **bench.PROGRAMS}.values()}
    assert {path.stem for path in BENCHMARKS.glob("*.py")} == named | helpers


def test_a_program_s_figures_come_after_their_title_in_a_file(tmp_path):
    """What is printed into a pipe is kept back until there is much of it; the program prints into it, too."""
    (tmp_path / "tiny.py").write_text("print('the figures')", encoding="utf-8")
    program = f"""
import sys
sys.path.insert(0, {str(BENCHMARKS)!r})
import bench
bench.PROGRAMS["tiny"] = ("tiny", "the title")
bench.__file__ = {str(tmp_path / "bench.py")!r}
bench.run(["tiny"])
"""
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=surroundings)
    assert done.stdout.split() == ["==", "the", "title", "the", "figures"]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_runs_the_areas_that_are_asked_for():
    command = ["make", "-n", "bench", "AREAS=tests queue"]
    # A make that runs the tests hands its own options down.
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        command, cwd=BENCHMARKS.parent, env=outside, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1].endswith("python benchmarks/bench.py tests queue")


def test_what_is_no_area_is_refused_with_those_that_are():
    command = [sys.executable, str(BENCHMARKS / "bench.py"), "speed"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "no area 'speed'; there are tests, suite" in done.stderr
