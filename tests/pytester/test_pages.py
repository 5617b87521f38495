"""The report as one HTML page: what is in it, before a browser opens it."""

from __future__ import annotations

import html
import re
import runpy
import sys
from pathlib import Path

import pytest
from pages import leak, page, place

from pytest_taskleak.leak import Link

made_up = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "html_report.py"))["made_up"]

LEAKS = """
    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def server():
        return asyncio.create_task(forever(), name="server")

    async def parent():
        asyncio.create_task(forever(), name="child <b>")
        await asyncio.sleep(0)

    @pytest.mark.parametrize("number", [1, 2])
    async def test_leaks(number):
        await asyncio.create_task(parent(), name="parent")

    @pytest.mark.asyncio(loop_scope="module")
    @pytest.mark.taskleak("warn")
    async def test_warns(server):
        asyncio.get_running_loop().call_later(1000, print)
"""


def text_of(page):
    """The page without tags, as a person reads it."""
    body = page.partition("<body>")[2]
    text = re.sub(r"<[^>]*>", " ", re.sub(r"</?(?:a|b|i|u|em|code)\b[^>]*>", "", body))
    return " ".join(html.unescape(text).split())


def test_a_run_is_written_as_one_page_with_the_summary_of_the_terminal(project):
    project.write(source=LEAKS)
    result = project.run("--taskleak-report=html:leaks.html")
    result.assert_outcomes(passed=1, failed=2, errors=1)
    result.stdout.fnmatch_lines(["*- taskleak report: *leaks.html -*"])
    summary = next(line for line in result.outlines if re.match(r"\d+ causes, ", line))
    page = (project.pytester.path / "leaks.html").read_text(encoding="utf-8")
    assert f"<title>taskleak: {summary}</title>" in page
    text = text_of(page)
    lines = (project.pytester.path / "test_it.py").read_text().splitlines()
    line = next(number for number, source in enumerate(lines, 1) if "child" in source)
    assert f'change test_it.py:{line} in parent asyncio.create_task(forever(), name="child <b>") stands' in text
    assert "task 'child <b>', forever outlived test_leaks[1] (call) and 1 other" in text
    assert "tests test_it.py::test_leaks[1] test_it.py::test_leaks[2] fingerprint" in text
    assert "by the task parent, created at test_it.py:" in text
    assert "fixture server (module scope) of test_it.py::test_warns" in text
    assert text.index("In your own code") < text.rindex("Who started it")


def test_a_clean_run_has_a_page_that_says_so(project):
    project.write(source="def test_it(): pass")
    project.run("--taskleak-report=html:leaks.html").assert_outcomes(passed=1)
    page = (project.pytester.path / "leaks.html").read_text(encoding="utf-8")
    assert "<title>taskleak: nothing leaked</title>" in page
    assert "<article" not in page
    assert "<form" not in page


def test_without_jinja2_it_is_an_error_before_the_first_test(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    project.write(source=LEAKS)
    result = project.run("--taskleak-report=html:leaks.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "needs jinja2: pip install 'pytest-taskleak[html]'" in result.stderr.str()
    assert "test session starts" not in result.stdout.str()


def test_ones_own_comes_before_a_library_s_and_each_is_told_once():
    text = page(
        leak(coroutine="Pool.refill", created=(), waits=(), task="pool"),
        leak(task="poll-1"),
        leak(task="poll-2", verdict="sleeps until +5 s"),
    )
    assert text.count("<article") == 2
    told = text_of(text)
    assert "1 of the causes is in your own code, 1 in a library." in told
    assert told.index("poll-1") < told.index("In libraries") < told.index("Pool.refill")
    assert "named poll-1, poll-2" in told
    assert "also sleeps until +5 s" in told


def test_who_holds_it_is_shown_and_what_is_not_known_is_left_out():
    text = text_of(page(leak(holders="`bot.PENDING` (list) -> Session", settled="", detail="")))
    assert "held by bot.PENDING (list) -> Session fix" in text
    assert " then " not in text
    assert " detail " not in text
    assert "held by" not in text_of(page(leak(holders="")))


def test_the_part_of_the_holders_to_look_at_is_underlined():
    text = page(leak(holders="bot.BOT (Bot) -> tasks (set) -> Future", suspect="tasks (set)"))
    assert "<dt>held by</dt><dd>bot.BOT (Bot) -&gt; <u>tasks (set)</u> -&gt; Future</dd>" in text


def test_the_library_is_named_with_its_version():
    told = text_of(page(leak(coroutine="Pool.refill", created=(), waits=(), distribution=("pool", "2.1"))))
    assert "fails pool 2.1 task" in told
    assert "All in libraries." in told


def test_the_await_graph_is_shown_line_by_line_where_it_was_asked_for():
    links = (Link(0, "task <poll>", None), Link(1, "Bot.poll", place(3)), Link(2, "self = <Bot>", None))
    text = page(leak(awaits=links))
    assert "<pre>task &lt;poll&gt;\n  pages.py:3: in Bot.poll\n    self = &lt;Bot&gt;\n</pre>" in text
    assert "await graph" not in page(leak())


@pytest.mark.parametrize(
    ("modes", "said"),
    [
        (("fail",), "All in your own code."),
        (("fail", "fail", "warn"), "All in your own code; 2 leaks fail the run, 1 only warns."),
        (("fail", "accepted"), "All in your own code; 1 leak fails the run, 1 is accepted."),
        (("warn", "accepted", "accepted"), "All in your own code; 1 only warns, 2 are accepted."),
        (("warn",), "All in your own code; the run does not fail, they are only warned of."),
        (("accepted",), "All in your own code; the run does not fail, all are accepted."),
    ],
)
def test_the_head_says_what_follows_for_the_run(modes, said):
    found = [
        (f"test_{number}.py::test_it", mode, [leak(coroutine=f"run_{number}", accepted="old" * (mode == "accepted"))])
        for number, mode in enumerate(modes)
    ]
    told = text_of(page(*found))
    assert said in told
    assert ("accepted old fix" in told) == ("accepted" in modes)


def test_what_is_accepted_comes_after_what_is_not():
    old = ("test_a.py::test_it", "accepted", [leak(coroutine="Old.run", accepted="known")])
    told = text_of(page(old, leak(coroutine="New.run")))
    assert told.index("New.run") < told.index("Old.run")


def test_an_owner_that_nobody_knows_is_said_to_be_unknown():
    text = text_of(page(leak(owner_kind="block", owner="", scope="unknown", nodeid="", phase="")))
    assert "task 'poll', Bot.poll outlived an owner that nobody knows change" in text
    assert "test of unknown owner fingerprint" in text


def test_nothing_in_the_page_asks_a_network():
    text = page(leak())
    text = text.replace("xmlns='http://www.w3.org/2000/svg'", "")
    assert not re.findall(r"""(?:src|href|action)=(?!["'](?:#|data:image/svg))|url\(|@import|https?:""", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; style-src 'sha256-")


@pytest.mark.parametrize("causes", [2_000, 20])
def test_2_000_leaks_make_less_than_5_mb_and_each_cause_is_shown_in_full(tmp_path, causes):
    text = page(*made_up(2_000, tmp_path, causes=causes), root=tmp_path)
    assert len(text.encode()) < 5_000_000
    assert text.count("<article") == causes
    assert text.count("fingerprint</dt>") == causes
    assert "in short" not in text


def test_what_is_too_much_for_a_page_is_shown_in_short_and_what_is_left_out_is_said():
    many = [leak(coroutine=f"run_{number}" + "\"'" * 140, detail="'" * 300, task="&" * 300) for number in range(4_000)]
    text = page(*many)
    assert 4_000_000 < len(text.encode()) < 5_000_000
    (brief, left) = map(int, re.findall(r"The last (\d+) causes are shown in short, and (\d+) more are not", text)[0])
    assert text.count("<article") == text.count("</article>") == 4_000 - left
    assert text.count("fingerprint</dt>") == 4_000 - left - brief
    shown = set(re.findall(r'<article id="([^"]*)"', text))
    assert set(re.findall(r'<a href="#(c-[^"]*)"', text)) == shown


def test_a_package_that_is_installed_brings_what_the_page_is_made_of():
    """The files stand in the package's folder, which the wheel takes as a whole."""
    root = Path(__file__).parents[2]
    assert 'packages = ["pytest_taskleak", "reference_queue"]' in (root / "pyproject.toml").read_text(encoding="utf-8")
    names = {path.name for path in (root / "pytest_taskleak" / "report" / "html").iterdir()}
    assert names == {"page.html", "cause.html", "owner.html", "style.css", "script.js"}
