"""Runs a test again and again without reporting it, each time in fresh fixtures of its own."""

from __future__ import annotations

import copy
import dataclasses
import linecache
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from _pytest import runner

from pytest_taskleak import fixtures
from pytest_taskleak.growth.heap import Root
from pytest_taskleak.growth.repeated import Counts
from pytest_taskleak.leak import Leak
from pytest_taskleak.letter import Letter, carry, read
from pytest_taskleak.model import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest

    from pytest_taskleak.judge import LiveFixture
    from pytest_taskleak.places import Places

_WARM_UPS = 2
"""Runs before the first count: the first fills the caches, the second what the first has left out."""


@dataclasses.dataclass(slots=True, eq=False)
class Repeated:
    """What the repetitions of a test have left for its report.

    Attributes:
        over: Whether one of them did not pass: it is the result, and the test is not run again.
        leaks: What grows, or what one of them leaked.
        letter: What was found of others meanwhile.
        failed: A teardown that failed.
    """

    over: bool = False
    leaks: list[Leak] = dataclasses.field(default_factory=list[Leak])
    letter: Letter = dataclasses.field(default_factory=Letter)
    failed: pytest.TestReport | None = None

    def tell(self, teardown: pytest.TestReport) -> None:
        """Let the last report of the test tell it."""
        carry(teardown, self.letter)
        if self.failed is not None and teardown.passed:
            teardown.outcome, teardown.longrepr = self.failed.outcome, self.failed.longrepr
            teardown.sections = self.failed.sections


class Repetitions:
    """The repetitions of one test."""

    def __init__(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        places: Places,
        live: Mapping[Any, LiveFixture],
    ) -> None:
        """Make them for a test that has not run yet.

        Args:
            item: The test.
            nextitem: The test after it.
            places: Tells the project's own modules.
            live: The fixtures that are set up, by their definitions.
        """
        self._item: Any = item
        self._nextitem = nextitem
        self._places = places
        # After a repetition a test of the same place comes next, so that wider fixtures stay.
        self._sibling: Any = copy.copy(item)
        _let_go(self._sibling)
        self._sections = len(self._item._report_sections)  # noqa: SLF001 - pytest has no public name for it
        self._properties = len(item.user_properties)

        def kept() -> list[Root]:
            return [
                Root(f"fixture `{it.owner.name}`", value)
                for definition, it in live.items()
                for value in fixtures.values(definition)
            ]

        self._counts = Counts(_tools(item.config, places), _own_modules(item, places), kept)

    def run(self, times: int, failed: Callable[[Exception], None]) -> Repeated:
        """Run the test, after warm-ups, so many times, as long as it passes and leaves nothing but objects.

        Args:
            times: How often objects are counted after a run.
            failed: Told of a defect in the counting, which changes nothing else.
        """
        repeated = Repeated()
        option = self._item.config.option
        if not hasattr(self._item, "_initrequest") or option.setuponly or option.setupplan:
            return repeated  # not a test with fixtures that can be made anew, or not run at all
        for number in range(1 - _WARM_UPS, times + 1):
            if not self._passes(repeated):
                return repeated
            if number >= 0:
                try:
                    self._counts.count()
                except Exception as error:  # noqa: BLE001 - no outcome may change by it
                    failed(error)
                    return repeated
        try:
            repeated.leaks = self._grown()
        except Exception as error:  # noqa: BLE001 - no outcome may change by it
            failed(error)
        return repeated

    def _passes(self, repeated: Repeated) -> bool:
        """Run the test once; whether it passed and left nothing but, perhaps, objects."""
        item = self._item
        run = cast("Any", runner).call_and_report
        item._initrequest()  # noqa: SLF001 - as pytest does before a test is run again
        self._forget_reports()
        try:
            passed = all(run(item, when, log=False).passed for when in ("setup", "call"))
            # What did not pass is the last run: wider fixtures end with it where they must.
            nextitem = self._sibling if passed else self._nextitem
            if item.session.shouldfail or item.session.shouldstop:
                nextitem = None
            teardown = run(item, "teardown", log=False, nextitem=nextitem)
        finally:
            _let_go(item)
        repeated.over = not passed
        if not passed:
            return False
        self._forget_reports()
        letter = read(teardown)
        repeated.leaks = [leak for found in letter.shown for leak in found.leaks]
        repeated.letter.late += letter.late
        repeated.letter.defects += letter.defects
        repeated.failed = teardown if teardown.failed else None
        return not (repeated.leaks or repeated.failed)

    def _forget_reports(self) -> None:
        """Take back what the last run has left on the item for its report."""
        del self._item._report_sections[self._sections :]  # noqa: SLF001 - as above
        del self._item.user_properties[self._properties :]

    def _grown(self) -> list[Leak]:
        item = self._item
        test = Owner("test", item.nodeid, item.name, location=item.location)
        path, line, _ = item.reportinfo()
        defined = self._places.line(str(path), _after_decorators(str(path), line + 1)) if line is not None else None
        return self._counts.leaks(test, defined, self._places)


def _after_decorators(path: str, first: int) -> int:
    """The line of the `def` of a function that begins, with its decorators, at `first`."""
    for line in range(first, len(linecache.getlines(path)) + 1):
        if linecache.getline(path, line).lstrip().startswith(("def ", "async def ")):
            return line
    return first


def _let_go(item: Any) -> None:
    """Let go of a run's fixtures, and of the instance of the test's class."""
    item._request = False  # noqa: SLF001 - as pytest itself does after a run
    item.funcargs = None
    if getattr(item, "_instance", None) is not None:
        del item._instance  # noqa: SLF001 - a further run would have the same `self`
        item._obj = None  # noqa: SLF001 - the method of that instance; pytest looks it up when it is asked for


def _tools(config: pytest.Config, places: Places) -> set[str]:
    """Modules of the plugins that are not the project's own, by name."""
    names: set[str] = set()
    for plugin in config.pluginmanager.get_plugins():
        name = plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__
        module = sys.modules.get(name)
        top = name.partition(".")[0]
        if not places.own(getattr(module, "__file__", None) or ""):
            # Some plugins are a part of a library whose objects are the user's.
            names.add(top if "pytest" in top else name)
    return names


def _own_modules(item: pytest.Item, places: Places) -> list[str]:
    """Modules of the project's own, by name, the test's first."""
    found = [getattr(getattr(item, "module", None), "__name__", "")]
    return found + [
        name for name, module in list(sys.modules.items()) if places.own(getattr(module, "__file__", None) or "")
    ]
