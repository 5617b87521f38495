"""What is known of the tests of a run, for those who judge what they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_taskleak import fixtures
from pytest_taskleak.model import Owner

if TYPE_CHECKING:
    import pytest

    from pytest_taskleak.gate import Gate
    from pytest_taskleak.settings import Options, Settings


class Known:
    """The tests that have begun, and what holds for them.

    Attributes:
        item: The last that began, None where none did.
        marked: What holds for owners whose test has a marker; they may be asked about when it is long over.
    """

    def __init__(self, options: Options, gate: Gate[Any]) -> None:
        """Know nothing yet; `gate` knows whose test is running."""
        self.item: pytest.Item | None = None
        self.marked: dict[Owner | None, Settings] = {}
        self._options = options
        self._gate = gate
        self._again: set[str] = set()  # the tests, by their ids, that were run more than once
        self._told_late: dict[str, Owner] = {}

    def begins(self, item: pytest.Item, owner: Owner, settings: Settings) -> None:
        """An attempt at a test begins."""
        if settings is not self._options.run:
            self.marked[owner] = settings
        if self.item is item:
            self._again.add(item.nodeid)  # who reports it late cannot tell which attempt it was
        self.item = item

    def is_judged(self, owner: Owner) -> bool:
        """Whether what an owner leaves is told at all."""
        return self.marked.get(owner, self._options.run).mode != "off"

    def passing(self) -> list[object]:
        """What is about to go with the test, though it is still in hand: its arguments."""
        return fixtures.passing(self.item) if self.item is not None else []

    def kept(self) -> list[object]:
        """What may be kept for long, though it is over: the instance of a test's class, the frames of a failure."""
        return [*fixtures.shown(), *(fixtures.instance(self.item) if self.item is not None else ())]

    def test_at(self, path: str, line: int) -> Owner | None:
        """The test whose function has that line; None where that is none, or more than one run."""
        tests = fixtures.tests_at(self.item.session.items, path, line) if self.item is not None else []
        if len(tests) != 1 or tests[0].nodeid in self._again:
            return None
        test, running = tests[0], self._gate.test
        if running is not None and running.nodeid == test.nodeid:
            return running
        owner = self._told_late.get(test.nodeid)
        if owner is None:
            owner = self._told_late[test.nodeid] = Owner("test", test.nodeid, test.name, "function", test.location)
            owner.ended = True
            settings = self._options.of(test)
            if settings is not self._options.run:
                self.marked[owner] = settings
        return owner
