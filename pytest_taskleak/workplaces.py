"""What work runs in: threads, executors and loops that are left when their owner has ended."""

from __future__ import annotations

import functools
import gc
import weakref
from typing import TYPE_CHECKING, Any

from pytest_taskleak import explain, judge
from pytest_taskleak.verdicts import Verdict
from pytest_taskleak.watch import executor_of, is_shut_down

if TYPE_CHECKING:
    import asyncio
    import threading
    from collections.abc import Callable, Iterable, Sequence

    from pytest_taskleak.leftovers import Leftovers
    from pytest_taskleak.model import Call, Kind, Owner
    from pytest_taskleak.places import Places
    from pytest_taskleak.watch import LoopRecord, Made, Register, Watcher


class Workplaces:
    """Judges what the recorder of threads, executors and loops knows.

    Guarantees: judged once; nothing of the user's is kept after a look; a test that started no thread and made no
    executor and no loop is not looked at, and without suspects nothing waits.

    Attributes:
        found: What was found and not told yet.
    """

    def __init__(
        self, watcher: Watcher, places: Places, fixtures: dict[object, judge.LiveFixture], leftovers: Leftovers
    ) -> None:
        """Make a judge of what `watcher` records; `leftovers` knows how strictly, and what is about to go."""
        self._watcher = watcher
        self._workers = watcher.workers
        self._places = places
        self._fixtures = fixtures
        self._leftovers = leftovers
        self.found: list[Verdict] = []
        self._grace = self._given = 0.0
        self._of: Owner | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self._workers)

    def verdicts(self) -> list[Verdict]:
        """What was found since the last time."""
        verdicts, self.found = self.found, []
        return verdicts

    def at_work(self, owner: Owner) -> bool:
        """Whether a thread that was started for `owner` is still at work."""
        for kind, register in self._workers.registers.items():
            if kind == "open-loop" or not register.entries:
                continue
            for thread, made in register.alive():
                if made.owner is not owner or judge.is_helper(made.calls):
                    continue
                if kind == "thread" or not judge.is_idle(judge.standing(thread)):
                    return True
        return False

    def look(self, grace: float, *, of: Owner | None = None, waited: float = 0.0) -> None:
        """Look at what is left now that a test, and perhaps wider fixtures, have ended.

        Args:
            grace: Seconds that threads are given to end.
            of: Whose alone is looked at; None for that of everyone who has ended.
            waited: Seconds that they were given already.
        """
        self._grace, self._given, self._of = grace, grace + waited, of
        registers = self._workers.registers
        if "thread" in registers:
            self._look_at_threads(registers["thread"])
        if "executor" in registers:
            self._look_at_executors(registers["executor"])
            self._look_at_busy(registers["executor"])
        if "open-loop" in registers:
            self._look_at_loops(registers["open-loop"])
        self._workers.tidy()

    def tell_running(self, record: LoopRecord, grace: float, *, idle: bool) -> None:
        """Report a loop that still runs in a thread whose owner has ended; where it has tasks, they tell it all."""
        loop, thread = record.loop, record.thread
        if loop is None or thread is None or not loop.is_running() or not thread.is_alive():
            return
        origin = self._watcher.thread_origin(thread)
        if origin is None or origin.settled or origin.owner is None or not origin.owner.ended:
            return
        if not self._is_judged(origin.calls) or not judge.outlasting([thread], grace):
            return
        origin.settled = True
        if not idle:
            return
        leak = explain.describe_running(thread.name, origin.owner, origin.phase, origin.calls, self._places)
        self.found.append(Verdict(origin.owner, leak))

    def told(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear that something else of a loop was reported: that it is open as well would be the same cause again."""
        register = self._workers.registers.get("open-loop")
        if register is not None:
            self._workers.enter_latest()
            register.settle({id(loop)})
            self._workers.dropped[:] = [made for made in self._workers.dropped if made.key != id(loop)]

    # -- the steps

    def _is_judged(self, calls: Sequence[Call]) -> bool:
        """Whether it is the project's own: what a library makes for the life of the process is its affair."""
        return self._leftovers.strict or judge.is_first_own(calls, self._places.own, self._places.standard)

    def _of_the_ended(self, register: Register) -> list[tuple[Any, Made]]:
        """What is left of owners that have ended, as far as it is judged at all; the rest of it is settled."""
        if not register.entries:
            return []
        ended = [(thing, made) for thing, made in register.alive() if self._has_ended(made.owner)]
        mine = [(thing, made) for thing, made in ended if _is_whole(made) and self._is_judged(made.calls)]
        register.settle({made.key for _, made in ended} - {made.key for _, made in mine})
        return mine

    def _has_ended(self, owner: Owner | None) -> bool:
        return owner is not None and owner.ended and (self._of is None or owner is self._of)

    def _adopters(self, things: Iterable[object]) -> dict[int, Owner]:
        """The live wider fixtures that keep some of these, by the id of what they keep."""
        wider = [it for it in self._fixtures.values() if not it.owner.ended]
        return {key: fixture.owner for key, fixture in judge.holders(things, wider).items()} if wider else {}

    def _tell(self, kind: Kind, made: Made, sketch: Callable[[], explain.Sketch], settled: str) -> None:
        if made.owner is None:
            return
        try:
            leak = explain.describe_thing(
                kind,
                sketch(),
                made.owner,
                phase=made.phase,
                calls=made.calls,
                settled=settled,
                piled_up=(),
                places=self._places,
            )
        except Exception as error:  # noqa: BLE001 - one that cannot be told must not take the others along
            self._watcher.listener.failed(error)
        else:
            self.found.append(Verdict(made.owner, leak))

    def _look_at_threads(self, register: Register) -> None:
        suspects: dict[threading.Thread, Made] = {}
        over: set[int] = set()
        for thread, made in self._of_the_ended(register):
            origin = self._watcher.thread_origin(thread)
            theirs = not self._leftovers.strict and judge.is_started_through_a_wrapper(
                thread, made.calls, self._places.own
            )
            if origin is None or origin.settled or theirs or judge.is_helper(made.calls):
                over.add(made.key)
            else:
                suspects[thread] = made
        register.settle(over)
        if not suspects:
            return
        adopted = self._adopters(suspects)
        register.give(adopted)
        for thread in [thread for thread in suspects if id(thread) in adopted]:
            origin = self._watcher.thread_origin(thread)
            if origin is not None:
                origin.owner = adopted[id(thread)]
            del suspects[thread]
        for thread in judge.outlasting(suspects, self._grace):
            sketch = functools.partial(explain.sketch_thread, thread, judge.standing(thread), self._places)
            self._tell("thread", suspects[thread], sketch, f"still running {self._given:g} s after its owner ended")
        register.settle({made.key for made in suspects.values()})

    def _look_at_executors(self, register: Register) -> None:
        """Look at executors that were never shut down: one that is collected ends its threads by itself."""
        threads: dict[int, list[Made]] = {}
        executors: dict[int, weakref.ref[Any]] = {}
        over: set[int] = set()
        for thread, made in self._of_the_ended(register):
            executor = executor_of(thread)
            if judge.is_helper(made.calls):
                over.add(made.key)
            elif executor is not None and not is_shut_down(executor):
                threads.setdefault(id(executor), []).append(made)
                executors[id(executor)] = weakref.ref(executor)
            del thread, executor
        register.settle(over)
        if not executors:
            return
        self._let_go(register, threads, executors)
        for generation in range(3):
            # The youngest first: a whole collection is dear, and needed only for what is a leak in all likelihood.
            if not any(ref() is not None for ref in executors.values()):
                return
            gc.collect(generation)
        for key, ref in executors.items():
            executor = ref()
            if executor is None:
                continue
            alive = [thread for made in threads[key] if (thread := made.ref()) is not None]
            busy, stands = _work(alive)
            sketch = functools.partial(explain.sketch_executor, executor, alive, busy, stands, self._places)
            self._tell("executor", threads[key][0], sketch, "its threads live on after its owner ended")
            register.settle({made.key for made in threads[key]})

    def _let_go(
        self, register: Register, threads: dict[int, list[Made]], executors: dict[int, weakref.ref[Any]]
    ) -> None:
        """Take out the executors that somebody keeps on purpose, or that are about to go."""
        adopted = self._adopters(ref() for ref in executors.values())
        register.give({made.key: owner for key, owner in adopted.items() for made in threads[key]})
        if self._leftovers.strict:
            gone = set(adopted)
        else:
            loops = [loop for record in self._watcher.loops() if (loop := record.loop) is not None]
            serving = {key for key, ref in executors.items() if judge.is_default_of(ref(), loops)}
            kept = judge.process_wide(executors.keys(), self._places.own)
            register.settle({made.key for key in kept for made in threads[key]})
            # One that pytest keeps with a test's instance goes on all the same: a later test's end finds it.
            passing = judge.reached([*self._leftovers.passing(), *self._leftovers.kept()], executors.keys())
            gone = {*adopted, *serving, *kept, *passing}
        for key in gone:
            del executors[key]

    def _look_at_busy(self, register: Register) -> None:
        """Look at threads that are still at work for an executor that was shut down, or is gone."""
        suspects: dict[threading.Thread, Made] = {}
        for thread, made in self._of_the_ended(register):
            executor = executor_of(thread)
            if (executor is None or is_shut_down(executor)) and not _serves_processes(thread):
                suspects[thread] = made
        if not suspects:
            return
        by_executor: dict[object, list[threading.Thread]] = {}
        for thread in judge.outlasting(suspects, self._grace):
            made = suspects[thread]
            by_executor.setdefault((made.owner, made.calls), []).append(thread)
        for alive in by_executor.values():
            busy, stands = _work(alive)
            if busy:
                sketch = functools.partial(explain.sketch_busy, busy, stands, self._places)
                self._tell("executor", suspects[alive[0]], sketch, f"at work {self._given:g} s after its owner ended")
        register.settle({made.key for made in suspects.values()})

    def _look_at_loops(self, register: Register) -> None:
        """Look at loops that nobody closed; each is decided once, when its owner has ended."""
        left: dict[int, tuple[asyncio.AbstractEventLoop, Made]] = {}
        mine = self._of_the_ended(register)
        if mine:
            homes = self._leftovers.homes()
            for loop, made in mine:
                tells_more = loop.is_running() or id(loop) in homes or bool(judge.pending_tasks(loop))
                if not tells_more and not judge.is_closed_by_its_maker(made.calls):
                    left[id(loop)] = (loop, made)
            adopted = self._adopters(loop for loop, _ in left.values())
            register.give(adopted)
            register.settle({made.key for _, made in mine} - adopted.keys())
            kept: set[int] = set(adopted)
            if left and not self._leftovers.strict:
                kept |= {id(judge.current_loop()), *judge.process_wide(left.keys(), self._places.own)}
            for key, (_, made) in left.items():
                if key not in kept:
                    self._tell("open-loop", made, explain.sketch_loop, "still open after its owner ended")
        dropped = [made for made in self._workers.dropped if made.owner is None or self._has_ended(made.owner)]
        for made in dropped:
            self._workers.dropped.remove(made)
            if _is_whole(made) and self._is_judged(made.calls) and not judge.is_closed_by_its_maker(made.calls):
                self._tell("open-loop", made, explain.sketch_loop, "collected as garbage while it was open")


def _is_whole(made: Made) -> bool:
    """Whether its owner came to its end: what was cut short leaves things by design."""
    return made.owner is not None and not made.owner.interrupted


def _serves_processes(thread: threading.Thread) -> bool:
    """Whether it is the one thread of an executor of processes: nobody sees from here what those do."""
    return hasattr(thread, "executor_reference")


def _work(threads: Iterable[threading.Thread]) -> tuple[list[str], tuple[Call, ...]]:
    """What an executor's threads are busy with, by name, and where the first of these stands."""
    busy: list[str] = []
    stands: tuple[Call, ...] = ()
    for thread in threads:
        if _serves_processes(thread):
            continue
        calls = judge.standing(thread)
        if not judge.is_idle(calls):
            busy.append(judge.busy_in(calls) or "a function that is no Python")
            stands = stands or calls
    return busy, stands
