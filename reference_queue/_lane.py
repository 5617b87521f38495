"""A first-in, first-out line whose members can also leave from the middle."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol, TypeVar

__all__ = ["Lane", "new_lane"]

_MOST_HOLES = 32
"""So many places of members that left may stay in a lane before it is closed up."""


class _Member(Protocol):
    gone: bool


T = TypeVar("T", bound=_Member)


class Lane(deque[T]):
    """A deque in which a member that left is a hole until it is popped or the lane is closed up.

    `leave` costs amortised constant time, and holes never outnumber members by more than a constant: memory
    follows the members present, even when those who give up are never reached from the front. That is what
    keeps callers that time out and try again from filling the line of those that wait for room.

    Make one with `new_lane`.
    """

    __slots__ = ("holes",)

    holes: int
    """Members that are gone and still in the deque; who pops a member that is gone takes one off."""

    def leave(self, member: T) -> None:
        """Mark a member of this lane as gone; it must be present."""
        member.gone = True
        self.holes += 1
        if self.holes > _MOST_HOLES and self.holes * 2 > len(self):
            kept = [each for each in self if not each.gone]
            self.clear()
            self.extend(kept)
            self.holes = 0

    def take(self) -> T | None:
        """Remove and return the first member, or None if there is none. The member is not marked gone."""
        while self:
            member = self.popleft()
            if not member.gone:
                return member
            self.holes -= 1
        return None

    @property
    def present(self) -> int:
        """How many members there are."""
        return len(self) - self.holes

    def first(self) -> T | None:
        """Return the first member without removing it, or None if there is none."""
        while self:
            if not self[0].gone:
                return self[0]
            self.popleft()
            self.holes -= 1
        return None


def new_lane() -> Lane[Any]:
    """Return an empty lane. A function, because an `__init__` costs more than the lane itself."""
    lane: Lane[Any] = Lane()
    lane.holes = 0
    return lane
