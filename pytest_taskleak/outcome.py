"""How a verdict shows in pytest's own reports, so that every consumer of reports understands it."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING, Any, TypedDict

import pytest

from pytest_taskleak.model import Leak, Place, TaskLeakError
from pytest_taskleak.report import details, headline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    from typing_extensions import Unpack

_CONTEXT = 3
"""Lines of source shown above the line to change: pytest would show its whole function."""

SECTION = "taskleak"


class Show(TypedDict):
    """How details are shown: pytest's verbosity, and the folder that paths are relative to."""

    verbosity: int
    root: str


def grafted(leaks: Sequence[Leak]) -> TaskLeakError:
    """An error whose traceback ends at the line that made the first leaked task.

    pytest, annotations and editors show the line where an error was raised. The line to change is another one; a
    function compiled with its file name and line number raises the error there (the technique is jinja2's, which
    lets template errors point into the template).
    """
    error = TaskLeakError(headline(leaks))
    place = leaks[0].line_to_change
    if place is None:
        return error
    code, name = _raiser(place)
    try:
        exec(code, {name: error, "__name__": place.function})  # noqa: S102 - the code is `raise error`
    except TaskLeakError as raised:
        trace = raised.__traceback__
        return raised.with_traceback(trace.tb_next if trace is not None else None)
    raise AssertionError("a compiled `raise` did not raise")  # pragma: no cover


def _raiser(place: Place) -> tuple[CodeType, str]:
    """Code that raises at `place`, and the name it raises: as wide as the expression, so that carets fit it."""
    source = linecache.getline(place.path, place.line).rstrip()
    column, end = place.column, place.end_column
    if column is None or end is None:
        column, end = len(source) - len(source.lstrip()), len(source)
    indent = " " * max(column, 1)
    name = "e" * max(1, end - len(indent) - len("raise "))
    if place.line == 1:
        return compile(f"raise {name}", place.path, "exec"), name
    # pytest shows the source from the code's first line on.
    first = max(1, min(place.first_line, place.line - 1), place.line - _CONTEXT)
    text = "\n" * (first - 1) + "def f():" + "\n" * (place.line - first) + f"{indent}raise {name}"
    module = compile(text, place.path, "exec")
    code = next(const for const in module.co_consts if isinstance(const, type(module)))
    return code.replace(co_name=place.function.rsplit(".", 1)[-1]), name


def represent(item: pytest.Item | None, leaks: Sequence[Leak], **show: Unpack[Show]) -> Any:
    """The long representation of a failure by leaks: the line to change as a traceback, then the details."""
    error = grafted(leaks)
    text = details(leaks, **show)
    if error.__traceback__ is None:
        return f"{headline(leaks)}\n{text}"
    excinfo = pytest.ExceptionInfo[TaskLeakError].from_exc_info((type(error), error, error.__traceback__))
    shown: Any = item.repr_failure(excinfo) if item is not None else excinfo.getrepr(style="long")
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
    report.longrepr = with_section(report.longrepr, details(leaks, **show))


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
