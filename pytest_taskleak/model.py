"""The records that travel from the moment a task is made to the line that a person reads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from types import CodeType

OwnerKind = Literal["test", "fixture", "block"]
Phase = Literal["setup", "call", "teardown"]


GRACE = 0.1
"""Seconds that suspects are given to end, by default."""

SEARCH = 0.5
"""Seconds of processor time that the search for who could wake leaked tasks may take, by default."""


class Owner:
    """On whose behalf concurrent work is started: one run of a test, one instance of a fixture, one block.

    Compared by identity: a test that is repeated has an owner for each attempt, a parametrized fixture one
    for each value.

    Attributes:
        kind: A test, a fixture, or a block of `assert_no_leaks`.
        nodeid: The test; for a fixture the test that was running when it was set up.
        name: The test's name, or the fixture's.
        scope: The fixture's scope; "function" for a test.
        ended: Whether the owner and its finalizers are over.
        interrupted: Whether it was cut short (KeyboardInterrupt, `pytest.exit`), so that what it left is no fault.
        blamed: Whether a leak of it was reported, so that what its leaked tasks start later is not news.
        location: The test's file, line (from 0) and domain, as pytest's reports carry them.
        outer: For a block, the owner that it is a part of, where there is one.
    """

    # What is so of nearly all of them costs a test nothing.
    ended = False
    interrupted = False
    blamed = False
    outer: Owner | None = None

    def __init__(
        self,
        kind: OwnerKind,
        nodeid: str,
        name: str,
        scope: str = "function",
        location: tuple[str, int | None, str] = ("", None, ""),
    ) -> None:
        self.kind: OwnerKind = kind
        self.nodeid = nodeid
        self.name = name
        self.scope = scope
        self.location = location

    @property
    def of_test(self) -> bool:
        """Whether what it leaves fails a single test: a test, or a fixture made for one test only."""
        return self.kind == "test" or (self.kind == "fixture" and self.scope == "function")

    def __repr__(self) -> str:
        return f"<Owner {self.kind} {self.name!r} of {self.nodeid!r}>"


Kind = Literal[
    "pending",
    "destroyed",
    "running-loop",
    "lost-exception",
    "lost-callback",
    "never-awaited",
    "future",
    "timer",
    "generator",
    "transport",
    "server",
    "subprocess",
    "thread",
    "executor",
    "open-loop",
    "growth",
    "blocked-loop",
]
"""What a leak is."""

KINDS: dict[str, tuple[Kind, ...]] = {
    "tasks": ("pending", "destroyed"),
    "futures": ("future",),
    "timers": ("timer",),
    "generators": ("generator",),
    "transports": ("transport", "server", "subprocess"),
    "threads": ("thread", "executor"),
    "loops": ("running-loop", "open-loop"),
    "errors": ("lost-exception", "lost-callback"),
    "coroutines": ("never-awaited",),
}
"""The names by which kinds are chosen, and the leaks that each stands for."""

CHOSEN_BY: dict[Kind, str] = {kind: name for name, kinds in KINDS.items() for kind in kinds}
"""The name by which a leak is chosen."""

COUNTED: dict[Kind, str] = {
    "pending": "tasks",
    "future": "futures",
    "timer": "timers",
    "generator": "async generators",
    "transport": "transports",
    "server": "servers",
    "subprocess": "subprocesses",
    "thread": "threads",
    "executor": "executor threads",
    "open-loop": "loops",
}
"""What is counted around each test, by what it would be a leak of."""


Call = tuple["CodeType", int]
"""A frame as it was: its code and the index of its last instruction; the line is looked up when it is asked for."""


Record = list[Any]
"""What was noted of a task when it was made, as it rides on the task and dies with it: what `Origin` reads.

In the order in which `Origin.of` writes it; where tasks are made it is written out, because each of them pays for it. A
list costs 130 instructions more than a tuple, which cannot be changed; an object with attributes costs 2,900 more.
"""

CREATE_TASK = asyncio.create_task.__code__
"""Most tasks are made by it, and it by the code that is looked for: a record has its instruction apart, or None."""

_RUN, _OWNER, _PHASE, _NAME, _PARENT, _DURING, _SERIAL, _LATE, _DEPTH, _SETTLED, _COUNTED, _VIA, _FIRST = range(13)

LONGEST_CHAIN = 8
"""Creating tasks that are remembered: one that starts its successor for ever must not grow a chain for ever."""


class Origin:
    """Where a task came from, read from its record."""

    __slots__ = ("_record",)

    def __init__(self, record: Record) -> None:
        """Read a record."""
        self._record = record

    @staticmethod
    def of(  # noqa: PLR0913 - the parts of a record
        run: object,
        owner: Owner | None,
        *,
        phase: str = "",
        name: str = "",
        calls: tuple[Call, ...] = (),
        during: Owner | None = None,
    ) -> Record:
        """Make the record of a task that no task made, and nobody saw being made; see `Origin`'s attributes."""
        late = owner is not None and owner.ended
        return [run, owner, phase, name, None, during, 0, late, 0, False, False, None, calls, 0]

    @property
    def run(self) -> object:
        """The recorder that wrote it; the records of another run are nobody's business."""
        return self._record[_RUN]

    @property
    def owner(self) -> Owner | None:
        """On whose behalf; None for a runner's own task, which works for whatever runs just then."""
        owner: Owner | None = self._record[_OWNER]
        return owner

    @owner.setter
    def owner(self, owner: Owner | None) -> None:
        self._record[_OWNER] = owner

    @property
    def phase(self) -> str:
        """The phase that pytest was in, "" outside of a test."""
        phase: str = self._record[_PHASE]
        return phase

    @property
    def name(self) -> str:
        """What the task runs, by qualified name."""
        name: str = self._record[_NAME]
        return name

    @property
    def parent(self) -> Origin | None:
        """Of the task that made it; None where there was none, or after `LONGEST_CHAIN` of them."""
        parent: Record | None = self._record[_PARENT]
        return Origin(parent) if parent is not None else None

    @property
    def during(self) -> Owner | None:
        """Who was busy when it was made; the owner, unless a fixture's own work made it."""
        during: Owner | None = self._record[_DURING]
        return during

    @property
    def serial(self) -> int:
        """Its place in the order in which tasks were made."""
        serial: int = self._record[_SERIAL]
        return serial

    @property
    def late(self) -> bool:
        """Whether its owner had ended before it was made."""
        late: bool = self._record[_LATE]
        return late

    @property
    def settled(self) -> bool:
        """Whether a verdict on this task was given, so that it is never given twice."""
        settled: bool = self._record[_SETTLED]
        return settled

    @settled.setter
    def settled(self, settled: bool) -> None:
        self._record[_SETTLED] = settled

    @property
    def counted(self) -> bool:
        """Whether it was counted among what a test left with a fixture."""
        counted: bool = self._record[_COUNTED]
        return counted

    @counted.setter
    def counted(self, counted: bool) -> None:
        self._record[_COUNTED] = counted

    @property
    def calls(self) -> tuple[Call, ...]:
        """The creating frames, the innermost first."""
        record = self._record
        via = record[_VIA]
        calls: list[Call] = [(CREATE_TASK, via)] if via is not None else []
        pairs = zip(record[_FIRST::2], record[_FIRST + 1 :: 2], strict=True)
        for code, at in pairs:
            if isinstance(code, tuple):
                calls += code  # pyright: ignore[reportUnknownArgumentType] - a part of a record
            elif code is not None:
                calls.append((code, at))
        return tuple(calls)
