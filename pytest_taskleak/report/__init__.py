"""Leaks into text: strings in, strings out.

Nothing here is needed while nothing leaks, so its modules are imported at the first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_taskleak.report.advice import stale
    from pytest_taskleak.report.document import as_json
    from pytest_taskleak.report.dot import as_dot
    from pytest_taskleak.report.graft import grafted
    from pytest_taskleak.report.markdown import as_markdown
    from pytest_taskleak.report.page import as_html
    from pytest_taskleak.report.text import details, headline, one_line, summary

_WHERE = {
    "as_dot": "dot",
    "as_html": "page",
    "as_json": "document",
    "as_markdown": "markdown",
    "grafted": "graft",
    "details": "text",
    "stale": "advice",
    "headline": "text",
    "one_line": "text",
    "summary": "text",
}

__all__ = [
    "as_dot",
    "as_html",
    "as_json",
    "as_markdown",
    "details",
    "grafted",
    "headline",
    "one_line",
    "stale",
    "summary",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    return found
