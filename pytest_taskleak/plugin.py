"""The hooks, and nothing else: what happens in them is in `session` and `ledger`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from pytest_taskleak.imports import straight
from pytest_taskleak.ledger import Ledger
from pytest_taskleak.letter import Letter
from pytest_taskleak.settings import MARKER, Options, add_options

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_taskleak.model import Phase
    from pytest_taskleak.session import Run
    from pytest_taskleak.settings import Growing

_OPTIONS = pytest.StashKey[Options]()
_RUN = pytest.StashKey["Run"]()
_LEDGER = pytest.StashKey[Ledger]()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    options = config.stash[_OPTIONS] = Options(config)
    if not options.nowhere:
        if not hasattr(config, "workerinput"):
            config.stash[_LEDGER] = Ledger(config, options.show, options.reports, options.due)
        config.pluginmanager.register(_Tests(config, options), "taskleak-tests")
    if options.growing is not None:
        config.pluginmanager.register(_Growth(config, options.growing), "taskleak-growth")


def pytest_unconfigure(config: pytest.Config) -> None:
    if run := config.stash.get(_RUN, None):
        run.finish()


def pytest_report_header(config: pytest.Config) -> str:
    return config.stash[_OPTIONS].header


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    try:
        config.stash[_OPTIONS].check(items)
    except pytest.UsageError as error:
        if not hasattr(config, "workerinput"):
            raise
        # xdist shows no usage error of a worker: there it is an error of collection.
        config.hook.pytest_collectreport(report=pytest.CollectReport(str(config.rootpath), "failed", f"{error}", []))
        items.clear()


class _Tests:
    """Hooks of tests and fixtures that are there wherever leaks may be looked for."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self._config = config
        self._options = options
        self._listener = _Phases(self, config.stash.get(_LEDGER, None))
        self._listens = False

    @functools.cached_property
    def run(self) -> Run:
        """Made when the first test runs: a run without any need not import what looks for leaks."""
        with straight():
            from pytest_taskleak.session import Run  # noqa: PLC0415 - as said

        ledger = self._config.stash.get(_LEDGER, None)
        run = self._config.stash[_RUN] = Run(self._config, self._options, ledger.logged if ledger else None)
        return run

    def listen(self, *, listen: bool) -> None:
        if listen is self._listens:
            return
        self._listens = listen
        if listen:
            self._config.pluginmanager.register(self._listener, "taskleak-phases")
        else:
            self._config.pluginmanager.unregister(self._listener)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        loops = self._config.hook.pytest_runtestloop.get_hookimpls()
        if any(not (it.wrapper or it.hookwrapper) and it.plugin_name != "main" for it in loops):
            self.listen(listen=True)  # tests may all run elsewhere (xdist's controller): their reports are seen

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        return self.run.protocol(item, nextitem, self) if self._options.judges else None

    # Of the older kind, through which no exception passes: the newer one would add its frame to tracebacks.
    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, None]:
        setup = self.run.setups.begins(fixturedef, request) if self._options.judges else None
        yield
        if setup is not None:
            setup.is_over()


class _Phases:
    """Hooks that are there only while tests are run by others, who do not tell: they are dear."""

    def __init__(self, tests: _Tests, ledger: Ledger | None) -> None:
        self._tests = tests
        self._ledger = ledger

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, None]:
        yield from self._phase(item, "setup")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, None]:
        yield from self._phase(item, "call")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, None]:
        yield from self._phase(item, "teardown")

    def _phase(self, item: pytest.Item, phase: Phase) -> Generator[None, Any, None]:
        run = self._tests.run
        refused = run.enter(item, phase)
        outcome = yield
        if refused is not None:
            outcome.force_exception(refused)
        run.leave(item, phase, outcome.exception)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._tests.run.made_report(item, report)
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if "run" in vars(self._tests):
            self._tests.run.logged(report)
        if self._ledger is not None:
            self._ledger.logged(report)


class _Growth:
    """Hooks that are there only where the growth of the run is asked for."""

    def __init__(self, config: pytest.Config, growing: Growing) -> None:
        from pytest_taskleak.growth.overview import Overview  # noqa: PLC0415 - needed only when it is asked for
        from pytest_taskleak.growth.suite import Series, Suite  # noqa: PLC0415 - the same

        self._suite = Suite(getattr(config, "workerinput", {}).get("workerid", ""), freezes=growing.freezes)
        self._overview = Overview(growing)
        self._tests: _Tests | None = config.pluginmanager.get_plugin("taskleak-tests")
        self._counts = False
        self._read = Series.from_json

    def _start(self) -> None:
        if self._tests is not None:
            self._tests.run.loads()  # what the first test, and the first that is looked at, bring must be there before
        self._suite.start()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        self._counts = not session.config.pluginmanager.hasplugin("dsession")  # else xdist's workers do it
        if self._counts:
            self._start()
        try:
            return (yield)
        finally:
            if self._counts:
                self._overview.enter(self._suite.stop())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        result = yield
        self._suite.count(item.nodeid)
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._counts:
            self._suite.logged(report)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        yield
        config: Any = session.config
        if hasattr(config, "workeroutput"):
            config.workeroutput["taskleak_growth"] = self._suite.series.to_json()
        else:
            self._overview.finish(session)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        if series := getattr(node, "workeroutput", {}).get("taskleak_growth"):
            self._overview.enter(self._read(series))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        self._overview.write(terminalreporter)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    yield
    config: Any = session.config
    letter = run.finish() if (run := config.stash.get(_RUN, None)) else Letter()
    if ledger := config.stash.get(_LEDGER, None):
        ledger.enter(letter)
        ledger.settle_exit(session)
        ledger.write_reports()
    elif hasattr(config, "workeroutput"):
        config.workeroutput["taskleak"] = letter.to_json()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    ledger = node.config.stash.get(_LEDGER, None)
    if ledger and (letter := getattr(node, "workeroutput", {}).get("taskleak")):
        ledger.enter(Letter.from_json(letter))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if ledger := config.stash.get(_LEDGER, None):
        ledger.write(terminalreporter)
