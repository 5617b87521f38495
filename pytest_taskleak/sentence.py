"""Verdicts into the reports of those to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_taskleak import outcome
from pytest_taskleak.letter import Letter, by_mode, carry
from pytest_taskleak.verdicts import accepted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pytest

    from pytest_taskleak.attempt import Attempt
    from pytest_taskleak.leak import Leak
    from pytest_taskleak.model import Owner
    from pytest_taskleak.settings import Options, Settings, Show
    from pytest_taskleak.verdicts import Verdict


class Sentence:
    """What becomes of leaks: whose report fails, which only tells, and what is told late."""

    def __init__(self, options: Options, marked: Mapping[Owner | None, Settings]) -> None:
        """Make it for a run.

        Args:
            options: What holds for tests without a marker, which causes may stay, and how leaks are shown.
            marked: What holds for owners that have a marker; read when it is needed.
        """
        self._run = options.run
        self._accepted = options.accepted
        self._marked = marked
        self._show = options.show

    def on(self, found: Iterable[tuple[Owner | None, Leak]]) -> list[Verdict]:
        """The verdicts on what was found, by owner; a leak whose cause may stay says why."""
        return accepted(found, self._accepted)

    def mine(self, attempt: Attempt) -> list[Leak]:
        """What a test, or a fixture of its own, left and was not expected to."""
        expects = attempt.settings.expects
        return [
            leak
            for owner, leak in attempt.verdicts
            if owner in attempt.owners and not expects(leak.task, leak.coroutine)
        ]

    def apply(self, item: pytest.Item, attempt: Attempt, teardown: pytest.TestReport) -> None:
        """Put the verdicts of an attempt into its reports; the last of them, the teardown's, is not out yet."""
        mode = attempt.settings.mode
        mine = self.mine(attempt) if mode != "off" else []
        fresh = [leak for leak in mine if not leak.accepted]
        if fresh and mode == "fail":
            self._blame_test(item, attempt, teardown, fresh)
        carry(teardown, Letter(shown=by_mode(item.nodeid, attempt.owner.location, mode, mine)))
        mode = self._run.mode
        wide = [leak for owner, leak in attempt.verdicts if owner in attempt.ended_fixtures] if mode != "off" else []
        fresh = [leak for leak in wide if not leak.accepted]
        if fresh and mode == "fail":
            if teardown.failed:
                outcome.append(teardown, fresh, **self._show_of(attempt))
            else:
                outcome.fail(teardown, item, fresh, **self._show_of(attempt))
        carry(teardown, Letter(shown=by_mode(item.nodeid, attempt.owner.location, mode, wide)))
        known = {*attempt.owners, *attempt.ended_fixtures}
        carry(teardown, self.late(verdict for verdict in attempt.verdicts if verdict.owner not in known))
        attempt.verdicts = ()

    def _blame_test(self, item: pytest.Item, attempt: Attempt, teardown: pytest.TestReport, leaks: list[Leak]) -> None:
        """Show the leaks where they belong: with the failure that is there, else by failing the call."""
        reports = [*(report for when, report in attempt.reports.items() if when != "teardown"), teardown]
        failed = next((report for report in reports if report.failed), None)
        if failed is not None:
            # Work is often left behind because the test failed: no second error.
            outcome.append(failed, leaks, **self._show_of(attempt))
            return
        call = attempt.reports.get("call")
        if call is not None and call.passed and not hasattr(call, "wasxfail") and "call" not in attempt.logged:
            outcome.fail(call, item, leaks, **self._show_of(attempt))
        else:
            # A skip or an expected failure stays what it was, and so does a report that is out already.
            outcome.fail(teardown, item, leaks, **self._show_of(attempt))

    def _show_of(self, attempt: Attempt) -> Show:
        return {**self._show, "counts": attempt.counts}

    def late(self, verdicts: Iterable[Verdict]) -> Letter:
        """Leaks of owners that were over before: each gets a report of its own, nobody else's outcome changes."""
        letter = Letter()
        by_owner: dict[Owner | None, list[Leak]] = {}
        for owner, leak in verdicts:
            settings = self._marked.get(owner, self._run)
            if settings.mode != "off" and not settings.expects(leak.task, leak.coroutine):
                by_owner.setdefault(owner, []).append(leak)
        for owner, leaks in by_owner.items():
            mode = self._marked.get(owner, self._run).mode
            if owner is None:
                letter.shown += by_mode("", ("", None, ""), mode, leaks)
            else:
                letter.late += by_mode(owner.nodeid, owner.location, mode, leaks)
        return letter
