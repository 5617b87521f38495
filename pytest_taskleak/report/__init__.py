"""Leaks into text: strings in, strings out.

Nothing here is needed while nothing leaks, so its modules are imported at the first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_taskleak.imports import lazily

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

__getattr__ = lazily(__name__, _WHERE)
