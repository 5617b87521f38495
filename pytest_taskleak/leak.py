"""A leak in words: what travels from the verdict to the line that a person reads."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_taskleak.findings import Place
from pytest_taskleak.model import CHOSEN_BY

if TYPE_CHECKING:
    from pytest_taskleak.model import Kind, OwnerKind


class Link(NamedTuple):
    """A line of the await graph around a task.

    Attributes:
        depth: How far below the task it is.
        text: A task, a future, a function's frame, or the value of a local variable.
        place: Where a frame stands, None for all else.
    """

    depth: int
    text: str
    place: Place | None


_LONGEST = 300
"""Characters of one text that a report shows."""


def plain(text: str, longest: int = _LONGEST) -> str:
    """A text that a program chose, as one line that harms no terminal.

    Line ends become spaces; what is not printable (control characters, directional marks, lone surrogates) is written
    as Python would write it; beyond `longest` characters it says how many more there are.
    """
    if len(text) <= longest and text.isprintable():
        return text
    more = f"… ({len(text) - longest:,} more characters)" if len(text) > longest else ""
    return "".join(map(_printable, text[:longest])) + more


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character in "\r\n\t" else character.encode("unicode_escape").decode("ascii")


@dataclasses.dataclass(frozen=True, slots=True)
class Leak:
    """One piece of work that outlived its owner, or blocked its loop, in words: it refers to nothing of the user's.

    Guarantees: what the user's program named is `plain`, here and in all that is made of it.

    Attributes:
        kind: What was found.
        task: The task's name, "" where nobody gave it one.
        coroutine: Qualified name of what it runs.
        verdict: A few words: what it waits for, what became of it.
        detail: What is known of the thing it waits for, "" for nothing.
        hint: One sentence on how to mend it.
        settled: What settling and cancelling did.
        waits: Where it waits, the outermost frame first; empty when it had no frame any more.
        created: Where it was made, the innermost frame first; empty when it was made past the recorder.
        ancestors: The creating tasks, the nearest first, each with its place.
        owner_kind: A test, a fixture or a block.
        owner: Its name.
        scope: The fixture's scope.
        nodeid: The test, or the test that was running when the fixture was set up.
        phase: In which phase of the test it was made.
        children: What follows from it, folded: coroutine and what it waits for.
        holders: Who holds it, the shortest way from something alive; "nobody"; "" where that was not found out.
        suspect: The part of `holders` to look at: the last that the project's own code wrote, "" where none is.
        distribution: Name and version of the library that it is of; None where it is none's, or nobody knows.
        awaits: What awaits what, and with which local variables; empty where nobody asked for it (`-vv`).
        accepted: Why the project lives with it, "" where nothing says so.
        called: The kind that it is called by where that is another: an exception may be lost in a bare future.
    """

    kind: Kind
    task: str
    coroutine: str
    verdict: str
    detail: str
    hint: str
    settled: str
    waits: tuple[Place, ...]
    created: tuple[Place, ...]
    ancestors: tuple[tuple[str, Place | None], ...]
    owner_kind: OwnerKind
    owner: str
    scope: str
    nodeid: str
    phase: str
    children: tuple[str, ...] = ()
    holders: str = ""
    suspect: str = ""
    called: str = ""
    distribution: tuple[str, str] | None = None
    awaits: tuple[Link, ...] = ()
    accepted: str = ""

    def __post_init__(self) -> None:
        """Make plain what a program may have named as it likes."""
        for name in ("task", "coroutine", "verdict", "detail", "settled", "holders", "suspect", "accepted"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        object.__setattr__(self, "children", tuple(map(plain, self.children)))
        object.__setattr__(self, "awaits", tuple(link._replace(text=plain(link.text)) for link in self.awaits))
        object.__setattr__(self, "ancestors", tuple((plain(text), place) for text, place in self.ancestors))

    @property
    def line_to_change(self) -> Place | None:
        """The line that made the task: the innermost one that is the project's own.

        Where no such line made it (a callback of the loop did, or nobody saw), the line of the project's own at
        which it waits; else whatever is known. Where a loop was blocked, it is the line that did.
        """
        if self.kind == "blocked-loop":
            stack = self.waits[::-1]
            return next((place for place in stack if place.own), stack[0] if stack else None)
        places = (*self.created, *self.waits)
        return next((place for place in places if place.own), places[0] if places else None)

    @property
    def chosen_by(self) -> str:
        """The name in `taskleak_kinds` that stands for it."""
        return CHOSEN_BY[self.kind]

    @property
    def in_library(self) -> bool:
        """Whether no line of the project's own took part in it."""
        return self.distribution is not None or not any(place.own for place in (*self.created, *self.waits))

    @property
    def library(self) -> str:
        """The library that it is of, with its version: "aiohttp 3.13.5"; "" where that is unknown, or it is none's."""
        if self.distribution is None:
            return ""
        if self.distribution[0] != "Python":
            return plain(" ".join(self.distribution))
        module = next((place.module for place in (*self.created, *self.waits)), "")
        return f"{module.partition('/')[0].removesuffix('.py')}, {' '.join(self.distribution)}"

    @property
    def fingerprint(self) -> str:
        """The cause: the coroutine, what it waits in and where it was made, by names, so that it outlives edits."""
        import hashlib  # noqa: PLC0415 - needed only when something leaks

        await_site = next((place for place in reversed(self.waits) if place.own), None)
        created = self.line_to_change
        parts = (
            self.kind,
            self.coroutine,
            f"{await_site.module}:{await_site.function}" if await_site else "",
            f"{created.module}:{created.function}" if created else "",
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """The leak as plain values that JSON and xdist know; `from_json` makes it again."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["waits"] = [list(place) for place in self.waits]
        fields["created"] = [list(place) for place in self.created]
        fields["ancestors"] = [[text, list(place) if place else None] for text, place in self.ancestors]
        fields["children"] = list(self.children)
        fields["distribution"] = list(self.distribution) if self.distribution else None
        fields["awaits"] = [[depth, text, list(place) if place else None] for depth, text, place in self.awaits]
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Leak:
        """The leak that `to_json` was asked of."""
        fields = dict(fields)
        fields["waits"] = tuple(Place(*place) for place in fields["waits"])
        fields["created"] = tuple(Place(*place) for place in fields["created"])
        fields["ancestors"] = tuple((text, Place(*place) if place else None) for text, place in fields["ancestors"])
        fields["children"] = tuple(fields["children"])
        fields["distribution"] = tuple(fields["distribution"]) if fields["distribution"] else None
        fields["awaits"] = tuple(
            Link(depth, text, Place(*place) if place else None) for depth, text, place in fields.get("awaits", ())
        )
        return cls(**fields)


_MOST_CHILDREN = 5


def fold(leak: Leak, below: list[Leak]) -> Leak:
    """The leak with what follows from it, in words."""
    if not below:
        return leak
    words = [f"{child.coroutine}, {child.verdict}" for child in below[:_MOST_CHILDREN]]
    if len(below) > _MOST_CHILDREN:
        words.append(f"and {len(below) - _MOST_CHILDREN} more")
    return dataclasses.replace(leak, children=(*leak.children, *words))
