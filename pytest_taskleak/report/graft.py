"""An error that points to the line that made a leaked task, though it is raised elsewhere."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING

from pytest_taskleak.errors import TaskLeakError
from pytest_taskleak.report.text import LONGEST_LINE, headline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    from pytest_taskleak.findings import Place
    from pytest_taskleak.leak import Leak

_CONTEXT = 3
"""Lines of source shown above the line to change: pytest would show its whole function."""


def grafted(leaks: Sequence[Leak], message: str = "") -> TaskLeakError:
    """An error whose traceback ends at the line that made the first leaked task.

    pytest, annotations and editors show the line where an error was raised. The line to change is another one; a
    function compiled with its file name and line number raises the error there (the technique is jinja2's, which
    lets template errors point into the template).
    """
    error = TaskLeakError(message or headline(leaks))
    error.leaks = tuple(leaks)
    place = leaks[0].line_to_change
    if place is None or any(len(line) > LONGEST_LINE for line in _shown(place)):
        return error  # pytest would show megabytes that a program wrote
    code, name = _raiser(place)
    try:
        exec(code, {name: error, "__name__": place.function})  # noqa: S102 - the code is `raise error`
    except TaskLeakError as raised:
        trace = raised.__traceback__
        return raised.with_traceback(trace.tb_next if trace is not None else None)
    raise AssertionError("a compiled `raise` did not raise")  # pragma: no cover


def _shown(place: Place) -> list[str]:
    """The lines of source that pytest will show."""
    return [linecache.getline(place.path, line) for line in range(max(1, place.line - _CONTEXT), place.line + 1)]


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
