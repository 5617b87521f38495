"""Ties judging and explaining together, for whoever says when an owner has ended and something goes on."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from pytest_taskleak import explain, judge
from pytest_taskleak.findings import NOT_EXAMINED
from pytest_taskleak.judge import Suspect
from pytest_taskleak.leftovers import Leftovers
from pytest_taskleak.lost import Lost
from pytest_taskleak.stays import Stays
from pytest_taskleak.sweep import Sweep, in_turn
from pytest_taskleak.verdicts import Verdict, folded, outlooks
from pytest_taskleak.workplaces import Workplaces

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from pytest_taskleak.findings import Unawaited
    from pytest_taskleak.gate import Gate
    from pytest_taskleak.leak import Leak
    from pytest_taskleak.model import Origin, Owner
    from pytest_taskleak.places import Places


class Detector:
    """Finds the tasks that outlive their owners; made when there is first something to look at.

    Guarantees: a task is judged once; a verdict keeps nothing of the user's alive; a defect of the detector's own
    is told and changes nothing else.

    Attributes:
        adoptions: What stays with fixtures.
        stays: Finds what does, among tasks.
        fixtures: The fixtures that are set up, by any key.
        grace: Seconds that suspects are given to end.
        strict: Whether what cannot be decided is a leak.
        leftovers: Judges what is left besides tasks.
        workplaces: Judges threads, executors and loops.
        lost: Judges errors that nobody heard, and coroutines that nobody awaited.
        suspects: The tasks that await their verdict.
        graphs: Whether await graphs are told, with local variables.
        search: Seconds that the search for who could wake what is pending may take, 0 for no search.
    """

    def __init__(self, gate: Gate[Any], places: Places, announce: Callable[[list[Leak]], None]) -> None:
        """Make a detector.

        Args:
            gate: What has been watched so far, and by what it is judged.
            places: Whose code a line is.
            announce: Told in words when a sweep hangs on a task that swallows cancellation.
        """
        self.watcher = gate.watcher
        self.fixtures = gate.fixtures
        self.failed = gate.failed
        self.adoptions = judge.Adoptions()
        self.stays = Stays(self.fixtures, self.adoptions, self._origin)
        self.lost = Lost(self.watcher, places)
        self.leftovers = Leftovers(self.watcher.things, places, self.fixtures, self.adoptions)
        self.workplaces = Workplaces(self.watcher, places, self.fixtures, self.leftovers)
        self.leftovers.owner_of = self._owner if "tasks" in gate.kinds else None
        self.judge_by(gate.grace, strict=gate.strict)
        self.search = 0.0
        self.graphs = False
        self.suspects: list[Suspect] = []
        self._gate = gate
        self._announce = announce
        self._places = places
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        """Whether anything was found or heard of, and is not told yet."""
        return bool(self.suspects or self.leftovers.found or self.workplaces.found or self.lost.heard)

    def judge_by(self, grace: float, *, strict: bool) -> None:
        """Give suspects `grace` seconds from now on, and report what cannot be decided where that is asked for."""
        self.grace = self.leftovers.grace = grace
        self.strict = self.leftovers.strict = self.lost.strict = strict

    # -- what the recorder tells, in any thread

    def closing(
        self, loop: asyncio.AbstractEventLoop, tasks: list[asyncio.Task[Any]], *, by_runner: bool
    ) -> Callable[[], None] | None:
        """Look at a loop that is about to be swept or closed: whatever is left there outlives its loop.

        Args:
            loop: The loop.
            tasks: Those of its tasks that are pending.
            by_runner: Whether a Runner closes it.

        Returns:
            What to call when it is closed, if anything.
        """
        if isinstance(sys.exc_info()[1], (KeyboardInterrupt, SystemExit)):
            self._let_go(tasks)  # the run was cut short: what is alive is so by design
            return None
        swept = self._before_sweep(loop, tasks) if tasks else None
        if not self.leftovers:
            return swept
        closed = self.leftovers.closing(loop, by_runner=by_runner, in_teardown=self.watcher.phase == "teardown")
        return in_turn(swept, closed) if swept and closed else swept or closed

    def _before_sweep(
        self, loop: asyncio.AbstractEventLoop, tasks: list[asyncio.Task[Any]]
    ) -> Callable[[], None] | None:
        suspects = self._judged(loop, self._suspects_among(tasks, everyone=True), last=True)
        if not suspects:
            return None
        self.workplaces.told(loop)
        promised = self.leftovers.promised(loop, [suspect.works_on for suspect in suspects])
        for suspect, promises in zip(suspects, promised, strict=True):
            suspect.swept, suspect.promises = True, promises
        self.stays.note_closers(suspects)
        with self._lock:
            self.suspects += suspects
        return Sweep(self._hangs, loop, suspects).end

    def complained(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Hear what a loop's exception handler is about to hear."""
        if self.lost.complained(loop, context):
            self.workplaces.told(loop)

    def unawaited(self, found: Unawaited) -> bool:
        """Hear of a coroutine that was freed and never awaited."""
        return self.lost.unawaited(found)

    def forget(self, fixture: Owner) -> None:
        """A fixture has ended: nothing stays with it any more."""
        self.adoptions.forget(fixture)

    # -- what whoever runs the tests asks for

    def look_at_open_loops(self, test: Owner | None) -> None:
        """Look at the loops that stay open, for work whose owner has ended.

        Args:
            test: The test that has just ended, to count what stays with fixtures; None where there is none.
        """
        if self.leftovers:
            self.leftovers.look([loop for it in self.watcher.loops() if (loop := it.loop) is not None])
        for record in self.watcher.loops():
            loop = record.loop
            if loop is None:
                continue
            tasks = judge.pending_tasks(loop)
            if tasks and test is not None and test.interrupted:
                self._let_go(task for task in tasks if self._owner(task) is test)
                continue
            suspects = self._suspects_among(tasks, everyone=False)
            if suspects:
                left, piled = self.stays.sorted_out(suspects, test)
                self._judge_each(loop, piled)
                self.suspects += self._judged(loop, left)
            if test is not None:
                self._judge_each(loop, self.stays.piles(tasks, test))
            self.workplaces.tell_running(record, self.grace, idle=not tasks)
        try:
            if self.workplaces:
                self.workplaces.look(self.grace)
        except Exception as error:  # noqa: BLE001 - tasks are told whatever befalls the others
            self.failed(error)

    def look_before_wider_fixtures_end(self, test: Owner) -> None:
        """Look at what the test leaves with wider fixtures, which may be about to clean up a pile at their end.

        Args:
            test: The test; the fixtures made for it alone have ended.
        """
        if self.leftovers and not test.interrupted:
            self.leftovers.look_before_wider_fixtures_end(test)
        for record in self.watcher.loops():
            loop = record.loop
            tasks = judge.pending_tasks(loop) if loop is not None else []
            if loop is None or not tasks or test.interrupted:
                continue
            ended, test.ended = test.ended, True
            suspects = self._suspects_among(tasks, everyone=False)
            test.ended = ended
            if suspects:
                self._judge_each(loop, self.stays.sorted_out(suspects, test)[1])
            self._judge_each(loop, self.stays.piles(tasks, test))

    def counts(self) -> dict[str, int]:
        """How much goes on just now, by the names of `model.COUNTED`; what asyncio makes for itself is not counted."""
        loops = (loop for record in self.watcher.loops() if (loop := record.loop) is not None)
        return {
            "tasks": sum(len(judge.pending_tasks(loop)) for loop in loops),
            **self.watcher.things.counts(),
            **self.watcher.workers.counts(),
        }

    def verdicts(self, test: Owner | None) -> list[Verdict]:
        """Judge every suspect, once and for all, and let go of it.

        Args:
            test: The test that has just ended; None where there is none.
        """
        verdicts = self._of_tasks()
        try:
            if self.leftovers:
                # A timer that was found holds its object, and its futures: let go of it before they are looked at.
                verdicts += self.leftovers.verdicts()
                self.leftovers.look_for_survivors(test)
            verdicts += self.leftovers.verdicts() + self.workplaces.verdicts()
        except Exception as error:  # noqa: BLE001 - what cannot be told must not take the tasks along
            self.failed(error)
        for owner, _ in verdicts:
            if owner is not None:
                owner.blamed = True
        return [verdict for verdict in verdicts if verdict.leak.chosen_by in self._gate.kinds]

    def _of_tasks(self) -> list[Verdict]:
        with self._lock:
            suspects, self.suspects = self.suspects, []
        leaks: list[tuple[Suspect, Verdict]] = []
        for suspect in suspects:
            try:
                if leak := self._verdict(suspect):
                    leaks.append((suspect, Verdict(suspect.owner, leak)))
            except Exception as error:  # noqa: BLE001 - one that cannot be told must not take the others along
                self.failed(error)
        return self.lost.verdicts() + folded(leaks)

    def _verdict(self, suspect: Suspect) -> Leak | None:
        suspect.close()
        if suspect.lost:
            error, origin = judge.lost_exception(suspect.task), suspect.origin
            if error is None or origin is None:
                return None  # its owner retrieved it after all
            suspect.task.exception()  # told here, so that asyncio need not log it
            return explain.describe_lost(suspect.task, origin, error, self._places)
        if (suspect.stop_tried or suspect.adopter is not None) and not self.strict:
            return None
        return self._describe(suspect)

    def cancel_pending(self, grace: float) -> None:
        """Cancel what was judged and is still pending in open loops, and let it end."""
        for record in self.watcher.loops():
            loop = record.loop
            if loop is None:
                continue
            tasks = [task for task in judge.pending_tasks(loop) if (origin := self._origin(task)) and origin.settled]
            for task in tasks:
                loop.call_soon_threadsafe(task.cancel)
            if tasks:
                judge.settle(loop, tasks, grace)

    # -- the steps

    def _origin(self, task: asyncio.Task[Any]) -> Origin | None:
        origin = self.watcher.origin(task)
        return origin if origin is not None and origin.run is self.watcher else None

    def _owner(self, task: asyncio.Task[Any]) -> Owner | None:
        origin = self._origin(task)
        return origin.owner if origin is not None else None

    def _let_go(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        for task in tasks:
            origin = self._origin(task)
            if origin is not None:
                origin.settled = True

    def _suspects_among(self, tasks: list[asyncio.Task[Any]], *, everyone: bool) -> list[Suspect]:
        """Those that no rule speaks for, that were not judged yet, and whose owner, or loop, has ended."""
        if not tasks:
            return []
        # Where the recording failed, tasks that it missed must not be laid at a test's door.
        mine = everyone and not self._gate.has_failed and self._began_in_test(tasks[0].get_loop())
        # Sets have no order; what is made past the recorder has no number, and comes last.
        tasks.sort(key=lambda task: origin.serial if (origin := self._origin(task)) else sys.maxsize)
        spoken = judge.ignored_by(tasks)
        suspects: list[Suspect] = []
        for task in tasks:
            origin = self._origin(task)
            if task in spoken or (origin is None and self.watcher.recorded_elsewhere(task)):
                continue
            owner = origin.owner if origin is not None else None
            if origin is not None and (origin.settled or (origin.late and owner is not None and owner.blamed)):
                continue
            if owner is None and origin is None and mine:
                owner = self._gate.test  # made past `create_task`, in a loop that this test alone used
            if owner is None and not self.strict:
                continue
            if owner is not None and (owner.interrupted or not (everyone or owner.ended)):
                continue
            suspect = Suspect(task, origin, asked_to_end=judge.cancel_requested(task))
            suspect.owner = owner
            suspects.append(suspect)
        return suspects

    def _began_in_test(self, loop: asyncio.AbstractEventLoop) -> bool:
        test, began_in = self._gate.test, self.watcher.began_in(loop)
        return test is not None and began_in is not None and began_in.nodeid == test.nodeid

    def _judged(self, loop: asyncio.AbstractEventLoop, suspects: list[Suspect], *, last: bool = False) -> list[Suspect]:
        """Give suspects their grace; who is still pending is put into words while it still waits.

        Args:
            loop: Theirs.
            suspects: Who gets the grace.
            last: Whether the loop is about to end, so that an exception that nobody has retrieved is soon lost.
        """
        if not suspects:
            return []
        judge.settle(loop, [suspect.task for suspect in suspects], self.grace)
        left: list[Suspect] = []
        told = outlooks(
            (suspect.task for suspect in suspects), self.search, self.failed, origin=self._origin, own=self._places.own
        )
        for suspect in suspects:
            if suspect.task.done():
                suspect.lost = last and self._loses(loop, suspect)
                if not suspect.lost and not (self.strict and suspect.asked_to_end and suspect.task.cancelled()):
                    continue
                suspect.ended_in_grace = True
            if suspect.origin is not None:
                suspect.origin.settled = True
            try:
                outlook = told.get(id(suspect.task), NOT_EXAMINED)
                words = explain.portrait(suspect.task, self._places, outlook, graph=self.graphs)
                suspect.words, suspect.works_on = words
            except Exception as error:  # noqa: BLE001 - one that cannot be told must not take the others along
                self.failed(error)
            else:
                left.append(suspect)
        return left

    def _judge_each(self, loop: asyncio.AbstractEventLoop, piled: Iterable[Suspect]) -> None:
        """Judge one after the other what piles up: each has a grace of its own."""
        for suspect in piled:
            self.suspects += self._judged(loop, [suspect])

    def _loses(self, loop: asyncio.AbstractEventLoop, suspect: Suspect) -> bool:
        """Whether a suspect ended with an exception that its owner's finalizers alone can still retrieve."""
        if judge.lost_exception(suspect.task) is None or suspect.origin is None:
            return False
        return self.lost.ours_to_tell(loop, suspect.origin.calls)

    def _describe(self, suspect: Suspect) -> Leak:
        keeper = suspect.piled_with or suspect.adopter
        found = explain.Found(
            swept=suspect.swept,
            swallows=suspect.swallows,
            asked_to_end=suspect.asked_to_end,
            ended_in_grace=suspect.ended_in_grace,
            stop_tried=suspect.stop_tried,
            piled_up=suspect.piled_up,
            keeper=keeper.name if keeper is not None else "",
            promises=suspect.promises,
            grace=self.grace,
        )
        return explain.describe(suspect.task, suspect.origin, suspect.owner, suspect.words, found, self._places)

    def _hangs(self, suspects: list[Suspect]) -> None:
        """Say at once what a sweep waits for, since it may wait for ever."""
        stuck = [suspect for suspect in suspects if not suspect.task.done()]
        for suspect in stuck:
            suspect.swallows = True
        if stuck:
            self._announce([self._describe(suspect) for suspect in stuck])
