"""Who is busy while a fixture is set up and finalized, and which fixtures live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_taskleak import fixtures
from pytest_taskleak.model import Owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    import pytest

    from pytest_taskleak.attempt import Attempt
    from pytest_taskleak.gate import Gate
    from pytest_taskleak.judge import LiveFixture
    from pytest_taskleak.settings import Settings


_RUNNERS = frozenset({"pytest_asyncio.plugin"})
"""Modules whose fixtures of a test's own are the runner of that test, and nothing else."""


class Setup:
    """One setup of a fixture, until its finalizers are over; called, it hears that the first of them is to run."""

    __slots__ = ("_before", "_definition", "_request", "_setups", "owner")

    def __init__(
        self, setups: Setups, owner: Owner, definition: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> None:
        """Note who is busy before it."""
        self.owner = owner
        self._setups = setups
        self._definition = definition
        self._request = request
        watcher = setups.watcher
        self._before: tuple[Owner | None, str] = watcher.current, watcher.phase

    def roots(self) -> list[object]:
        """What the fixture keeps at the moment."""
        return fixtures.roots(self._definition, self._request)

    def can_clean_up(self) -> bool:
        """Whether anything runs at its end."""
        return fixtures.can_clean_up(self._definition)

    def is_over(self) -> None:
        """It is set up, or has failed to be."""
        try:
            self._setups.watcher.enter(*self._before)
            self._setups.live[self._definition] = self
            # Finalizers run in the reverse order: this one is the first of the fixture's own.
            self._definition.addfinalizer(self)
        except Exception as error:  # noqa: BLE001 - no outcome may change by it
            self._setups.failed(error)

    def __call__(self) -> None:
        """The first of its finalizers is about to run."""
        # Nothing here can fail but `wider_fixture_ends`, which contains what does.
        watcher = self._setups.watcher
        if self.owner.scope != "function" and watcher.phase == "teardown":
            self._setups.wider_fixture_ends()
        self._before = watcher.current, watcher.phase
        watcher.enter(self.owner, "teardown")

    def has_ended(self) -> None:
        """The last of its finalizers runs: those of the fixture's own are over."""
        setups = self._setups
        if setups.live.get(self._definition) is not self:
            return
        try:
            del setups.live[self._definition]
            self.owner.ended = True
            setups.watcher.enter(*self._before)
            setups.ended(self.owner)
        except Exception as error:  # noqa: BLE001 - as above
            setups.failed(error)


class Setups:
    """Tells the recorder which fixture is busy.

    Guarantees: a fixture's setups and finalizers may be nested in those of others; nothing of one is kept when it has
    ended; a defect is given to `failed` and changes nothing else.

    Attributes:
        attempt: The attempt at a test that is under way, None between tests.
        watcher: The recorder.
        live: What is set up, by its definition.
        failed: Told of a defect of the plugin's own.
        wider_fixture_ends: Called before a fixture ends that may outlive a test, while one is torn down.
    """

    def __init__(
        self, gate: Gate[Any], marked: dict[Owner | None, Settings], wider_fixture_ends: Callable[[], None]
    ) -> None:
        """Make it for a run.

        Args:
            gate: Whose recorder is told, and whose live fixtures these are.
            marked: What holds for owners whose test has a marker; a fixture of such a test's own is added.
            wider_fixture_ends: As above.
        """
        self.attempt: Attempt | None = None
        self.watcher = gate.watcher
        self.live: dict[object, LiveFixture] = gate.fixtures
        self.failed = gate.failed
        self.wider_fixture_ends = wider_fixture_ends
        self._gate = gate
        self._workers = gate.watcher.workers
        self._runners: dict[object, CodeType] = {}  # so many that a run has of them
        self._marked = marked

    def begins(self, definition: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Setup | None:
        """A fixture is about to be set up; None outside of tests, and where it is none of the user's affair."""
        attempt = self.attempt
        if attempt is None:
            return None
        try:
            self._workers.runner = runner = self._runners.get(definition)
            if runner is not None:
                return None
            scope, func = definition.scope, definition.func
            if scope == "function" and getattr(func, "__module__", None) in _RUNNERS and hasattr(func, "__code__"):
                # All that runs in its loop is the test's.
                self._workers.runner = self._runners[definition] = func.__code__
                return None
            test = attempt.owner
            owner = Owner("fixture", test.nodeid, definition.argname, scope, test.location)
            if scope == "function":
                attempt.owners.append(owner)
                if test in self._marked:
                    self._marked[owner] = attempt.settings
            setup = Setup(self, owner, definition, request)
            definition.addfinalizer(setup.has_ended)
            self.watcher.enter(owner, "setup")
        except Exception as error:  # noqa: BLE001 - no outcome may change by it
            self.failed(error)
            return None
        return setup

    def ended(self, fixture: Owner) -> None:
        """A fixture's own finalizers are over."""
        self._gate.ended(fixture)
        if self.attempt is not None and self.watcher.phase == "teardown" and fixture.scope != "function":
            self.attempt.ended_fixtures = {*self.attempt.ended_fixtures, fixture}
