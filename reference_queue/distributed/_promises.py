"""Who waits for what: the futures of the messages that one instance sends."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from reference_queue.distributed._outbox import Outbox, Sending
from reference_queue.distributed.outcome import fail, settle
from reference_queue.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reference_queue.distributed.engine import Engine, Envelope
    from reference_queue.errors import LoopEnded, QueueClosed

__all__ = ["Promises"]


class Promises:
    """Sends messages, and settles the futures of those who wait for them."""

    def __init__(self, engine: Engine, loads: Callable[[str], Any], kinds: Mapping[str, type[Exception]]) -> None:
        self._engine = engine
        self._loads = loads
        self._kinds = kinds
        self.outbox = Outbox(engine, self._stored)
        self.pending: dict[str, Sending] = {}
        """The messages of which somebody here waits for the outcome, by id."""
        self._posting: set[Sending] = set()
        """Those of which somebody waits until they are stored."""
        self._idle: list[asyncio.Future[None]] = []
        self.sent = 0

    def promise(self, envelope: Envelope, partition: int, deadline: float | None) -> asyncio.Future[Any]:
        """Send a message and return the future of its outcome, or (if it is posted) of its storing.

        Raises:
            ValueError: its id is on its way for another chat.
        """
        sending = self.pending.get(envelope.message_id) if envelope.reply else None
        if sending is None or all(future.done() for future in sending.futures):
            sending = Sending(envelope, partition)
            if envelope.reply:
                self.pending[envelope.message_id] = sending
            else:
                self._posting.add(sending)
            self.sent += 1
            self.outbox.put(sending)
        elif sending.envelope.chat_id != envelope.chat_id:
            raise ValueError(
                f"message_id={envelope.message_id!r} is on its way for chat {sending.envelope.chat_id!r} and was given "
                f"for chat {envelope.chat_id!r}. Use an id for one message of one chat."
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        sending.futures.append(future)
        timer = None if deadline is None else loop.call_later(deadline, self._expire, sending, future, deadline)
        future.add_done_callback(partial(self._done, sending, timer))
        return future

    def chats(self) -> Iterator[str]:
        """Yield the chat of each message that somebody here waits for."""
        for sending in (*self.pending.values(), *self._posting):
            yield sending.envelope.chat_id

    async def join(self) -> None:
        """Wait until nobody here waits for anything."""
        if not self.pending and not self._posting:
            return
        idle = asyncio.get_running_loop().create_future()
        self._idle.append(idle)
        try:
            await idle
        finally:
            if idle in self._idle:
                self._idle.remove(idle)

    def give_up(self, error: type[QueueClosed | LoopEnded], fact: str, advice: str) -> None:
        """Settle everything with an error of this class."""
        stored = "If the message was stored, it is handled all the same; send it again with its id to get its outcome."
        for sending in (*self.pending.values(), *self._posting):
            sending.fail(partial(error, f"{fact} {stored} {advice}"))

    def settled(self, message_id: str, outcome: str) -> None:
        """Learn the outcome of a message; this is the engine's `Settled`."""
        sending = self.pending.pop(message_id, None)
        if sending is not None:
            for future in tuple(sending.futures):
                if not future.done():
                    chat_id = sending.envelope.chat_id
                    settle(future, outcome, loads=self._loads, kinds=self._kinds, chat_id=chat_id)

    def _stored(self, sending: Sending) -> None:
        """Learn that the server has a message, or has refused it."""
        if not sending.envelope.reply:
            for future in tuple(sending.futures):
                if not future.done():
                    future.set_result(None)
        elif sending.gone:
            self._forget(sending)  # once more: the engine began to watch it meanwhile

    def _expire(self, sending: Sending, future: asyncio.Future[Any], deadline: float) -> None:
        lost = self.outbox.lost
        why = (
            "Allow more time or find what holds it up: `await queue.get_server_stats()` shows what is queued over all "
            "instances."
            if lost is None
            else f"The server is lost ({lost}); if it has stored the message, it may be handled all the same."
        )
        text = f"The message of chat {sending.envelope.chat_id!r} was not handled within its deadline of"
        fail(future, DeadlineExceeded(f"{text} {deadline:g} s. {why}"))

    def _done(self, sending: Sending, timer: asyncio.TimerHandle | None, future: asyncio.Future[Any]) -> None:
        """Let a future go that is settled or cancelled, and with the last one its message."""
        if timer is not None:
            timer.cancel()
        sending.futures.remove(future)
        if sending.futures:
            return
        sending.gone = True
        if sending.envelope.reply:
            self._forget(sending)
        else:
            self._posting.discard(sending)
        if self._idle and not self.pending and not self._posting:
            for waiter in self._idle:
                if not waiter.done():
                    waiter.set_result(None)
            self._idle.clear()

    def _forget(self, sending: Sending) -> None:
        """Have the engine forget a message, unless it has been sent once more under the same id."""
        message_id = sending.envelope.message_id
        if self.pending.get(message_id) is sending:
            del self.pending[message_id]
        if message_id not in self.pending:
            self._engine.forget(message_id)
