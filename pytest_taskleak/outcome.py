"""How a verdict shows in pytest's own reports, so that every consumer of reports understands it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_taskleak import report as texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from pytest_taskleak.leak import Leak
    from pytest_taskleak.settings import Show

SECTION = "taskleak"


def represent(item: pytest.Item | None, leaks: Sequence[Leak], **show: Unpack[Show]) -> Any:
    """The long representation of a failure by leaks: the line to change as a traceback, then the details."""
    error = texts.grafted(leaks)
    text = texts.details(leaks, **show)
    if error.__traceback__ is None:
        return f"{texts.headline(leaks)}\n{text}"
    excinfo = pytest.ExceptionInfo[AssertionError].from_exc_info((type(error), error, error.__traceback__))
    try:
        shown: Any = item.repr_failure(excinfo) if item is not None else excinfo.getrepr(style="long")
    except Exception:  # noqa: BLE001 - an item of the user's own kind, or CPython's parser, called from a finalizer
        return f"{texts.headline(leaks)}\n{text}"
    return with_section(shown, text)


def with_section(longrepr: Any, text: str) -> Any:
    """A failure's representation with the details below it; they go wherever it goes, JUnit included."""
    if hasattr(longrepr, "addsection"):
        longrepr.addsection(SECTION, text)
        return longrepr
    return f"{longrepr}\n{text}"


def fail(report: pytest.TestReport, item: pytest.Item, leaks: Sequence[Leak], **show: Unpack[Show]) -> None:
    """Make a report that passed (or of a test that did) one that failed because of leaks."""
    report.outcome = "failed"
    report.longrepr = represent(item, leaks, **show)


def append(report: pytest.TestReport, leaks: Sequence[Leak], **show: Unpack[Show]) -> None:
    """Show leaks below a failure that is there already."""
    report.longrepr = with_section(report.longrepr, texts.details(leaks, **show))


def late_report(leaks: Sequence[Leak], location: Sequence[Any], **show: Unpack[Show]) -> pytest.TestReport:
    """A report of its own for leaks that were found after their test, or fixture, was over."""
    path, line, domain = location
    return pytest.TestReport(
        nodeid=leaks[0].nodeid,
        location=(path, line, domain),
        keywords={},
        outcome="failed",
        longrepr=represent(None, leaks, **show),
        when="teardown",
    )
