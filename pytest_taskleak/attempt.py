"""One attempt at one test: what is known of it from its setup until its reports are out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from _pytest import runner

from pytest_taskleak.model import Owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_taskleak.settings import Settings
    from pytest_taskleak.verdicts import Verdict


@dataclasses.dataclass(slots=True, eq=False)
class Attempt:
    """One attempt at one test.

    Attributes:
        owner: The attempt as an owner; another attempt at the same test is another owner.
        settings: How it is judged.
        seen: How much the run had recorded when it began.
        owners: The attempt and the fixtures made for it alone.
        ended_fixtures: The wider fixtures that ended with it.
        closing: Whether the first of them has begun to end.
        reports: Its reports so far.
        logged: The phases whose report was handed out already.
        verdicts: What was found when it was over.
        counts: How much went on before it and after it, by the names of `leak.COUNTED`.
    """

    owner: Owner
    settings: Settings
    seen: int
    owners: set[Owner] = dataclasses.field(default_factory=set[Owner])
    ended_fixtures: set[Owner] = dataclasses.field(default_factory=set[Owner])
    closing: bool = False
    reports: dict[str, pytest.TestReport] = dataclasses.field(default_factory=dict[str, pytest.TestReport])
    logged: set[str] = dataclasses.field(default_factory=set[str])
    verdicts: Sequence[Verdict] = ()
    counts: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict[str, tuple[int, int]])


def stop_in_time(session: pytest.Session, report: pytest.TestReport) -> None:
    """Let a failure that ends the run (`-x`) end it before its teardown, though its report goes out after it.

    pytest then tears down everything with the test, so that errors of wider fixtures are reported.
    """
    most = session.config.getoption("maxfail", 0)
    if report.failed and not hasattr(report, "wasxfail") and most and session.testsfailed + 1 >= most:
        session.shouldfail = f"stopping after {session.testsfailed + 1} failures"


def run_by_another(item: pytest.Item, nextitem: pytest.Item | None, plugin: object) -> bool:
    """Let other plugins' ways of running a test have their turn before pytest's own."""
    others = {
        impl.plugin
        for impl in item.ihook.pytest_runtest_protocol.get_hookimpls()
        if not (impl.wrapper or impl.hookwrapper) and impl.plugin not in (plugin, runner)
    }
    if not others:
        return False
    manager = item.config.pluginmanager
    everyone = manager.hook.pytest_runtest_protocol.get_hookimpls()
    rest = [impl.plugin for impl in everyone if impl.plugin not in others]
    caller = manager.subset_hook_caller("pytest_runtest_protocol", rest)
    return caller(item=item, nextitem=nextitem) is not None
