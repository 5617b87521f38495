"""Broken on purpose: the queue of the incident as it was before the fix, kept as a specimen. Never use it.

Its messages are futures that only a processor settles. The processor of a chat is started where a message
arrives, and nobody keeps, awaits or watches it: if it stalls or fails, the futures of its chat stay pending
for ever, and so does all that they hold. `reference_queue.MessageQueue` is the queue that cannot do this.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["BrokenMessageQueue"]

M = TypeVar("M")
R = TypeVar("R")


class BrokenMessageQueue(Generic[M, R]):
    """The incident's queue: in order within a chat, chats side by side, and leaking.

    Args:
        handler: called with the bot's instance and a message.
    """

    def __init__(self, handler: Callable[[Any, M], Awaitable[R]]) -> None:
        self._handler = handler
        self._queues: dict[str, deque[tuple[M, asyncio.Future[R]]]] = {}
        self._processing: set[str] = set()

    def enqueue(self, instance: object, chat_id: str, message: M) -> asyncio.Future[R]:
        """Return a future of the handler's result; nothing ensures that it is ever settled."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(chat_id, deque()).append((message, future))
        if chat_id not in self._processing:
            self._processing.add(chat_id)  # here, because an async function of TypeScript begins in its call
            asyncio.create_task(self._process_queue(instance, chat_id))
        return future

    async def _process_queue(self, instance: object, chat_id: str) -> None:
        queue = self._queues[chat_id]
        while queue:
            message, future = queue.popleft()
            # No time limit, and nothing around it: a handler that hangs stops the chat here, one that
            # raises ends the processor with the chat still marked as being processed.
            result = await self._handler(instance, message)
            future.set_result(result)
        del self._queues[chat_id]
        self._processing.discard(chat_id)


class IncidentFigures(NamedTuple):
    """The incident's four figures of a broken queue."""

    total_chats: int
    total_queued: int
    processing: int
    pending_promises: int


class Watched:
    """Counts for a broken queue, which cannot do so itself, what a `Monitor` wants to know.

    A future is pending as long as its message is queued, and then until the chat's processor has settled it; the
    processor that failed or hangs never does, and its chat stays marked as being processed.
    """

    def __init__(self, queue: BrokenMessageQueue[Any, Any]) -> None:
        self._queue = queue

    def get_memory_stats(self) -> IncidentFigures:
        """Return what the queue holds now."""
        queues, processing = self._queue._queues, self._queue._processing  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - they are of one module
        queued = sum(map(len, queues.values()))
        return IncidentFigures(len(queues), queued, len(processing), queued + len(processing))
