"""What all tests left, in the process that writes reports: late findings, the summary, the exit status."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from pytest_taskleak import outcome
from pytest_taskleak import report as texts
from pytest_taskleak.letter import Found, Letter, read

if TYPE_CHECKING:
    from pytest_taskleak.outcome import Show


class Ledger:
    """Collects from the reports of this process, or of its workers."""

    def __init__(self, config: pytest.Config, show: Show) -> None:
        """Make an empty one."""
        self._config = config
        self._show: Show = show
        self._found: dict[tuple[str, str], Found] = {}
        self._defects: dict[str, int] = {}

    def logged(self, report: pytest.TestReport) -> None:
        """A report came; what it took along is entered, once."""
        if report.when == "setup" and self._found:
            # Another attempt at the test: what the one before it left counts no more.
            for key, found in list(self._found.items()):
                if found.nodeid == report.nodeid and found.leaks[0].scope == "function":
                    del self._found[key]
        if report.when == "teardown":
            self.enter(read(report))

    def enter(self, letter: Letter) -> None:
        """Enter what was found, and report by itself what was found late."""
        for found in letter.shown:
            self._found[_key(found)] = found
        for found in letter.late:
            known = self._found.get(_key(found))
            leaks = [*known.leaks, *found.leaks] if known is not None else found.leaks
            self._found[_key(found)] = dataclasses.replace(found, leaks=leaks)
            if found.mode == "fail":
                late = outcome.late_report(found.leaks, found.location, **self._show)
                self._config.hook.pytest_runtest_logreport(report=late)
        for defect in letter.defects:
            self._defects[defect] = self._defects.get(defect, 0) + 1

    def settle_exit(self, session: pytest.Session) -> None:
        """A leak that no report could carry still fails the run."""
        if any(found.mode == "fail" for found in self._found.values()) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def write(self, terminal: pytest.TerminalReporter) -> None:
        """Write the section at the end: nothing where there is nothing to say."""
        if self._found:
            terminal.section("taskleak", sep="=", yellow=True)
            for found in self._found.values():
                if found.mode == "warn" or not found.nodeid:
                    terminal.line(found.nodeid or "of unknown owner (strict)", bold=True)
                    terminal.line(texts.details(found.leaks, **self._show))
                    terminal.line("")
            for line in texts.summary(
                [(found.nodeid, found.leaks) for found in self._found.values()], self._show["root"]
            ):
                terminal.line(line)
        if self._defects:
            terminal.section("taskleak: a defect of the plugin itself", sep="=", red=True)
            terminal.line("No outcome was changed by it. Please report it, with this:")
            for defect, times in self._defects.items():
                terminal.line(f"{defect.rstrip()}\n({times} ×)" if times > 1 else defect.rstrip())


def _key(found: Found) -> tuple[str, str]:
    return found.nodeid, found.leaks[0].owner_kind + found.leaks[0].owner
