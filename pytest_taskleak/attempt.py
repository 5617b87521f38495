"""One attempt at one test: what is known of it from its setup until its reports are out."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pytest

    from pytest_taskleak.model import Owner
    from pytest_taskleak.settings import Settings
    from pytest_taskleak.verdicts import Verdict


class Attempt:
    """One attempt at one test.

    Attributes:
        owner: The attempt as an owner; another attempt at the same test is another owner.
        settings: How it is judged.
        seen: How much the run had recorded when it began.
        owners: The attempt and the fixtures made for it alone.
        ended_fixtures: The wider fixtures that ended with it.
        closing: Whether the first of them has begun to end.
        carries: Whether its last report may take anything along.
        reports: Its reports so far.
        logged: The phases whose report was handed out already.
        verdicts: What was found when it was over.
        counts: How much went on before it and after it, by the names of `model.COUNTED`.
        refused: Why it must not run: what its marker says is not valid.
    """

    # What is so of nearly all of them costs a test nothing.
    closing = False
    carries = False
    ended_fixtures: Collection[Owner] = ()
    verdicts: Sequence[Verdict] = ()
    counts: Mapping[str, tuple[int, int]] = MappingProxyType({})
    refused: Exception | None = None

    def __init__(self, owner: Owner, settings: Settings, seen: int) -> None:
        """Make one that has just begun."""
        self.owner = owner
        self.settings = settings
        self.seen = seen
        self.owners = [owner]
        self.reports: dict[str, pytest.TestReport] = {}
        self.logged: list[str] = []


def stop_in_time(session: pytest.Session, report: pytest.TestReport) -> None:
    """Let a failure that ends the run (`-x`) end it before its teardown, though its report goes out after it.

    pytest then tears down everything with the test, so that errors of wider fixtures are reported.
    """
    if not report.failed or hasattr(report, "wasxfail"):
        return
    most = session.config.getoption("maxfail", 0)
    if most and session.testsfailed + 1 >= most:
        session.shouldfail = f"stopping after {session.testsfailed + 1} failures"
