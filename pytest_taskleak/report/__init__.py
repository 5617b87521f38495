"""Leaks into text: strings in, strings out."""

from pytest_taskleak.report.graft import grafted
from pytest_taskleak.report.text import details, headline, one_line, summary

__all__ = ["details", "grafted", "headline", "one_line", "summary"]
