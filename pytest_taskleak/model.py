"""The records that travel from the moment a task is made to the line that a person reads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

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


Prospect = Literal["never wakes", "may wake", "not examined"]
"""Whether anything that is alive could wake a pending task; "never wakes" is said only where it is proven."""


class Outlook(NamedTuple):
    """What is to be expected of a pending task.

    Attributes:
        prospect: Whether anything that is alive could wake it.
        holders: Who holds it, in words; "" where that was not looked for, or not found out.
        suspect: The part of `holders` to look at, "" for none.
    """

    prospect: Prospect = "may wake"
    holders: str = ""
    suspect: str = ""


NOT_EXAMINED = Outlook()
"""Of a task about which nothing was found out."""


class Blame(TypedDict):
    """Whose a leak is, as the fields of `Leak` tell it."""

    owner_kind: OwnerKind
    owner: str
    scope: str
    nodeid: str


def blame(owner: Owner | None) -> Blame:
    """Whose a leak is, for good; None where nobody knows."""
    owner = owner or _UNKNOWN
    return {"owner_kind": owner.kind, "owner": owner.name, "scope": owner.scope, "nodeid": owner.nodeid}


_UNKNOWN = Owner("block", "", "", scope="unknown")

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


class Stall(NamedTuple):
    """A callback, or one step of a task, that kept its loop from turning; it refers to nothing of the user's.

    Attributes:
        seconds: How long it was seen to run; it may have run a little longer.
        threshold: Seconds that a step may take.
        owner: On whose behalf it ran, None where unknown.
        phase: The phase that pytest was in, "" outside of a test.
        task: The task's name, "" for a plain callback.
        runs: Qualified name of the task's coroutine, or of the callback.
        is_task: Whether it was a step of a task.
        calls: Where it was most of the time, the innermost call first.
        origin: What was recorded of the task, None for a callback or where nobody saw.
    """

    seconds: float
    threshold: float
    owner: Owner | None
    phase: str
    task: str
    runs: str
    is_task: bool
    calls: tuple[Call, ...]
    origin: Origin | None
