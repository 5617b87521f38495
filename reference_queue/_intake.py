"""The way in: what becomes of a message between the call that brings it and the lane of its chat."""

from __future__ import annotations

from asyncio import get_running_loop
from contextvars import Context
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from reference_queue._check import check_seconds
from reference_queue._message import BoundedChat, Chat
from reference_queue._refusals import closed
from reference_queue._steps import handled_around, inside_handler_of
from reference_queue.errors import (
    DeadlineExceeded,
    MemoryFull,
    MessageDropped,
    QueueFull,
    ReentrantEnqueue,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

    from reference_queue._message import Message
    from reference_queue._pool import Pool
    from reference_queue._room import Room

__all__ = ["Intake"]

M = TypeVar("M")
R = TypeVar("R")


class Intake(Generic[M, R]):
    """Takes messages in, as the bounds, the policy and the state of the queue allow."""

    def __init__(self, pool: Pool[M, R], room: Room[M, R], default_deadline: float | None) -> None:
        self.pool = pool
        self.room = room
        self.chats = pool.chats
        self.ready = pool.ready
        self.default_deadline = default_deadline
        self.closed = False
        self.dropped = self.expired = self.rejected = 0
        self._at_once = not room.bounded
        """Whether a message has only to be queued: the queue is open and has no bounds."""
        self._no_context = Context()

    def close(self) -> None:
        """Take nothing in any more."""
        self.closed = True
        self._at_once = False

    def take(  # noqa: PLR0912 - each call in it is felt in the throughput
        self, entry: Message[M, R], chat_id: Hashable, body: M, deadline: float | None
    ) -> None:
        """Take a message in: queue it, put it in line for room, or raise without a trace of it.

        The caller has filled in who waits for it and its context.
        """
        if deadline is not None and not self.closed:
            check_seconds("deadline", deadline)
        if self._at_once:
            try:
                chat = self.chats.get(chat_id)
            except TypeError as error:
                raise _no_id(chat_id) from error
            entry.body = body
            entry.gone = entry.waiting = False
            entry.timer = entry.after = None
            if chat is not None:
                if chat.worker is not None and handled_around(chat) and not entry.posted:
                    raise _reentrant(chat_id)
                # `chat.append`, written out.
                entry.chat = chat
                entry.before = tail = chat.tail
                if tail is None:
                    chat.head = entry
                else:
                    tail.after = entry
                chat.tail = entry
                self.room.queued += 1
            else:
                new: Chat[M, R] = Chat()
                new.chat_id = chat_id
                new.gone = False
                new.head = new.tail = entry
                new.pool = pool = self.pool
                new.scheduled = True
                new.worker = None
                entry.chat = new
                entry.before = None
                chat = self.chats.setdefault(chat_id, new)
                self.room.queued += 1
                if chat is new:
                    ready = self.ready
                    ready.append(new)
                    if pool.live < pool.limit and pool.looking < len(ready):
                        pool.wake()
                else:  # a finalizer has sent to the same chat since it was looked for
                    entry.chat = chat
                    chat.append(entry)
        else:
            self._take_with_care(entry, chat_id, body)
        if deadline is not None or self.default_deadline is not None:
            self._set_timer(entry, deadline)

    def _take_with_care(self, entry: Message[M, R], chat_id: Hashable, body: M) -> None:
        """Take a message in where there are bounds, or somebody who looks on, if the queue is open."""
        if self.closed:
            raise closed()
        try:
            chat = self.chats.get(chat_id)
        except TypeError as error:
            raise _no_id(chat_id) from error
        if chat is None:
            new: BoundedChat[M, R] = BoundedChat()
            new.chat_id = chat_id
            new.gone = new.scheduled = new.standing = False
            new.head = new.tail = new.line = new.worker = None
            new.pool = self.pool
            new.present = 0
            chat = self.chats.setdefault(chat_id, new)
        elif chat.worker is not None and handled_around(chat) and not entry.posted:
            raise _reentrant(chat_id)
        entry.chat = chat
        entry.body = body
        entry.gone = entry.waiting = False
        entry.timer = None
        if self.room.has_place(chat):
            self.room.admit(entry)
        else:
            self._find_room(entry, chat)

    def _set_timer(self, entry: Message[M, R], deadline: float | None) -> None:
        if deadline is None:
            deadline = self.default_deadline
        if deadline is not None and not entry.gone:
            # Without the caller's context: a loop keeps cancelled timers, and what hangs on them, for a while.
            entry.timer = get_running_loop().call_later(
                deadline, self._expire, entry, deadline, context=self._no_context
            )

    def _find_room(self, entry: Message[M, R], chat: Chat[M, R]) -> None:
        """Do with a message for which there is no room what the policy says."""
        room = self.room
        if room.policy == "drop_oldest":
            oldest = room.oldest_in_the_way(chat)
            if oldest is None and room.memory_is_full(chat):
                self._refuse(chat)
            room.admit(entry)
            if oldest is not None:
                self.dropped += 1
                whose = oldest.chat.chat_id
                self.pool.take_out(oldest)
                self.pool.gave_up(oldest, "dropped")
                oldest.fail(
                    MessageDropped(
                        f"A newer message took the room of this one, the oldest of chat {whose!r}. "
                        "Raise the bound, or choose the policy 'wait' or 'reject'."
                    )
                )
        elif room.policy == "wait" and not inside_handler_of(self.pool):
            room.wait(entry)
        else:
            self._refuse(chat)

    def _refuse(self, chat: Chat[M, R]) -> NoReturn:
        self.rejected += 1
        memory = self.room.memory_is_full(chat)
        self.pool.forget_if_idle(chat)
        raise MemoryFull(self._memory_text()) if memory else QueueFull(self._full_text(chat))

    def _memory_text(self) -> str:
        breaker = self.room.breaker
        assert breaker is not None  # noqa: S101 - it is what refuses the message
        fact = (
            f"Memory is nearly full: {breaker.reading}; the breaker opened at {breaker.open_at:.0%}. "
            f"{self.room.queued} messages are queued. "
        )
        if self.room.policy == "wait":
            return fact + (
                "The caller is a handler of this queue, and its own end may free the memory; so it does not wait. "
                "Send from outside a handler, or raise the memory limit."
            )
        return fact + "Send later, raise the memory limit, or choose the policy 'wait'."

    def _full_text(self, chat: Chat[M, R]) -> str:
        room = self.room
        fact = (
            f"The queue is full: {chat.present} messages of chat {chat.chat_id!r} are queued "
            f"(max_queued_per_chat={room.most_per_chat}), {room.queued} over all (max_queued={room.most}). "
        )
        if room.policy == "wait":
            return fact + (
                "The caller is a handler of this queue, and room may depend on its own end; so it does not wait. "
                "Send from outside a handler, or raise the bound."
            )
        return fact + "Send later, raise the bound, or choose the policy 'wait' or 'drop_oldest'."

    def _expire(self, message: Message[M, R], deadline: float) -> None:
        message.timer = None
        chat = message.chat
        error = DeadlineExceeded(
            f"The message of chat {chat.chat_id!r} was not handled within its deadline of {deadline:g} s. "
            "Allow more time or find what held it up: get_memory_stats() shows queued messages and busy workers."
        )
        accepted = not message.waiting
        if not message.gone:
            self.pool.take_out(message)
            self.pool.gave_up(message, "expired")
            message.fail(error)
        elif not self.pool.call_off(message, error):
            return
        self.expired += 1
        if message.posted and accepted:
            self.pool.report("A posted message missed its deadline", chat, error)


def _no_id(chat_id: object) -> TypeError:
    return TypeError(f"chat_id={chat_id!r} is not hashable. Identify a chat by a str, an int or a tuple of such.")


def _reentrant(chat_id: Hashable) -> ReentrantEnqueue:
    return ReentrantEnqueue(
        f"A handler of chat {chat_id!r} enqueued to its own chat, directly or by way of other chats: "
        "the result cannot come before that handler ends, so waiting for it would be a deadlock. "
        "Use `await queue.post(...)` for a message whose result the handler does not need."
    )
