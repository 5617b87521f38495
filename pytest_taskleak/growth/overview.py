"""What all processes have counted, in the one that writes: the table, the plot and the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_taskleak import files
from pytest_taskleak.growth import plot
from pytest_taskleak.report import growing

if TYPE_CHECKING:
    from pytest_taskleak.growth.suite import Series
    from pytest_taskleak.settings import Growing


class Overview:
    """Collects the counts of this process, or of its workers."""

    def __init__(self, growing: Growing) -> None:
        """Make an empty one."""
        self._growing = growing
        self._lines: list[Series] = []
        self._unwritten = ""

    def enter(self, series: Series) -> None:
        """Enter what one process has counted."""
        if series.tests:
            self._lines.append(series)
            self._lines.sort(key=lambda line: (len(line.process), line.process))

    def finish(self, session: pytest.Session) -> None:
        """Write the plot, and fail the run where it grows faster than it may."""
        path = self._growing.plot
        if path is not None:
            try:
                files.write(path, plot.draw(self._lines, "objects more than before the first test"))
            except OSError as error:
                self._unwritten = f"{path} was not written: {error.strerror}"
        if self._beyond() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def write(self, terminal: pytest.TerminalReporter) -> None:
        """Write the table at the end."""
        if not self._lines and not self._unwritten:
            return
        terminal.section("taskleak: objects over the run", sep="=", red=bool(self._beyond()), yellow=True)
        for line in growing.table(
            [(series.process, series.slope, series.counts[-1]) for series in self._lines],
            [step for series in self._lines for step in series.steps],
            [item for series in self._lines for item in series.types.items()],
        ):
            terminal.line(line)
        limit = self._growing.limit
        for series in self._beyond():
            name = f"{series.process}: " if series.process else ""
            terminal.line(f"{name}{series.slope:.1f} objects per test are more than {limit:g}", red=True)
        if self._growing.plot is not None:
            terminal.line(self._unwritten or f"plot: {self._growing.plot}")

    def _beyond(self) -> list[Series]:
        limit = self._growing.limit
        return [line for line in self._lines if limit is not None and line.slope is not None and line.slope > limit]
