"""What all tests left, in the process that writes reports: late findings, the summary, the exit status."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

import pytest

from pytest_taskleak import drawing, values
from pytest_taskleak import report as texts
from pytest_taskleak.letter import Found, Letter, carries, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_taskleak.settings import Show
    from pytest_taskleak.values import Report


class Ledger:
    """Collects from the reports of this process, or of its workers."""

    def __init__(self, config: pytest.Config, show: Show, reports: Sequence[Report], due: Mapping[str, str]) -> None:
        """Make an empty one, for a run that is to be reported in these files, too, and to meet these causes."""
        self._unmet = dict(due)
        self._whole = False
        self._reports = reports
        self._written: list[str] = []
        self._config = config
        self._show: Show = show
        self._found: dict[tuple[str, str, bool], Found] = {}
        self._defects: dict[str, int] = {}

    def logged(self, report: pytest.TestReport) -> None:
        """A report came; what it took along is entered, once."""
        if report.when == "setup" and self._found:
            # Another attempt at the test: what the one before it left counts no more.
            for key, found in list(self._found.items()):
                if found.nodeid == report.nodeid and found.leaks[0].scope == "function":
                    del self._found[key]
        if report.when == "teardown" and carries(report):
            self.enter(read(report))

    def enter(self, letter: Letter) -> None:
        """Enter what was found, and report by itself what was found late."""
        for found in letter.shown:
            self._found[_key(found)] = found
        for found in letter.late:
            known = self._found.get(_key(found))
            leaks = [*known.leaks, *found.leaks] if known is not None else found.leaks
            self._found[_key(found)] = Found(found.nodeid, found.location, found.mode, leaks)
            if found.mode == "fail":
                from pytest_taskleak import outcome  # noqa: PLC0415 - needed only when something leaks

                late = outcome.late_report(found.leaks, found.location, **self._show)
                self._config.hook.pytest_runtest_logreport(report=late)
        for found in (*letter.shown, *letter.late):
            for leak in found.leaks:
                self._unmet.pop(leak.fingerprint if leak.accepted else "", None)
        for defect in letter.defects:
            self._defects[defect] = self._defects.get(defect, 0) + 1

    def settle_exit(self, session: pytest.Session) -> None:
        """A leak that no report could carry still fails the run."""
        over = session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
        self._whole = over and not (session.shouldstop or session.shouldfail or _narrowed(self._config))
        if any(found.mode == "fail" for found in self._found.values()) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def write_reports(self) -> None:
        """Write the files that were asked for, also where nothing leaked; a failure is told, and changes no outcome."""
        found = [(found.nodeid, found.mode, found.leaks) for found in self._found.values()]
        for report in self._reports:
            try:
                text: str = getattr(texts, values.FORMATS[report.format])(found, str(self._config.rootpath))
                drawn = report.format in drawing.FORMATS
                content = drawing.draw(text, report.format) if drawn else _after_others(report.path) + text
                from pytest_taskleak import files  # noqa: PLC0415 - needed only where a report is asked for

                files.write(report.path, content)
            except OSError as error:
                self._written.append(f"taskleak report: {report.path} was not written: {error.strerror}")
            except Exception as error:  # noqa: BLE001 - the others, and the outcome, do not depend on it
                self._written.append(f"taskleak report: {report.path} was not written")
                self._defects["".join(traceback.format_exception(error))] = 1
            else:
                self._written.append(f"taskleak report: {report.path}")

    def write(self, terminal: pytest.TerminalReporter) -> None:
        """Write the section at the end: nothing where there is nothing to say."""
        for line in self._written:
            terminal.write_sep("-", line)
        stale = texts.stale(self._unmet) if self._unmet and self._whole else []
        if self._found or stale:
            terminal.section("taskleak", sep="=", yellow=True)
            for found in self._found.values():
                shown = self._show["verbosity"] > 0 if found.mode == "accepted" else found.mode == "warn"
                if shown or (not found.nodeid and found.mode != "accepted"):
                    terminal.line(found.nodeid or "of unknown owner (strict)", bold=True)
                    terminal.line(texts.details(found.leaks, **self._show))
                    terminal.line("")
            per_test = [(found.nodeid, found.leaks) for found in self._found.values()]
            for line in [*(texts.summary(per_test, self._show["root"]) if per_test else []), *stale]:
                terminal.line(line)
        if self._defects:
            terminal.section("taskleak: a defect of the plugin itself", sep="=", red=True)
            terminal.line("No outcome was changed by it. Please report it, with this:")
            for defect, times in self._defects.items():
                terminal.line(f"{defect.rstrip()}\n({times} ×)" if times > 1 else defect.rstrip())


def _after_others(path: Path) -> str:
    """What other tools have written to the summary of the CI job's step, which is everybody's."""
    if str(path) != os.environ.get("GITHUB_STEP_SUMMARY"):
        return ""
    try:
        before = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    return before if before.endswith("\n") or not before else f"{before}\n"


def _key(found: Found) -> tuple[str, str, bool]:
    return found.nodeid, found.leaks[0].owner_kind + found.leaks[0].owner, found.mode == "accepted"


_NARROW = ("-k", "-m", "--lf", "--last-failed", "--sw", "--stepwise", "--deselect", "--ignore", "--taskleak-kinds")


def _narrowed(config: pytest.Config) -> bool:
    """Whether the command line, or the folder, chooses among the tests, so that what was not met tells nothing."""
    args = [str(arg) for arg in config.invocation_params.args]
    chosen = any(arg.startswith(_NARROW) or "::" in arg or arg.endswith(".py") for arg in args)
    elsewhere = config.invocation_params.dir != config.rootpath
    return chosen or elsewhere or bool(config.getoption("collectonly", default=False))
