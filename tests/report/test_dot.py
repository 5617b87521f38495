"""Graphs of what leaked, in graphviz's language and drawn by it."""

import dataclasses
import html
import re
import subprocess

import pytest

from pytest_taskleak import drawing
from pytest_taskleak.findings import Place
from pytest_taskleak.leak import Leak
from pytest_taskleak.report import as_dot

needs_graphviz = pytest.mark.skipif(
    drawing.program() is None, reason="needs graphviz's `dot`: install the package graphviz"
)

HERE = Place("/work/test_it.py", 7, "test_it", None, None, own=True, module="test_it.py", first_line=1)
LIBRARY = HERE._replace(path="/lib/site-packages/queue.py", own=False, module="queue.py")
LEAK = Leak(
    *("pending", "consumer", "Bot.consume", "waits on `Queue.get`", "the queue is empty", "Await it.", "pending"),
    *((HERE._replace(function="Bot.consume"),), (HERE,), (("Bot.start", HERE),)),
    *("test", "test_it", "function", "test_it.py::test_it", "call"),
)


def dot_of(*leaks):
    return as_dot([(leak.nodeid, "fail", [leak]) for leak in leaks], "/work")


def labels(text):
    """What graphviz shows, by its own word: the texts of the picture."""
    svg = drawing.draw(text, "svg").decode()
    return [html.unescape(found).replace("\xa0", " ") for found in re.findall(r"<text[^>]*>(.*?)</text>", svg)]


def node(text, words):
    """The name of the node whose label has these words."""
    lines = (line.strip() for line in text.splitlines() if words in line)
    return next(line.split()[0] for line in lines if re.match(r"n\d+ \[", line))


def test_owner_creator_task_and_wait_are_a_chain():
    text = dot_of(LEAK)
    owner, creator = node(text, "test_it.py::test_it"), node(text, "task Bot.start")
    leak, wait = node(text, "task 'consumer', Bot.consume"), node(text, "waits on `Queue.get` (the queue is empty)")
    for edge in (f"{owner} -> {creator} ", f"{creator} -> {leak} ", f"{leak} -> {wait}\n"):
        assert edge in text
    assert "test_it.py:7" in text


def test_causes_are_counted_and_ones_own_come_first():
    theirs = dataclasses.replace(LEAK, waits=(LIBRARY,), created=(LIBRARY,), coroutine="Pool.read", ancestors=())
    text = dot_of(theirs, LEAK, LEAK)
    assert "Bot.consume ×2" in text
    assert text.index("Bot.consume ×2") < text.index("Pool.read")
    assert "in a library" in text


def test_every_owner_of_a_cause_is_drawn_up_to_a_number():
    many = [dataclasses.replace(LEAK, nodeid=f"test_it.py::test_{n}", owner=f"test_{n}") for n in range(30)]
    text = dot_of(*many)
    assert text.count("shape=folder") == 20
    assert "and 10 more owners" in text


def test_who_holds_it_and_what_follows_from_it_are_drawn():
    text = dot_of(dataclasses.replace(LEAK, holders="`bot.BOTS` -> Bot", children=("child, sleeps",) * 2))
    assert f"{node(text, 'bot.BOTS')} -> {node(text, 'Bot.consume')} " in text
    assert f"{node(text, 'Bot.consume')} -> {node(text, 'child, sleeps ×2')} " in text


def test_very_many_causes_are_cut():
    text = dot_of(*(dataclasses.replace(LEAK, coroutine=f"run_{n}") for n in range(250)))
    assert "and 50 more causes" in text
    assert "run_199" in text
    assert "run_200" not in text


def test_nothing_is_a_graph_too():
    assert "nothing leaked" in as_dot([], "/work")


HOSTILE = [
    *('say "hi"', "back\\slash \\n \\l \\N \\G", "ends with \\", '\\"', "<b>&lt;&amp; &#65;</b>", "{a|b}"),
    *("[x]; } digraph", "/* this */ // or # this", "é 漢字 ×", "two\nlines", "\x00\x1b[2J\u202e\ud800"),
]


@needs_graphviz
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_as_it_is(name):
    hostile = dataclasses.replace(
        LEAK, task=name, nodeid=f"test_it.py::test_it[{name}]", holders=name, children=(name,), detail=name
    )
    text = dot_of(hostile)
    said = [label.rstrip() for label in labels(text)]
    assert hostile.holders in said
    assert said.count(hostile.holders) == 2  # who holds it, and what follows from it
    assert f"test_it.py::test_it[{hostile.holders}]" in said
    assert len(re.findall(r'class="node"', drawing.draw(text, "svg").decode())) == 6


@needs_graphviz
@pytest.mark.parametrize(("kind", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_pictures_are_what_they_are_called(kind, begins):
    assert drawing.draw(dot_of(LEAK), kind).startswith(begins)


@needs_graphviz
def test_what_graphviz_says_of_a_graph_that_is_none_is_passed_on():
    with pytest.raises(OSError, match=r"ended with 1: .*syntax error"):
        drawing.draw("digraph {", "svg")


def test_a_drawing_that_takes_too_long_is_given_up(monkeypatch):
    def hangs(command, **kwargs):
        raise subprocess.TimeoutExpired(command, kwargs["timeout"])

    monkeypatch.setattr(drawing, "program", lambda: "dot")
    monkeypatch.setattr("subprocess.run", hangs)
    with pytest.raises(OSError, match="took more than 60 s"):
        drawing.draw(dot_of(LEAK), "svg")


def test_a_graphviz_that_is_gone_meanwhile_is_told(monkeypatch):
    monkeypatch.setattr(drawing, "program", lambda: None)
    with pytest.raises(OSError, match="not there any more"):
        drawing.draw(dot_of(LEAK), "svg")
