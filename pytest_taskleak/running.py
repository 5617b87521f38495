"""How a test is run: pytest's own way, step by step, so that whoever looks on need not implement a hook for each."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from _pytest import runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_taskleak.attempt import Attempt
    from pytest_taskleak.model import Phase
    from pytest_taskleak.watch import Watcher

_call: Any = pytest.CallInfo.from_call

_TELLS = {"pytest_rerunfailures": "get_reruns_count"}
"""Plugins that run some tests their own way, by name: what tells how often one is run again, None where it is not."""


class Onlooker(Protocol):
    """Whoever looks on while a test is run."""

    def begins(self, item: pytest.Item, /) -> Attempt:
        """An attempt at a test begins."""
        ...

    def blocks(self, attempt: Attempt, /) -> None:
        """A phase begins of a test that may not block its loop."""

    def may_leak(self, attempt: Attempt, /) -> bool:
        """Whether anything is there yet that could be a leak, so that its reports are held."""
        ...

    def hand_out(self, hook: Any, /) -> None:
        """The reports that were made so far can no longer change."""

    def leave(self, item: pytest.Item, phase: Phase, error: BaseException | None, /) -> None:
        """A phase is over that was the last, or did not pass."""

    def made_report(self, item: pytest.Item, report: pytest.TestReport, /) -> None:
        """The last report was made, or one that tells of a failure."""

    def failed(self, error: Exception, /) -> None:
        """Hear of a defect of the plugin's own, which was contained."""


class Running:
    """Runs tests as `_pytest.runner.runtestprotocol` does, and tells an onlooker.

    A wrapper around a hook costs about 18,000 instructions at each call, of the 2.5 million that pytest needs for a
    test that does nothing; there would be four of them around each phase.

    Guarantees: the same hooks with the same arguments in the same order, the same exceptions; reports are made and
    given to the onlooker, and not logged.
    """

    def __init__(self, config: pytest.Config, onlooker: Onlooker, watcher: Watcher) -> None:
        """Make it for a run; `watcher` is told who is busy."""
        self._onlooker = onlooker
        self._watcher = watcher
        self._config = config
        # pytest has no public names for these two: where it renames them, its own way is gone.
        reraise: Any = getattr(runner, "get_reraise_exceptions", None)
        self._is_interactive: Any = getattr(runner, "check_interactive_exception", None)
        self._reraise: tuple[type[BaseException], ...] = reraise(config) if reraise is not None else ()
        self._known: list[Any] = []
        self._others: set[object] = set()
        option = config.option
        # What these options print between the phases is pytest's own affair, too.
        prints = getattr(option, "setupshow", False) or getattr(option, "setuponly", False)
        self._plain = bool(self._reraise) and self._is_interactive is not None and not prints

    def others(self, item: pytest.Item, hook: Any, plugin: object) -> set[object] | None:
        """The other plugins that have a way of running this test; None where pytest's own need not be used either.

        Args:
            item: The test.
            hook: The hooks that are in force for it.
            plugin: Whose way this one is.
        """
        impls = hook.pytest_runtest_protocol.get_hookimpls()
        if impls != self._known:
            self._known = impls
            self._others = {
                impl.plugin
                for impl in impls
                if not (impl.wrapper or impl.hookwrapper) and impl.plugin not in (plugin, runner)
            }
        if not self._others:
            return None if self._plain else set()
        others = {it for it in self._others if not _leaves(it, item)}
        return others if others or not self._plain else None

    def by_others(self, item: pytest.Item, nextitem: pytest.Item | None, others: set[object]) -> bool:
        """Let other plugins' ways of running a test have their turn before pytest's own; whether one did it."""
        if not others:
            return False
        manager = self._config.pluginmanager
        everyone = manager.hook.pytest_runtest_protocol.get_hookimpls()
        rest = [impl.plugin for impl in everyone if impl.plugin not in others]
        caller = manager.subset_hook_caller("pytest_runtest_protocol", rest)
        return caller(item=item, nextitem=nextitem) is not None

    def phases(self, item: Any, nextitem: pytest.Item | None, hook: Any) -> None:
        """Run the phases of a test; `hook` are the hooks that are in force for it, which are dear to find out."""
        has_request = hasattr(item, "_request")
        if has_request and not item._request:  # noqa: SLF001 - as pytest does, where a test is run again
            item._initrequest()  # noqa: SLF001 - the same
        onlooker = self._onlooker
        try:
            attempt = onlooker.begins(item)
            run = functools.partial(hook.pytest_runtest_setup, item=item)
            if attempt.refused is not None:
                run = functools.partial(_refuse, run, attempt.refused)
            if self._phase(item, attempt, "setup", run, hook).passed:
                onlooker.hand_out(hook)
                run = functools.partial(hook.pytest_runtest_call, item=item)
                self._phase(item, attempt, "call", run, hook)
            if not onlooker.may_leak(attempt):
                onlooker.hand_out(hook)
            session = item.session
            if session.shouldfail or session.shouldstop:
                nextitem = None  # everything is torn down with it
            run = functools.partial(hook.pytest_runtest_teardown, item=item, nextitem=nextitem)
            self._phase(item, attempt, "teardown", run, hook)
        finally:
            if has_request:
                item._request = False  # noqa: SLF001 - as pytest does, so that what is the test's can go
                item.funcargs = None

    def _phase(
        self, item: pytest.Item, attempt: Attempt, phase: Phase, run: Callable[[], Any], hook: Any
    ) -> pytest.TestReport:
        """Run one.

        Args:
            item: The test.
            attempt: The attempt at it.
            phase: Which one.
            run: Runs it; no function of this module's, which would stand in tracebacks.
            hook: The hooks that are in force for the test.
        """
        watcher, onlooker = self._watcher, self._onlooker
        try:
            if watcher.imported != len(sys.modules):
                watcher.start()  # the modules of this test may have imported another kind of loop
            if attempt.settings.blocked:
                onlooker.blocks(attempt)
        except Exception as error:  # noqa: BLE001 - no outcome may change by it
            onlooker.failed(error)
        # `watcher.enter`, written out: a call for each phase of each test. The context keeps the owner between phases.
        watcher.current = owner = attempt.owner
        watcher.phase = phase
        if watcher.owner_set() is not owner:
            watcher.set_owner(owner)
        try:
            call = _call(run, phase, self._reraise)
        except BaseException as error:
            onlooker.leave(item, phase, error)
            raise
        excinfo = call.excinfo
        if excinfo is not None or phase == "teardown":
            onlooker.leave(item, phase, excinfo.value if excinfo is not None else None)
        else:
            watcher.current = None
            watcher.phase = ""
        report: pytest.TestReport = hook.pytest_runtest_makereport(item=item, call=call)
        attempt.reports[phase] = report
        if excinfo is not None or phase == "teardown" or report.outcome != "passed":
            onlooker.made_report(item, report)
        # unittest's failures are put into the call by whoever makes the report.
        if call.excinfo is not None and self._is_interactive(call, report):
            if phase == "teardown" or not onlooker.may_leak(attempt):
                onlooker.hand_out(hook)  # before a debugger opens
            hook.pytest_exception_interact(node=item, call=call, report=report)
        return report


def _leaves(plugin: Any, item: pytest.Item) -> bool:
    """Whether a plugin says that it does not run a test."""
    ask = getattr(plugin, _TELLS.get(getattr(plugin, "__name__", ""), ""), None)
    try:
        return ask is not None and ask(item) is None
    except Exception:  # noqa: BLE001 - a marker that it cannot read, for instance, which is its own to complain of
        return False


def _refuse(set_up: Callable[[], object], error: Exception) -> None:
    set_up()  # what other plugins tear down
    raise error
