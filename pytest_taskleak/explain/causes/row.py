"""A cause of leaks, and the sentence that says what to change."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A cause, and what to change. It fits a leak of which each thing said here is true; what is empty says nothing.

    Attributes:
        text: What to change, in one sentence.
        kinds: What was found: names as in `leak.Kind`.
        state: What became of a task, where that decides: "swallows", "cancelled".
        on: What it waits for, or which sort of its kind it is; one of these.
        never: Whether it is proven that nothing alive can wake it.
        package: Where the next two are: a package, or a module outside of any.
        stands: Functions of the package in which it waits; one of these, or of the next. `*` is any of the package.
        made: Functions of the package that made it. Of asyncio's, the one that the caller wrote counts.
    """

    text: str
    kinds: tuple[str, ...] = ()
    state: str = ""
    on: tuple[str, ...] = ()
    never: bool = False
    package: str = ""
    stands: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
