"""Rows of figures with the limits they must keep, and how they are printed."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH = 100
_WHAT, _AGAINST, _FIGURE, _LIMIT = 42, 22, 13, 13


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        what: What was measured.
        against: What it is compared with, "" for nothing.
        measured: The figure.
        unit: Its unit, "×" for a ratio.
        limit: What it must reach, None where nothing is asked.
        at_least: Whether it must be at least that; otherwise at most.
        digits: How many of the digits behind the point mean anything.
        aim: What it should reach beyond the limit, None for nothing.
    """

    what: str
    against: str
    measured: float
    unit: str = "×"
    limit: float | None = None
    at_least: bool = False
    digits: int = 2
    aim: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the limit is kept, None where there is none."""
        return None if self.limit is None else self._keeps(self.limit)

    def _keeps(self, limit: float) -> bool:
        return self.measured >= limit if self.at_least else self.measured <= limit

    def line(self) -> str:
        """The row as a line of the table."""
        least = "≥" if self.at_least else "≤"
        limit = "" if self.limit is None else f"{least} {self.limit:,g}"
        word = {True: "reached", False: "MISSED", None: ""}[self.reached]
        if self.aim is not None:
            limit += f"/{self.aim:,.4g}"
            word = "aim met" if self.reached and self._keeps(self.aim) else word
        figure = f"{self.measured:,.{self.digits}f} {self.unit}"
        return f"{self.what:<{_WHAT}}{self.against:<{_AGAINST}}{figure:>{_FIGURE}}  {limit:<{_LIMIT}} {word}".rstrip()


def table(title: str, rows: Iterable[Row]) -> str:
    """An area's table; lines are as long as their words need, `WIDTH` at most for the rows here."""
    head = f"{'':<{_WHAT}}{'compared with':<{_AGAINST}}{'measured':>{_FIGURE}}  limit/aim"
    return "\n".join([f"== {title}", head, *(row.line() for row in rows)])


def surroundings() -> list[str]:
    """Versions and machine, in lines."""
    names = ("pytest-taskleak", "pytest", "pytest-asyncio", "objgraph")
    versions = ", ".join(f"{name} {_version(name)}" for name in names)
    load = ", ".join(f"{it:.1f}" for it in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return [
        f"Python {platform.python_version()} ({platform.python_compiler()}), {versions}",
        f"{_processor()}, {os.cpu_count()} processors, load {load}",
    ]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
