"""What is found out on the way to a leak: of work that goes on, of coroutines, of steps that blocked their loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

from pytest_taskleak.model import Owner

if TYPE_CHECKING:
    from types import CodeType

    from pytest_taskleak.model import Call, Origin, OwnerKind


class Place(NamedTuple):
    """A line of code that a person can open.

    Attributes:
        path: As written by the interpreter, absolute where it can be.
        line: Counted from 1.
        function: Qualified name.
        column: Where the expression starts, counted from 0 in characters; None where unknown.
        end_column: Where it ends, None where unknown or on another line.
        own: Whether it is the project's own code: not the standard library's, not an installed package's.
        module: The path reduced to what does not change with the machine, for fingerprints.
        first_line: The first line of the function.
    """

    path: str
    line: int
    function: str
    column: int | None
    end_column: int | None
    own: bool
    module: str
    first_line: int


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


class Unawaited(NamedTuple):
    """A coroutine that was freed and never awaited; nothing of it is kept but code.

    Attributes:
        name: Its qualified name.
        code: What it would have run, None for a coroutine that is not written in Python.
        origin: File, line and function that made it and its callers, the innermost first; empty where the user does
            not have them tracked.
        dropped: The frames in which the last reference to it went, the innermost first.
        busy: On whose behalf that happened, None where unknown.
        phase: The phase that pytest was in.
        old: Whether the collector found it, and it may be of any age.
    """

    name: str
    code: CodeType | None
    origin: tuple[tuple[str, int, str], ...]
    dropped: tuple[Call, ...]
    busy: Owner | None
    phase: str
    old: bool
