"""Bounds on queued messages: who is let in, who waits for room, who is dropped for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from reference_queue._lane import Lane, new_lane

if TYPE_CHECKING:
    from reference_queue._lookout import Lookout
    from reference_queue._message import Chat, Message
    from reference_queue.breaker import MemoryBreaker

__all__ = ["Policy", "Room"]

M = TypeVar("M")
R = TypeVar("R")

Policy = Literal["wait", "reject", "drop_oldest"]


class Room(Generic[M, R]):
    """Counts the queued messages and holds the line of those that wait for room.

    A message that waits is let in by the very step that frees its room. There is no moment in which room is
    promised to a producer that may be gone when it comes to take it.

    An open breaker is a bound over all. That it closes is seen by a lookout, who is there while somebody waits.
    """

    def __init__(
        self, most: int | None, most_per_chat: int | None, policy: Policy, breaker: MemoryBreaker | None = None
    ) -> None:
        self.most = most
        self.most_per_chat = most_per_chat
        self.policy = policy
        self.breaker = breaker
        self.lookout: Lookout | None = None
        self.bounded = most is not None or most_per_chat is not None or breaker is not None
        self.queued = 0
        self.waiting = 0
        self.standing: Lane[Chat[M, R]] = new_lane()
        """Chats whose first waiting message lacks room over all only; one turn each, so none starves."""
        by_age = policy == "drop_oldest" and (most is not None or breaker is not None)
        self.by_age: Lane[Message[M, R]] | None = new_lane() if by_age else None
        self.watched = self.by_age is not None
        """Whether `taken` has anything to do; spares the usual message a call."""

    def has_place(self, chat: Chat[M, R]) -> bool:
        """Say whether a new message of the chat can be let in without overtaking one that waits.

        Whoever waits does so for want of room, for it is let in with the step that makes some: so nobody of
        a chat that has room can be overtaken, except one who waits for room over all.
        """
        # Nearly always nobody stands, and then no call is made.
        if self.most_per_chat is not None and chat.present >= self.most_per_chat:
            return False
        if self.most is not None and self.queued >= self.most:
            return False
        return (self.breaker is None or self.breaker.allows()) and not (self.standing and self._anyone_stands())

    def admit(self, message: Message[M, R]) -> None:
        """Queue the message; over the bound, drop the oldest one for it (policy ``drop_oldest``)."""
        chat = message.chat
        chat.append(message)
        self.queued += 1
        if self.bounded:
            chat.present += 1
        if self.breaker is not None:
            self.breaker.passed()
        if self.by_age is not None:
            self.by_age.append(message)
        if not chat.scheduled:
            chat.pool.schedule(chat)

    def oldest_in_the_way(self, chat: Chat[M, R]) -> Message[M, R] | None:
        """Return the message to drop so that one of the chat finds room, or None if it finds room."""
        if not self._has_own_place(chat):
            return chat.first()
        if self.by_age is not None and not self._has_place_over_all():
            return self.by_age.first()
        return None

    def memory_is_full(self, chat: Chat[M, R]) -> bool:
        """Say whether it is only the breaker that keeps a message of the chat out."""
        return (
            self.breaker is not None
            and self._has_own_place(chat)
            and (self.most is None or self.queued < self.most)
            and not self.breaker.allows()
        )

    def ignore_breaker(self) -> None:
        """Let everybody in that waits for memory: nobody else comes, and those who wait take theirs already."""
        self.breaker = None
        self.let_in()

    def wait(self, message: Message[M, R]) -> None:
        """Put the message at the end of its chat's line."""
        chat = message.chat
        if chat.line is None:
            chat.line = new_lane()
        chat.line.append(message)
        message.waiting = True
        self._count_waiting(1)
        self._refill(chat)
        if self.lookout is not None and self.waiting:
            self.lookout.begin()

    def taken(self, message: Message[M, R]) -> None:
        """Note that a worker has begun a queued message; it is out of its chat's lane and of the count."""
        if self.by_age is not None:
            self.by_age.leave(message)
        if self.waiting:
            self._refill(message.chat)

    def freed(self, message: Message[M, R]) -> None:
        """Note that a queued message has left its chat's lane without being handled."""
        self.queued -= 1
        if self.bounded:
            message.chat.present -= 1
            self.taken(message)

    def left_line(self, message: Message[M, R]) -> None:
        """Note that a waiting message has given up."""
        if message.chat.line is not None:
            message.chat.line.leave(message)
        self._count_waiting(-1)

    def forget(self, chat: Chat[M, R]) -> None:
        """Keep nothing for a chat that is gone."""
        if self.bounded and chat.standing:
            self.standing.leave(chat)

    def _has_place_over_all(self) -> bool:
        if self.most is not None and self.queued >= self.most:
            return False
        return self.breaker is None or self.breaker.allows()

    def _has_own_place(self, chat: Chat[M, R]) -> bool:
        return self.most_per_chat is None or chat.present < self.most_per_chat

    def _count_waiting(self, change: int) -> None:
        self.waiting += change
        self.watched = self.waiting > 0 or self.by_age is not None
        if self.lookout is not None and not self.waiting:
            self.lookout.stop()

    def _is_due(self, chat: Chat[M, R]) -> bool:
        return chat.line is not None and chat.line.present > 0 and self._has_own_place(chat)

    def _anyone_stands(self) -> bool:
        while (chat := self.standing.first()) is not None:
            if self._is_due(chat):
                return True
            self.standing.popleft()
            chat.standing = False
        return False

    def _stand(self, chat: Chat[M, R]) -> None:
        if not chat.standing and self._is_due(chat):
            chat.standing = True
            self.standing.append(chat)

    def _refill(self, chat: Chat[M, R]) -> None:
        self._stand(chat)
        self.let_in()

    def let_in(self) -> None:
        """Let in who waits for room over all, as far as there is some."""
        while self._anyone_stands() and self._has_place_over_all():
            due = self.standing.popleft()
            due.standing = False
            message = due.line.take() if due.line is not None else None
            if message is not None:
                message.waiting = False
                self._count_waiting(-1)
                self.admit(message)
                message.admitted()
            self._stand(due)
