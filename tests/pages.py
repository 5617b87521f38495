"""Leaks that are made up, and the page that tells them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pytest_taskleak import report
from pytest_taskleak.findings import Place
from pytest_taskleak.leak import Leak

HERE = Path(__file__)


def place(line: int = 1, *, path: str = str(HERE), function: str = "Bot.start", own: bool = True) -> Place:
    """A line of this file, or of another."""
    return Place(path, line, function, 0, 10, own=own, module="bot.py", first_line=1)


def leak(**changes: object) -> Leak:
    """A leak of a test; `changes` are fields of it."""
    usual = Leak(
        kind="pending",
        task="poll",
        coroutine="Bot.poll",
        verdict="never wakes, waits on `Queue.get`",
        detail="the queue is empty",
        hint="Keep the task, and `cancel()` it.",
        settled="still pending",
        waits=(place(3), place(4, path="/usr/lib/python3/asyncio/queues.py", function="Queue.get", own=False)),
        created=(place(5), place(1)),
        ancestors=(("starter", place(7)),),
        owner_kind="test",
        owner="test_bot",
        scope="function",
        nodeid="tests/test_bot.py::test_bot",
        phase="call",
    )
    return dataclasses.replace(usual, **changes)


def page(*leaks: Leak | tuple[str, str, list[Leak]], mode: str = "fail", root: Path = HERE.parent) -> str:
    """The page of a run that found these leaks, or these tests with theirs."""
    found = [each if isinstance(each, tuple) else (each.nodeid, mode, [each]) for each in leaks]
    return report.as_html(found, str(root))
