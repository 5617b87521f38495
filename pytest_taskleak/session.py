"""One test run: tells the detector who is busy, and puts its verdicts into the reports of those to blame."""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import pytest
from _pytest import runner

from pytest_taskleak import fixtures
from pytest_taskleak import report as texts
from pytest_taskleak.attempt import Attempt, stop_in_time
from pytest_taskleak.finalizers import Finalizers
from pytest_taskleak.gate import Gate
from pytest_taskleak.imports import straight
from pytest_taskleak.known import Known
from pytest_taskleak.letter import Letter, carry
from pytest_taskleak.model import Owner
from pytest_taskleak.places import Places
from pytest_taskleak.running import Running
from pytest_taskleak.setups import Setups

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_taskleak.detector import Detector
    from pytest_taskleak.growth.repeating import Repeated
    from pytest_taskleak.leak import Leak
    from pytest_taskleak.model import Phase
    from pytest_taskleak.sentence import Sentence
    from pytest_taskleak.settings import Options, Settings
    from pytest_taskleak.verdicts import Verdict

P = ParamSpec("P")
R = TypeVar("R")

_CUT_SHORT = (KeyboardInterrupt, SystemExit, pytest.exit.Exception)


def _contained(method: Callable[Concatenate[Run, P], R]) -> Callable[Concatenate[Run, P], R | None]:
    """Keep a defect of the plugin's own away from the run: it is shown once, and None is given."""

    @functools.wraps(method)
    def contained(self: Run, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - no outcome may change by it
            self.failed(error)
            return None

    return contained


class Hooks(Protocol):
    """Where the hooks are."""

    def listen(self, *, listen: bool) -> None:
        """Hear of the phases and reports of tests from pytest, or no more: whoever runs them tells."""


class Run:
    """The plugin for one pytest run in one process.

    Guarantees: nothing is wrapped before the first test that is judged, and all is restored at the end; a defect
    of the plugin's own is shown once and leaves every outcome alone.
    """

    def __init__(
        self, config: pytest.Config, options: Options, told: Callable[[pytest.TestReport], None] | None
    ) -> None:
        """Make it for a run with these options; `told` hears of the reports of tests that it runs itself."""
        self._config = config
        self._options = options
        self._show = options.show
        self._places = Places(config.rootpath)
        self._gate = Gate(self._places, kinds=options.kinds, make=self._make_detector)
        self._gate.blocked = options.run.blocked
        self._finalizers = Finalizers(config)
        self._running = Running(config, self, self._gate.watcher)
        self._told = told or _nobody
        self._holding = self._repeating = False
        self._listens: bool | None = None  # as nobody has said so far
        self._judged_by: Settings | None = None
        self._attempt: Attempt | None = None
        self._hook: Any = None  # while a test runs whose reports are held, the hooks in force for it
        self._counts: dict[str, int] = {}
        self._repeated: Repeated | None = None  # while the test that was repeated runs for its report
        self._known = Known(options, self._gate)
        self.setups = Setups(self._gate, self._known.marked, self._wider_fixture_ends)
        if config.pluginmanager.hasplugin("pytester"):
            self.loads()  # what is imported in a run inside of this one is there twice afterwards

    def failed(self, error: Exception) -> None:
        """Keep a defect of the plugin's own, to be shown at the end."""
        self._gate.failed(error)

    def _make_detector(self, gate: Gate[Detector]) -> Detector:
        with straight():
            from pytest_taskleak.detector import Detector  # noqa: PLC0415 - needed only where there is something to judge

        detector = Detector(gate, self._places, self._announce)
        detector.search = self._options.search
        detector.graphs = self._show["verbosity"] > 1
        detector.leftovers.kept = self._known.kept
        detector.leftovers.passing = self._known.passing
        detector.lost.judged = self._known.is_judged
        detector.lost.test_at = self._known.test_at
        return detector

    @functools.cached_property
    def _sentence(self) -> Sentence:
        with straight():
            from pytest_taskleak.sentence import Sentence  # noqa: PLC0415 - as for the detector

        return Sentence(self._options, self._known.marked)

    def loads(self) -> None:
        """Import now what judges; at its first need it would be counted among the objects of a test."""
        _ = self._gate.detector, self._sentence

    # -- a test

    def protocol(self, item: pytest.Item, nextitem: pytest.Item | None, hooks: Hooks) -> bool:
        """Run a test and hand out its reports when its teardown is over, if it made any task.

        What outlives a test is known only after its fixtures have ended, and the report that says "passed" must not
        be out by then. A test that makes no task is reported as ever. Another plugin's way of running tests is left
        to it: where it reports late as well (pytest-rerunfailures does), nothing is lost.

        Returns:
            That the test was run.
        """
        hook = item.ihook
        others = self._running.others(item, hook, hooks)
        listens = others is not None or self._options.repeats
        if listens is not self._listens:
            self._listens = listens
            hooks.listen(listen=listens)
        if not listens:
            return self._run(item, nextitem, hook, self._running.phases)
        try:
            if self._options.repeats and self._repeat(item, nextitem):
                return True
            run = self._running.by_others(item, nextitem, others or set())
            return run or self._run(item, nextitem, hook, _by_pytest)
        finally:
            self._repeated = None

    def _run(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        hook: Any,
        run: Callable[[pytest.Item, pytest.Item | None, Any], None],
    ) -> bool:
        self._hook = hook
        nodeid, location = item.nodeid, item.location
        hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
        self._holding = True
        try:
            run(item, nextitem, hook)
        finally:
            self.hand_out(hook)
            self._holding = False
            self._attempt = self.setups.attempt = self._hook = None
        hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)
        return True

    def _repeat(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Repeat a test, without a word, where that is asked for; it is run once more to be reported.

        Returns:
            Whether a repetition did not pass, and so was the last run, and reported.
        """
        settings = self._options.of(item)
        if not settings.repeat or settings.mode == "off":
            return False
        self.loads()
        from pytest_taskleak.growth import repeating  # noqa: PLC0415 - needed only when it is asked for

        self._repeating = True
        try:
            runs = repeating.Repetitions(item, nextitem, self._places, self._gate.fixtures)
            self._repeated = runs.run(settings.repeat, self.failed)
        finally:
            self._repeating = False
        if not self._repeated.over:
            return False
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self.hand_out(item.ihook)
        self._attempt = self.setups.attempt = None
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def begins(self, item: pytest.Item) -> Attempt:
        """An attempt at a test begins."""
        options, gate, watcher = self._options, self._gate, self._gate.watcher
        owner = Owner("test", item.nodeid, item.name, "function", item.location)
        attempt = self._attempt = self.setups.attempt = Attempt(owner, options.run, watcher.seen)
        try:
            attempt.settings = settings = options.of(item)
        except pytest.UsageError as error:
            settings = options.run
            attempt.refused = error
        self._known.begins(item, owner, settings)
        if settings is not self._judged_by:
            gate.judge_by(settings.grace, strict=settings.strict)
            self._judged_by = settings
        gate.test = owner
        try:
            if not watcher.users:
                gate.start()
            coroutines = watcher.coroutines
            if not coroutines.swept and coroutines.sweeps and fixtures.is_asynchronous(item):
                with self._finalizers:
                    coroutines.sweep()
            coroutines.begins()
        except Exception as error:  # noqa: BLE001 - no outcome may change by it
            self.failed(error)
        return attempt

    def blocks(self, attempt: Attempt) -> None:
        """A phase begins of a test that may not block its loop."""
        if attempt.settings.mode != "off":
            self._gate.watch(attempt.settings.blocked, attempt.owner.nodeid)

    def enter(self, item: pytest.Item, phase: Phase) -> Exception | None:
        """A phase of the test begins that somebody else runs; reports that can no longer change go out.

        Returns:
            Why the phase must fail: what a marker says is not valid.
        """
        if not self._options.judges:
            return None
        attempt = self.begins(item) if phase == "setup" else self._attempt
        if attempt is None:
            return None
        if self._holding and (phase != "teardown" or not self.may_leak(attempt)):
            self.hand_out(self._hook)
        try:
            self._gate.watcher.start()  # the modules of this test may have imported another kind of loop
            self.blocks(attempt)
        except Exception as error:  # noqa: BLE001 - no outcome may change by it
            self.failed(error)
        self._gate.watcher.enter(attempt.owner, phase)
        return attempt.refused if phase == "setup" else None

    def may_leak(self, attempt: Attempt) -> bool:
        """Whether the test started anything, or could have had an open loop start it."""
        return self._gate.watcher.seen != attempt.seen or self._repeated is not None or not self._gate.quiet

    def leave(self, item: pytest.Item, phase: Phase, error: BaseException | None) -> None:
        """A phase of the test is over, one way or the other."""
        attempt = self._attempt
        if attempt is None:
            return
        if error is not None and isinstance(error, _CUT_SHORT):
            attempt.owner.interrupted = True
        gate = self._gate
        watcher = gate.watcher
        if phase == "teardown":
            attempt.owner.ended = True
            quiet = not self._counts and self._repeated is None and gate.quiet
            if quiet and (watcher.seen == attempt.seen or not watcher.coroutines.sweeps):
                watcher.coroutines.swept = False
            elif quiet:
                self._sweep()
                quiet = gate.quiet
            if not quiet:
                self._look(item, attempt)
        watcher.enter(None, "")

    @_contained
    def _sweep(self) -> None:
        """Find, in time for it, what a test left in cycles; one that made nothing that runs is not worth that."""
        with self._finalizers:
            self._gate.watcher.coroutines.sweep()

    @_contained
    def _look(self, item: pytest.Item, attempt: Attempt) -> None:
        gate = self._gate
        with self._finalizers:
            ended = not self._counts and self._repeated is None and gate.settles()
            if not ended:
                gate.detector.look_at_open_loops(attempt.owner)  # before the collector takes what it could tell
        if gate.watcher.seen != attempt.seen:
            self._sweep()
        else:
            gate.watcher.coroutines.swept = False
        if ended and gate.settles():
            return
        with self._finalizers:
            gate.watcher.enter(None, "")
            self._end(item, attempt)

    def _end(self, item: pytest.Item, attempt: Attempt) -> None:
        """The outermost teardown of the test is over: what it started must be over too."""
        self._count(attempt)
        attempt.verdicts = self._verdicts(attempt.owner)
        self._gate.watch(0.0)
        if attempt.settings.cancel and attempt.verdicts:
            self._gate.detector.cancel_pending(attempt.settings.grace)
        mine = self._sentence.mine(attempt)
        if self._repeated is not None and not mine:
            grown = self._sentence.on((attempt.owner, it) for it in self._repeated.leaks)
            attempt.verdicts = [*attempt.verdicts, *grown]
            mine = self._sentence.mine(attempt)
        fresh = [leak for leak in mine if not leak.accepted]
        if fresh and attempt.settings.mode != "off":
            item.user_properties.append(("taskleak", texts.headline(fresh)))

    def _verdicts(self, test: Owner | None) -> list[Verdict]:
        return self._sentence.on([*self._gate.detector.verdicts(test), *self._gate.stalled()])

    def _count(self, attempt: Attempt) -> None:
        """Note how much goes on; before the test it was what its predecessor was left with."""
        before, after = self._counts, {name: count for name, count in self._gate.detector.counts().items() if count}
        attempt.counts = {name: (before.get(name, 0), after.get(name, 0)) for name in {**before, **after}}
        self._counts = after

    def made_report(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """A phase's report was made: keep it until it can no longer change, and let it say what leaked."""
        attempt = self._attempt
        if attempt is None:
            return
        attempt.reports[report.when] = report
        if report.when != "teardown":
            if self._holding or self._repeating:
                stop_in_time(item.session, report)
            return
        if self._repeated is not None:
            self._repeated.tell(report)
        elif not (attempt.verdicts or attempt.counts or self._gate.defects):
            return
        if attempt.verdicts:
            self._apply(item, attempt, report)
        if self._gate.defects or attempt.counts:
            carry(report, Letter(defects=self._gate.take_defects(), counts=dict(attempt.counts)))
        attempt.carries = True

    @_contained
    def _apply(self, item: pytest.Item, attempt: Attempt, teardown: pytest.TestReport) -> None:
        self._sentence.apply(item, attempt, teardown)

    def logged(self, report: pytest.TestReport) -> None:
        """A report went out."""
        attempt = self._attempt
        if attempt is None or report.when in attempt.logged:
            return
        if attempt.reports.get(report.when) is report:
            attempt.logged.append(report.when)

    def hand_out(self, hook: Any) -> None:
        """The reports that were made so far can no longer change."""
        attempt = self._attempt
        if attempt is None:
            return
        logged = attempt.logged
        if len(logged) == len(attempt.reports):
            return
        for when, report in attempt.reports.items():
            if when not in logged:
                logged.append(when)
                hook.pytest_runtest_logreport(report=report)
                if when == "teardown" and attempt.carries and not self._listens:
                    self._told(report)

    @_contained
    def _wider_fixture_ends(self) -> None:
        """The first of the wider fixtures that end with a test is about to."""
        attempt = self._attempt
        if attempt is not None and not attempt.closing:
            attempt.closing = True
            if not self._gate.quiet:
                self._gate.detector.look_before_wider_fixtures_end(attempt.owner)

    # -- the end

    def finish(self) -> Letter:
        """All tests and fixtures are over: restore everything, and tell what was found only now."""
        self._attempt = self.setups.attempt = self._gate.test = self._known.item = None
        letter = self._last_look() or Letter()
        self._gate.stop()
        self._finalizers.tell()
        letter.defects += self._gate.take_defects()
        return letter

    @_contained
    def _last_look(self) -> Letter:
        with self._finalizers:
            if self._gate.settles():
                return Letter()
            self._gate.detector.look_at_open_loops(None)
            return self._sentence.late(self._verdicts(None))

    @_contained
    def _announce(self, leaks: list[Leak]) -> None:
        """Say at once, past pytest's capture, what a loop waits for: it may wait for ever."""
        text = texts.details(leaks, **self._show)
        lines = f"\ntaskleak: closing the loop of {leaks[0].nodeid} waits for this, perhaps for ever\n{text}\n"
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            sys.stderr.write(lines)
            sys.stderr.flush()


def _by_pytest(item: pytest.Item, nextitem: pytest.Item | None, _hook: object) -> None:
    runner.runtestprotocol(item, log=False, nextitem=nextitem)


def _nobody(_report: pytest.TestReport) -> None:
    pass
