"""The records that travel from the moment a task is made to the line that a person reads."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

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


class Origin:
    """Where a task came from. It rides on the task and dies with it.

    Attributes:
        run: The recorder that wrote it; the records of another run are nobody's business.
        serial: Its place in the order in which tasks were made.
        owner: On whose behalf; None for a runner's own task, which works for whatever runs just then.
        phase: The phase that pytest was in, "" outside of a test.
        name: What the task runs, by qualified name.
        calls: The creating frames, the innermost first.
        parent: The origin of the task that made it, None where there was none, or after eight of them: a task that
            starts its successor for ever must not grow a chain for ever.
        during: Who was busy when it was made; the owner, unless a fixture's own work made it.
        settled: Whether a verdict on this task was given, so that it is never given twice.
        late: Whether its owner had ended before it was made.
        counted: Whether it was counted among what a test left with a fixture.
    """

    # What is so of nearly all of them costs a task nothing.
    settled = False
    counted = False
    late = False
    parent: Origin | None = None
    depth = 0

    def __init__(  # noqa: PLR0913, PLR0917 - written once, in the hot path, where keywords cost
        self,
        run: object,
        owner: Owner | None,
        phase: str,
        name: str,
        calls: tuple[Call, ...],
        parent: Origin | None,
        during: Owner | None,
        serial: int = 0,
    ) -> None:
        self.run = run
        self.serial = serial
        self.owner = owner
        self.phase = phase
        self.name = name
        self.calls = calls
        self.during = during
        if owner is not None and owner.ended:
            self.late = True
        if parent is not None and parent.depth < _LONGEST_CHAIN:
            self.parent = parent
            self.depth = parent.depth + 1


_LONGEST_CHAIN = 8


@dataclasses.dataclass(frozen=True, slots=True, eq=False, repr=False)
class Stall:
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
