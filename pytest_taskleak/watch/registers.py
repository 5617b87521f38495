"""What was made besides tasks: kept where it is made, so that nobody ever has to search the heap for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pytest_taskleak.model import Call, Owner

SPARE = 256
"""Entries that may be kept of what is gone: looking for them at every creation would cost more than they weigh."""


class Made(NamedTuple):
    """Something concurrent, as it was made; it keeps nothing of the user's alive but code.

    Attributes:
        ref: Gives the thing, None when it is gone; a weak reference, or as weak as one can be.
        key: Its `id`, to know it by when it is being finalized and weak references to it are cleared already.
        owner: On whose behalf it was made, None where unknown, or where it was judged.
        phase: The phase that pytest was in, "" outside of a test.
        calls: The creating frames, the innermost first.
        home: The `id` of its loop, 0 where the thing itself tells.
        note: What is known of it only at its creation, in words.
    """

    ref: Callable[[], Any]
    key: int
    owner: Owner | None
    phase: str
    calls: tuple[Call, ...]
    home: int = 0
    note: str = ""


class Register:
    """Of one kind, what was made and may go on, in the order made.

    Guarantees: memory follows what is alive (twice that at most, and a constant); anything may be appended in any
    thread and at any time, and nothing of the user's is kept alive.

    Attributes:
        append: Takes a `Made`, or for speed a tuple like it.
        entries: What was appended; for its length only.
        limit: The length from which on `tidy` is worth its while.
    """

    __slots__ = ("_over", "_tidiers", "append", "entries", "limit")

    def __init__(self, over: Callable[[Any], bool]) -> None:
        """Make an empty one.

        Args:
            over: Whether a thing of this kind has ended, so that it need not be kept; must be cheap.
        """
        self.entries: list[tuple[Any, ...]] = []
        self.append = self.entries.append
        self.limit = SPARE
        self._over = over
        self._tidiers = [None]  # a lock that is tried, for a sixth of what `threading.Lock` takes for that

    def alive(self) -> list[tuple[Any, Made]]:
        """What goes on, with how it was made."""
        return [
            (thing, Made(*entry))
            for entry in list(self.entries)
            if (thing := entry[0]()) is not None and not self._over(thing)
        ]

    def find(self, thing: object) -> Made | None:
        """How a thing was made that may be just about to be freed, None where unseen."""
        key = id(thing)
        for entry in reversed(self.entries):
            if entry[1] == key and entry[0]() in (thing, None):
                return Made(*entry)
        return None

    def tidy(self) -> None:
        """Let go of what has ended."""
        # `_rewrite`, written out: whenever a loop is closed, and a call for each entry is dear.
        try:
            mine = self._tidiers.pop()
        except IndexError:
            return  # another thread is at it
        entries, over = self.entries, self._over
        try:
            present = list(entries)
            # What others append meanwhile comes behind what was read, and stays.
            entries[: len(present)] = [it for it in present if (thing := it[0]()) is not None and not over(thing)]
        finally:
            self._tidiers.append(mine)
        self.limit = 2 * len(entries) + SPARE

    def drop_last(self, key: int) -> None:
        """Let go of what has that key, if it was made last: of most kinds there is one, which ends soon."""
        entries = self.entries
        if not entries:
            return
        try:
            if entries[-1][1] != key:
                return
            mine = self._tidiers.pop()
        except IndexError:
            return  # another thread is at it
        try:
            # Whoever appends meanwhile does so behind it.
            last = len(entries) - 1
            if last >= 0 and entries[last][1] == key:
                del entries[last]
        finally:
            self._tidiers.append(mine)

    def settle(self, keys: Collection[int]) -> None:
        """These were judged: nobody owns them any more, though they are counted while they go on."""
        if keys:
            self._rewrite(lambda entry: (*entry[:2], None, *entry[3:]) if entry[1] in keys else entry)

    def replace(self, key: int, made: Made) -> None:
        """Put what a thing goes on as in its place."""
        self._rewrite(lambda entry: made if entry[1] == key else entry)

    def give(self, owners: Mapping[int, Owner]) -> None:
        """Make others the owners of these."""
        if owners:
            self._rewrite(
                lambda entry: (*entry[:2], owners[entry[1]], *entry[3:]) if entry[1] in owners else entry,
            )

    def _rewrite(self, change: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> None:
        try:
            mine = self._tidiers.pop()
        except IndexError:
            return  # another thread is at it
        try:
            present = list(self.entries)
            # What others append meanwhile comes behind what was read, and stays.
            self.entries[: len(present)] = [
                change(entry) for entry in present if (thing := entry[0]()) is not None and not self._over(thing)
            ]
        finally:
            self._tidiers.append(mine)
