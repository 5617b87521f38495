"""One test run: tells the detector who is busy, and puts its verdicts into the reports of those to blame."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import pytest
from _pytest import runner

from pytest_taskleak import fixtures
from pytest_taskleak import report as texts
from pytest_taskleak.attempt import Attempt, run_by_another, stop_in_time
from pytest_taskleak.detector import Detector
from pytest_taskleak.finalizers import Finalizers
from pytest_taskleak.judge import LiveFixture
from pytest_taskleak.letter import Letter, carry
from pytest_taskleak.model import Owner
from pytest_taskleak.places import Places
from pytest_taskleak.sentence import Sentence
from pytest_taskleak.verdicts import Verdict, accepted

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_taskleak.growth.repeating import Repeated
    from pytest_taskleak.leak import Leak
    from pytest_taskleak.model import Phase
    from pytest_taskleak.outcome import Show
    from pytest_taskleak.settings import Options, Settings

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


class Run:
    """The plugin for one pytest run in one process.

    Guarantees: nothing is wrapped before the first test that is judged, and all is restored at the end; a defect
    of the plugin's own is shown once and leaves every outcome alone.
    """

    def __init__(self, config: pytest.Config, options: Options) -> None:
        """Make it for a run with these options."""
        self._config = config
        self._options = options
        self.show: Show = {
            "verbosity": config.get_verbosity(),
            "root": str(config.invocation_params.dir),
            "command": options.command,
            "rootdir": str(config.rootpath),
        }
        self._places = Places(config.rootpath)
        self._detector = Detector(
            self._places,
            grace=options.run.grace,
            strict=options.run.strict,
            kinds=options.kinds,
            announce=self._announce,
        )
        self._detector.search = options.search
        self._detector.graphs = self.show["verbosity"] > 1
        self._detector.leftovers.shown = fixtures.shown
        self._detector.lost.judged = self._is_judged
        self._finalizers = Finalizers(config)
        self._holding = self._repeating = False
        self._attempt: Attempt | None = None
        self._counts: dict[str, int] = {}
        self._repeated: Repeated | None = None  # while the test that was repeated runs for its report
        self._interrupted: dict[Owner, tuple[Owner | None, str]] = {}
        self._marked: dict[Owner | None, Settings] = {}  # for what is found when the test is long over
        self._sentence = Sentence(options.run, self._marked, self.show)

    def failed(self, error: Exception) -> None:
        """Keep a defect of the plugin's own, to be shown at the end."""
        self._detector.failed(error)

    def _is_judged(self, owner: Owner) -> bool:
        return self._marked.get(owner, self._options.run).mode != "off"

    # -- a test

    def protocol(self, item: pytest.Item, nextitem: pytest.Item | None, plugin: object) -> bool | None:
        """Run a test and hand out its reports when its teardown is over, if it made any task.

        What outlives a test is known only after its fixtures have ended, and the report that says "passed" must not
        be out by then. A test that makes no task is reported as ever. Another plugin's way of running tests is left
        to it: where it reports late as well (pytest-rerunfailures does), nothing is lost.

        Returns:
            True where the test was run; None to leave it to pytest.
        """
        if not self._options.judges:
            return None
        try:
            if self._options.repeats and self._repeat(item, nextitem):
                return True
            return run_by_another(item, nextitem, plugin) or self._run(item, nextitem)
        finally:
            self._repeated = None

    def _run(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._holding = True
        try:
            runner.runtestprotocol(item, log=False, nextitem=nextitem)
        finally:
            self._hand_out(item)
            self._holding = False
            self._attempt = None
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _repeat(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Repeat a test, without a word, where that is asked for; it is run once more to be reported.

        Returns:
            Whether a repetition did not pass, and so was the last run, and reported.
        """
        settings = self._options.of(item)
        if not settings.repeat or settings.mode == "off":
            return False
        from pytest_taskleak.growth import repeating  # noqa: PLC0415 - needed only when it is asked for

        self._repeating = True
        try:
            runs = repeating.Repetitions(item, nextitem, self._places, self._detector.fixtures)
            self._repeated = runs.run(settings.repeat, self.failed)
        finally:
            self._repeating = False
        if not self._repeated.over:
            return False
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._hand_out(item)
        self._attempt = None
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _begin(self, item: pytest.Item) -> None:
        settings = self._options.of(item)
        owner = Owner("test", item.nodeid, item.name, location=item.location)
        self._attempt = Attempt(owner, settings, self._detector.watcher.seen, {owner})
        if settings is not self._options.run:
            self._marked[owner] = settings
        self._detector.judge_by(settings.grace, strict=settings.strict)
        self._detector.leftovers.passing = functools.partial(fixtures.passing, item)
        self._detector.test = owner
        self._detector.stalls.elsewhere = self._options.run.blocked

    def enter(self, item: pytest.Item, phase: Phase) -> None:
        """A phase of the test begins; reports that can no longer change go out."""
        if not self._options.judges:
            return
        if phase == "setup":
            self._begin(item)
        attempt = self._attempt
        if attempt is None:
            return
        if self._holding and (phase != "teardown" or self._may_leak(attempt) is False):
            self._hand_out(item)
        self._watch(item, attempt, phase)

    @_contained
    def _watch(self, item: pytest.Item, attempt: Attempt, phase: Phase) -> None:
        self._detector.start()  # the modules of this test may have imported another kind of loop
        if phase == "setup":
            code = fixtures.code_of(item)
            asynchronous = code is not None and bool(code.co_flags & inspect.CO_COROUTINE)
            with self._finalizers:
                self._detector.watcher.coroutines.begins(sweep=asynchronous)
            if code is not None:
                self._detector.lost.runs(code, attempt.owner)
        self._detector.watcher.enter(attempt.owner, phase)
        blocked = attempt.settings.blocked if attempt.settings.mode != "off" else 0.0
        self._detector.stalls.watch(blocked, attempt.owner.nodeid)

    @_contained
    def _may_leak(self, attempt: Attempt) -> bool:
        """Whether the test started anything, or could have had an open loop start it."""
        watcher, detector = self._detector.watcher, self._detector
        if watcher.seen != attempt.seen or self._repeated is not None or detector.leftovers:
            return True
        return bool(detector.workplaces) or bool(detector.lost) or bool(watcher.loops())

    @_contained
    def leave(self, item: pytest.Item, phase: Phase, error: BaseException | None) -> None:
        """A phase of the test is over, one way or the other."""
        attempt = self._attempt
        if attempt is None:
            return
        if isinstance(error, _CUT_SHORT):
            attempt.owner.interrupted = True
        if phase != "teardown":
            self._detector.watcher.enter(None, "")
            return
        attempt.owner.ended = True
        with self._finalizers:
            self._detector.look_at_open_loops(attempt.owner)  # before the collector takes what it could tell
            self._sweep(attempt)
            self._detector.watcher.enter(None, "")
            self._end(item, attempt)

    @_contained
    def _sweep(self, attempt: Attempt) -> None:
        watcher = self._detector.watcher
        watcher.coroutines.ends(made_any=watcher.seen != attempt.seen)

    def _end(self, item: pytest.Item, attempt: Attempt) -> None:
        """The outermost teardown of the test is over: what it started must be over too."""
        if self._counts or self._may_leak(attempt):
            self._count(attempt)
        attempt.verdicts = self._verdicts(attempt.owner)
        self._detector.stalls.watch(0.0)
        if attempt.settings.cancel and attempt.verdicts:
            self._detector.cancel_pending(attempt.settings.grace)
        mine = self._sentence.mine(attempt)
        if self._repeated is not None and not mine:
            grown = accepted((Verdict(attempt.owner, it) for it in self._repeated.leaks), self._options.accepted)
            attempt.verdicts = [*attempt.verdicts, *grown]
            mine = self._sentence.mine(attempt)
        fresh = [leak for leak in mine if not leak.accepted]
        if fresh and attempt.settings.mode != "off":
            item.user_properties.append(("taskleak", texts.headline(fresh)))

    def _verdicts(self, test: Owner | None) -> list[Verdict]:
        return accepted(self._detector.verdicts(test), self._options.accepted)

    def _count(self, attempt: Attempt) -> None:
        """Note how much goes on; before the test it was what its predecessor was left with."""
        before, after = self._counts, {name: count for name, count in self._detector.counts().items() if count}
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
        if attempt.verdicts:
            self._apply(item, attempt, report)
        defects = self._detector.take_defects()
        if defects or attempt.counts:
            carry(report, Letter(defects=defects, counts=attempt.counts))

    @_contained
    def _apply(self, item: pytest.Item, attempt: Attempt, teardown: pytest.TestReport) -> None:
        self._sentence.apply(item, attempt, teardown)

    def logged(self, report: pytest.TestReport) -> None:
        """A report went out."""
        attempt = self._attempt
        if attempt is not None and attempt.reports.get(report.when) is report:
            attempt.logged.add(report.when)

    def _hand_out(self, item: pytest.Item) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        for when, report in attempt.reports.items():
            if when not in attempt.logged:
                attempt.logged.add(when)
                item.ihook.pytest_runtest_logreport(report=report)

    # -- a fixture

    @_contained
    def fixture_begins(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Callable[[], None] | None:
        """A fixture is about to be set up.

        Returns:
            What to call when it is, or has failed to be; None for nothing.
        """
        attempt = self._attempt
        if attempt is None:
            return None
        watcher = self._detector.watcher
        before = watcher.current, watcher.phase
        test = attempt.owner
        owner = Owner("fixture", test.nodeid, fixturedef.argname, fixturedef.scope, location=test.location)
        if owner.scope == "function":
            attempt.owners.add(owner)
            if test in self._marked:
                self._marked[owner] = attempt.settings
        watcher.enter(owner, "setup")

        def is_set_up() -> None:
            watcher.enter(*before)
            self._detector.fixtures[fixturedef] = LiveFixture(
                owner,
                functools.partial(fixtures.roots, fixturedef, request),
                functools.partial(fixtures.can_clean_up, fixturedef),
            )
            # Finalizers run in the reverse order: this one is the first of the fixture's own.
            fixturedef.addfinalizer(functools.partial(_finalizer_begins, self, owner))

        return is_set_up

    @_contained
    def finalizer_begins(self, owner: Owner) -> None:
        """The first of a fixture's finalizers is about to run."""
        watcher = self._detector.watcher
        attempt = self._attempt
        if attempt is not None and owner.scope != "function" and watcher.phase == "teardown" and not attempt.closing:
            attempt.closing = True
            self._look_before_wider_fixtures_end(attempt)
        self._interrupted[owner] = watcher.current, watcher.phase
        watcher.enter(owner, "teardown")

    @_contained
    def _look_before_wider_fixtures_end(self, attempt: Attempt) -> None:
        self._detector.look_before_wider_fixtures_end(attempt.owner)

    @_contained
    def fixture_has_ended(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """A fixture's finalizers are over."""
        live = self._detector.fixtures.pop(fixturedef, None)
        if live is None:
            return
        owner = live.owner
        owner.ended = True
        self._detector.adoptions.forget(owner)
        before, phase = self._interrupted.pop(owner, (None, ""))
        self._detector.watcher.enter(before, phase)
        if self._attempt is not None and phase == "teardown" and owner.scope != "function":
            self._attempt.ended_fixtures.add(owner)

    # -- the end

    def finish(self) -> Letter:
        """All tests and fixtures are over: restore everything, and tell what was found only now."""
        self._attempt = self._detector.test = None
        letter = self._last_look() or Letter()
        self._detector.stop()
        self._finalizers.tell()
        letter.defects += self._detector.take_defects()
        return letter

    @_contained
    def _last_look(self) -> Letter:
        with self._finalizers:
            self._detector.look_at_open_loops(None)
            return self._sentence.late(self._verdicts(None))

    @_contained
    def _announce(self, leaks: list[Leak]) -> None:
        """Say at once, past pytest's capture, what a loop waits for: it may wait for ever."""
        text = texts.details(leaks, **self.show)
        lines = f"\ntaskleak: closing the loop of {leaks[0].nodeid} waits for this, perhaps for ever\n{text}\n"
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            sys.stderr.write(lines)
            sys.stderr.flush()


def _finalizer_begins(run: Run, owner: Owner) -> None:
    run.finalizer_begins(owner)
