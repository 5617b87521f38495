"""What is left besides tasks: looked at when a loop closes and when a test is over, judged when the teardown is."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_taskleak import explain, judge
from pytest_taskleak.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from pytest_taskleak.leak import Leak
    from pytest_taskleak.model import Kind, Owner
    from pytest_taskleak.places import Places
    from pytest_taskleak.watch import Made, Things

_PILE = 3
"""Tests that each leave futures with the same fixture before that is a pile: pools of connections grow to their size,
and each connection brings a future of its own."""


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Candidate:
    """Something that is left, between the look and the verdict; kept for the time of one teardown.

    Attributes:
        kind: What it is.
        thing: The thing.
        made: How it was made.
        owner: On whose behalf.
        words: What was found out while it was as it was found.
        settled: What its loop did to it.
        closer: The live fixture that holds it and has an end of its own.
        undecided: Whether its owner may have ended it, had the loop not done so first.
        piled_up: The tests that each left such with the same fixture; empty where it is no pile.
    """

    kind: Kind
    thing: Any
    made: Made
    owner: Owner
    words: Any
    settled: str
    closer: Owner | None = None
    undecided: bool = False
    piled_up: Sequence[str] = ()


class Leftovers:
    """Judges what the recorder of things knows.

    Guarantees: judged once; nothing of the user's is kept after the verdict; without things nothing is looked at.

    Attributes:
        passing: What is about to go, though it is still in hand: the test's arguments.
        kept: What may be kept for long, though it is over: the instance of a test's class, the frames of a failure.
        found: What was found and awaits its verdict.
        owner_of: Gives the owner of a task; None where tasks are not judged.
        grace: Seconds that a loop is given to end what is about to end.
        strict: Whether what a library makes for itself is looked at, too.
    """

    def __init__(
        self, things: Things, places: Places, fixtures: dict[object, judge.LiveFixture], adoptions: judge.Adoptions
    ) -> None:
        """Make a judge of what `things` records."""
        self._things = things
        self._places = places
        self._fixtures = fixtures
        self._adoptions = adoptions
        self.found: list[Candidate] = []
        self.strict = False
        self.grace = 0.0
        self.owner_of: Callable[[asyncio.Task[Any]], Owner | None] | None = None
        self.passing: Callable[[], list[object]] = list
        self.kept: Callable[[], list[object]] = list

    def __bool__(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self._things)

    def closing(
        self, loop: asyncio.AbstractEventLoop, *, by_runner: bool, in_teardown: bool
    ) -> Callable[[], None] | None:
        """Look at a loop that is about to close: what is scheduled or suspended in it will never go on.

        Args:
            loop: The loop; its tasks have had their grace.
            by_runner: Whether a Runner closes it; who closes a loop by hand may still have its objects in hand.
            in_teardown: Whether the test's own frames are gone.

        Returns:
            What to call when it is closed; None where nothing was found.
        """
        all_found: list[Candidate] = []
        for kind, rule in judge.THINGS.items():
            register = self._things.registers.get(kind)
            if register is None or not register.entries:
                continue
            if not rule.looked_at(by_runner=by_runner, in_teardown=in_teardown):
                continue
            mine = [(thing, made) for thing, made in register.alive() if _home(thing, made) == id(loop)]
            found = self._found(kind, mine, loop, "its loop was closed over it", _may_end_it)
            for candidate in found:
                fixture = self._holder(candidate, _may_end_it)
                candidate.closer = fixture.owner if fixture is not None else None
            all_found += found
        self.found += all_found
        return functools.partial(self._closed, all_found) if all_found else None

    def _closed(self, found: list[Candidate]) -> None:
        """A loop is closed. Where that ended what was left in it (uvloop's does), nobody can tell who would have."""
        for candidate in found:
            if judge.ends_with_its_loop(candidate.thing) and judge.THINGS[candidate.kind].over(candidate.thing):
                candidate.thing = None
                candidate.undecided = candidate.closer is not None

    def promised(self, loop: asyncio.AbstractEventLoop, works_on: Sequence[list[object]]) -> list[tuple[str, ...]]:
        """The pending futures that the objects a leaked task works on hold, by who made them, in words.

        Args:
            loop: The loop of the tasks.
            works_on: The objects of each task.
        """
        register = self._things.registers.get("future")
        if register is None or not register.entries:
            return [()] * len(works_on)
        left = judge.THINGS["future"].left
        pending = {
            made.key: made
            for future, made in register.alive()
            if _home(future, made) == id(loop) and left(future, 0.0) and self._is_own(made)
        }
        made_in = (
            Counter(pending[key].calls[0][0].co_qualname for key in judge.reached(things, pending.keys()))
            for things in works_on
        )
        return [
            tuple(
                f"{count} future{'s' if count > 1 else ''} made in {maker}, which nobody will settle"
                for maker, count in makers.items()
            )
            for makers in made_in
        ]

    def look(self, loops: Iterable[asyncio.AbstractEventLoop], *, of: Owner | None = None) -> None:
        """Look at what goes on in open loops though its owner has ended.

        Args:
            loops: Those that are open.
            of: Whose things alone are looked at; None for those of everyone who has ended.
        """
        open_loops = {id(loop): loop for loop in loops}
        for kind, rule in judge.THINGS.items():
            ended = [] if rule.survives else self._ended(kind, of)
            if not ended:
                continue
            for key, loop in open_loops.items():
                mine = [(thing, made) for thing, made in ended if _home(thing, made) == key]
                found = self._found(kind, mine, loop, "its loop goes on", lambda it: not it.owner.ended)
                self.found += self._not_adopted(kind, found)

    def look_for_survivors(self, test: Owner | None, *, of: Owner | None = None) -> None:
        """Look at what should have died with its owner; call it when nothing else of this plugin's holds any of it.

        Args:
            test: The test that has ended, to count what stays with fixtures; None where there is none.
            of: As for `look`.
        """
        for kind, rule in judge.THINGS.items():
            if rule.survives:
                self._survivors(kind, self._ended(kind, of), test)

    def _ended(self, kind: Kind, of: Owner | None) -> list[tuple[Any, Made]]:
        register = self._things.registers.get(kind)
        if register is None or not register.entries:
            return []
        return [
            (thing, made)
            for thing, made in register.alive()
            if made.owner is not None and made.owner.ended and (of is None or made.owner is of)
        ]

    def look_before_wider_fixtures_end(self, test: Owner) -> None:
        """Look at what a test leaves with wider fixtures, which may be about to clean up a pile at their end."""
        for kind, rule in judge.THINGS.items():
            register = self._things.registers.get(kind)
            if register is None or not register.entries or not rule.survives:
                continue
            suspects = {
                made.key: made
                for thing, made in register.alive()
                if made.owner is not None
                and made.owner.of_test
                and made.owner.nodeid == test.nodeid
                and self._is_own(made)
                and rule.left(thing, 0.0)
            }
            if suspects:
                self._take_adopted(kind, suspects, test)

    def _found(
        self,
        kind: Kind,
        things: list[tuple[Any, Made]],
        loop: asyncio.AbstractEventLoop,
        settled: str,
        keeps: Callable[[judge.LiveFixture], bool],
    ) -> list[Candidate]:
        """Those that go on, in words; each is found once."""
        rule = judge.THINGS[kind]
        now = loop.time()
        if rule.graced:
            things = self._graced(kind, things, loop, keeps)
        if rule.dies and things and not self.strict:
            ids = {id(thing) for thing, _ in things}
            kept = judge.reached(self.kept(), ids)
            self._things.registers[kind].settle(kept)
            over = {*kept, *judge.reached(self.passing(), ids)}
            things = [(thing, made) for thing, made in things if id(thing) not in over]
        left = [
            (thing, made, made.owner)
            for thing, made in things
            if made.owner is not None and not made.owner.interrupted and rule.left(thing, now)
        ]
        self._things.registers[kind].settle({made.key for _, made, _ in left})
        return [
            Candidate(kind, thing, made, owner, self._sketch(kind, thing, made, now), settled)
            for thing, made, owner in left
            if self._is_own(made)
        ]

    def _graced(
        self,
        kind: Kind,
        things: list[tuple[Any, Made]],
        loop: asyncio.AbstractEventLoop,
        keeps: Callable[[judge.LiveFixture], bool],
    ) -> list[tuple[Any, Made]]:
        """Give what would be a leak the time of its loop; what a task works with, or a fixture keeps, needs none."""
        left = judge.THINGS[kind].left
        suspects = {
            made.key: thing
            for thing, made in things
            if made.owner is not None and not made.owner.interrupted and left(thing, 0.0) and self._is_own(made)
        }
        if not suspects:
            return things
        served = self._served(kind, suspects.keys(), loop)
        held = judge.holders(suspects.values(), (it for it in self._fixtures.values() if keeps(it)))
        waited = [thing for key, thing in suspects.items() if key not in served and key not in held]
        if waited:
            judge.turn_until(loop, lambda: not any(left(thing, 0.0) for thing in waited), self.grace)
        return [(thing, made) for thing, made in things if made.key not in served]

    def _served(self, kind: Kind, keys: Collection[int], loop: asyncio.AbstractEventLoop) -> Collection[int]:
        """Those that a pending task works with: the task is judged, and they are its owner's from now on."""
        served: dict[int, Owner | None] = {}
        tasks = judge.pending_tasks(loop) if self.owner_of is not None else []
        spoken = judge.ignored_by(tasks)
        now = asyncio.current_task(loop)  # of a block: it asks, and has everything in hand
        for task in tasks:
            wanted = [key for key in keys if key not in served]
            if not wanted or task is now or task in spoken or self.owner_of is None:
                continue
            in_hand = explain.in_hand(task)
            # A connection leads to its server as well, but its handler is not who runs that.
            far = judge.reached(in_hand, wanted) if kind != "server" else {id(it) for it in in_hand} & set(wanted)
            served |= dict.fromkeys(far, self.owner_of(task))
        register = self._things.registers[kind]
        owners = {key: owner for key, owner in served.items() if owner is not None and not owner.ended}
        register.give(owners)
        register.settle(served.keys() - owners.keys())
        return served.keys()

    def _is_own(self, made: Made) -> bool:
        """Whether the project's own code had a hand in it: what a library makes for itself is its affair."""
        return self.strict or any(self._places.own(code.co_filename) for code, _ in made.calls)

    def _sketch(self, kind: Kind, thing: Any, made: Made, now: float) -> explain.Sketch:
        return explain.sketch(kind, thing, made.calls, now, self._places, made.note)

    def _holder(self, candidate: Candidate, wanted: Callable[[judge.LiveFixture], bool]) -> judge.LiveFixture | None:
        """The fixture that holds a candidate, or the object that it works for."""
        fixtures = [it for it in self._fixtures.values() if it.owner is not candidate.owner and wanted(it)]
        held = judge.holders(judge.known_by(candidate.kind, candidate.thing), fixtures)
        return next(iter(held.values()), None)

    def _not_adopted(self, kind: Kind, found: list[Candidate]) -> list[Candidate]:
        """Those that no live fixture keeps; the others are the fixture's from now on."""
        left: list[Candidate] = []
        owners: dict[int, Owner] = {}
        for candidate in found:
            fixture = self._holder(candidate, lambda it: not it.owner.ended)
            if fixture is None:
                left.append(candidate)
            else:
                owners[candidate.made.key] = fixture.owner
        self._things.registers[kind].give(owners)
        return left

    # -- futures: a leak is what survives its test

    def _survivors(self, kind: Kind, ended: list[tuple[Any, Made]], test: Owner | None) -> None:
        """Look at pending futures whose owner has ended; most are signals of objects that are about to go with it."""
        if not ended:
            return
        left = judge.THINGS[kind].left
        suspects = {made.key: made for future, made in ended if left(future, 0.0)}
        ended.clear()
        idle = {key for key, made in suspects.items() if not self._is_own(made) or _interrupted(made)}
        self._things.registers[kind].settle(idle)
        for key in idle:
            del suspects[key]
        if not suspects:
            return
        self._take_adopted(kind, suspects, test)
        if not self.strict:
            kept = judge.reached(self.kept(), suspects.keys())
            self._things.registers[kind].settle(kept)  # no later test is to find it
            for key in {*kept, *judge.reached(self.passing(), suspects.keys())}:
                del suspects[key]
        for generation in range(3):
            # The youngest first: a whole collection is dear, and needed only for what is a leak in all likelihood.
            suspects = {key: made for key, made in suspects.items() if made.ref() is not None}
            if not suspects:
                return
            gc.collect(generation)
        self._things.registers[kind].settle(suspects.keys())
        self.found += self._told(kind, [made for made in suspects.values() if made.ref() is not None])

    def _take_adopted(self, kind: Kind, suspects: dict[int, Made], test: Owner | None) -> None:
        """Take out what a live fixture keeps: it is the fixture's from now on, unless it piles up there."""
        wider = [it for it in self._fixtures.values() if not it.owner.ended]
        held = judge.holders([made.ref() for made in suspects.values()], wider)
        piled: dict[Owner, list[Made]] = {}
        names: dict[Owner, list[str]] = {}
        owners: dict[int, Owner] = {}
        for key, fixture in held.items():
            made = suspects.pop(key)
            future = made.ref()
            if test is not None and future is not None:
                tests = self._adoptions.leave_future(fixture.owner, test.nodeid, future, kind, made.calls)
                if len(tests) >= _PILE:
                    piled.setdefault(fixture.owner, []).append(made)
                    names[fixture.owner] = tests
                    continue
            owners[key] = fixture.owner
        self._things.registers[kind].give(owners)
        for fixture_owner, pile in piled.items():
            self._things.registers[kind].settle({made.key for made in pile})
            self.found += self._told(kind, pile, names[fixture_owner])

    def _told(self, kind: Kind, left: list[Made], piled_up: Sequence[str] = ()) -> list[Candidate]:
        """Put futures into words: one of each site, since the others differ in nothing."""
        words: dict[tuple[Owner, object], explain.Sketch] = {}
        told: list[Candidate] = []
        for made in left:
            future = made.ref()
            if future is None or made.owner is None:
                continue
            site = made.owner, made.calls
            if site not in words:
                words[site] = self._sketch(kind, future, made, 0.0)
            settled = "still pending after its owner ended"
            told.append(Candidate(kind, None, made, made.owner, words[site], settled, piled_up=piled_up))
        return told

    def homes(self) -> set[int]:
        """The ids of the loops in which something was found that awaits its verdict."""
        return {_home(it.thing, it.made) for it in self.found if it.thing is not None}

    # -- the verdict

    def verdicts(self) -> list[Verdict]:
        """Judge what was found, once and for all, and let go of it."""
        candidates, self.found = self.found, []
        return [Verdict(candidate.owner, leak) for candidate in candidates if (leak := self._verdict(candidate))]

    def _verdict(self, candidate: Candidate) -> Leak | None:
        ended = candidate.thing is not None and judge.THINGS[candidate.kind].over(candidate.thing)
        may_end = candidate.undecided or (candidate.closer is not None and not candidate.closer.ended)
        if (ended or may_end) and not self.strict:
            return None
        return explain.describe_thing(
            candidate.kind,
            candidate.words,
            candidate.owner,
            phase=candidate.made.phase,
            calls=candidate.made.calls,
            settled=candidate.settled,
            piled_up=candidate.piled_up,
            places=self._places,
        )


def _home(thing: Any, made: Made) -> int:
    """The id of a thing's loop."""
    return made.home or id(thing.get_loop())


def _may_end_it(fixture: judge.LiveFixture) -> bool:
    return not fixture.owner.ended and fixture.can_clean_up()


def _interrupted(made: Made) -> bool:
    return made.owner is None or made.owner.interrupted
