"""What a test leaves with fixtures of wider scope: theirs from then on, unless it piles up there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_taskleak import explain, judge
from pytest_taskleak.judge import Suspect

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping

    from pytest_taskleak.model import Origin, Owner

__all__ = ["Stays"]

_PILE = 2
"""Tests that each leave a task of their own with the same fixture before that is a pile."""

_PILE_OF_FIXTURE = 3
"""The same for tasks that the fixture itself started, such as a server's handlers.

How many those are depends on the connections that others keep open, so two may be chance."""


class Stays:
    """Finds which tasks stay with fixtures that are still set up."""

    def __init__(
        self,
        fixtures: Mapping[object, judge.LiveFixture],
        adoptions: judge.Adoptions,
        origin: Callable[[asyncio.Task[Any]], Origin | None],
    ) -> None:
        """Look among some fixtures.

        Args:
            fixtures: Those that are set up, as they will be.
            adoptions: Counts what tests have left with each.
            origin: Says where a task of this run comes from.
        """
        self._fixtures = fixtures
        self._adoptions = adoptions
        self._origin = origin

    def note_closers(self, suspects: list[Suspect]) -> None:
        """A wider fixture that keeps a swept task and has an end of its own may yet stop it: undecidable."""
        wider = [it for it in self._fixtures.values() if it.owner.scope != "function" and it.can_clean_up()]
        held = judge.holders((suspect.task for suspect in suspects), wider)
        for suspect in suspects:
            fixture = held.get(id(suspect.task))
            if fixture is not None and fixture.owner is not suspect.owner:
                suspect.adopter = fixture.owner

    def sorted_out(self, suspects: list[Suspect], test: Owner | None) -> tuple[list[Suspect], list[Suspect]]:
        """Take out what a live fixture keeps: its owner is the fixture from now on, unless it piles up there.

        Args:
            suspects: Tasks whose owners have ended.
            test: The test that has just ended, to count what stays; None where there is none.

        Returns:
            What no fixture keeps, and what piles up with one.
        """
        wider = [it for it in self._fixtures.values() if not it.owner.ended]
        held = judge.holders((suspect.task for suspect in suspects), wider)
        left: list[Suspect] = []
        piled: list[Suspect] = []
        for suspect in suspects:
            fixture = held.get(id(suspect.task))
            if fixture is None or suspect.origin is None:
                left.append(suspect)
                continue
            tests = self._tests_that_left(fixture.owner, test, suspect.task, suspect.origin) if test is not None else []
            if len(tests) < _PILE:
                suspect.origin.owner = fixture.owner
            else:
                suspect.piled_up, suspect.piled_with = tuple(tests), fixture.owner
                piled.append(suspect)
        return left, piled

    def piles(self, tasks: list[asyncio.Task[Any]], test: Owner) -> Iterator[Suspect]:
        """Yield what live fixtures started themselves while `test` ran, where that piles up."""
        spoken: Mapping[asyncio.Task[Any], judge.Rule] | None = None
        for task in tasks:
            origin = self._origin(task)
            owner = origin.owner if origin is not None else None
            if origin is None or owner is None or owner.kind != "fixture" or owner.ended or origin.counted:
                continue
            origin.counted = True
            during = origin.during
            if origin.settled or during is None or during is owner or during.nodeid != test.nodeid:
                continue  # judged already, or what the fixture starts for itself, or of an earlier test
            spoken = judge.ignored_by(tasks) if spoken is None else spoken
            tests = self._tests_that_left(owner, test, task, origin)
            if task in spoken or len(tests) < _PILE_OF_FIXTURE:
                continue
            suspect = Suspect(task, origin, asked_to_end=judge.cancel_requested(task))
            suspect.owner, suspect.piled_up, suspect.piled_with = test, tuple(tests), owner
            yield suspect

    def _tests_that_left(self, fixture: Owner, test: Owner, task: asyncio.Task[Any], origin: Origin) -> list[str]:
        return self._adoptions.leave(fixture, test.nodeid, task, origin, wakes=explain.wakes_at(task))
