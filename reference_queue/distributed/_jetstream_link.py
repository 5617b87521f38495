"""One connection to a NATS server, from its making to its loss; nothing is kept for a connection after it.

nats-py can reconnect by itself. It then sends what it had not sent before, behind a gap of what was lost on the way;
so a message could be stored without the one before it. Here a connection that is lost is done with, whatever waits
for an answer of it is told so, and the engine makes another one.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# nats-py says tasks and futures without of what.

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from reference_queue.distributed._tasks import begin
from reference_queue.distributed.errors import EngineLost, EngineRefused

try:
    from nats.aio.client import Client
    from nats.errors import Error as NatsError
    from nats.errors import MaxPayloadError
except ImportError as error:  # pragma: no cover - shown by a test in a process without it
    raise ImportError(
        "reference_queue.distributed.jetstream needs nats-py, which is not installed. "
        "Install it with: pip install 'pytest-taskleak[nats]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from nats.aio.msg import Msg

__all__ = ["GONE", "TOO_LARGE", "Link", "Refused"]

_PING_EVERY = 5
"""Seconds between pings; a server that leaves two of them unanswered is lost."""

_CLOSE_IN = 1.0
"""Seconds for a server to read what is left; then the connection is cut."""

_NO_RESPONDERS = "503"

GONE = 10059
"""JetStream's number of the error that there is no such stream."""

TOO_LARGE = 10054
"""JetStream's number of the error that a message is too large."""


_log = logging.getLogger("reference_queue")


class Refused(EngineRefused):
    """The answer of the server is an error; `code` is JetStream's number of it, 0 if it has none."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class _Client(Client):
    """nats-py's client, which tells its tasks: its `close` cancels them and does not wait until they have ended.

    It also tells at once that it begins to close; nats-py's own ``closed_cb`` is called when a peer that does not read
    has read the last byte.

    Args:
        lost: called then.
    """

    def __init__(self, lost: Callable[[str], None]) -> None:
        super().__init__()
        self.closing: set[asyncio.Task[Any]] = set()
        self._lost = lost

    async def _close(self, status: int, do_cbs: bool = True) -> None:  # noqa: FBT001, FBT002 - as it is overridden
        self._lost("the connection was closed by the server, or broke, or nothing came for too long")
        # An error that the server sends makes a task of this that nobody keeps.
        task = asyncio.current_task()
        if task is not None:
            self.closing.add(task)
            task.add_done_callback(self.closing.discard)
        await super()._close(status, do_cbs)

    def tasks(self) -> set[asyncio.Task[Any]]:
        """Return the tasks that it has running."""
        subscribed = [getattr(each, "_wait_for_msgs_task", None) for each in self._subs.values()]
        own = (self._reading_task, self._ping_interval_task, self._flusher_task, *subscribed, *self.closing)
        return {task for task in own if task is not None and not task.done()} - {asyncio.current_task()}

    def abort(self) -> None:
        """Cut the connection, without waiting for a peer that does not read."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def leave(self, sid: int) -> None:
        """Have the server send nothing more for a subscription; what is on its way arrives."""
        await self._send_unsubscribe(sid)


class Link:
    """A connection: asks, publishes and listens until it is `lost`."""

    def __init__(self) -> None:
        self._client = _Client(self.fail)
        self._inbox = f"_INBOX.{uuid4().hex}"
        self._numbers = count()
        self._asked: dict[str, tuple[str, asyncio.Future[Msg]]] = {}
        """By number: the subject of each question without an answer, and who waits for that."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self.lost: asyncio.Future[EngineLost] = asyncio.get_running_loop().create_future()
        """Done when nothing can be sent any more; why."""
        self.forbidden: str | None = None
        """What the server said when it forbade to listen."""

    async def open(self, servers: Sequence[str], options: Mapping[str, Any], timeout: float) -> None:  # noqa: ASYNC109 - it is the client's
        """Connect.

        Raises:
            EngineLost: no server was reached.
            EngineRefused: one was reached, and does not let this client in.
        """
        last: list[Exception] = []

        async def note(error: Exception) -> None:
            if self._client.is_connecting:
                last[:] = [error]
            else:
                self._note(error)

        try:
            wanted: dict[str, Any] = {"connect_timeout": timeout, "ping_interval": _PING_EVERY, **options}
            # Without a timeout, who sends waits for ever when a connection is lost that is full.
            wanted.update(error_cb=note, flush_timeout=_PING_EVERY)
            wanted.update(allow_reconnect=False, max_reconnect_attempts=1, reconnect_time_wait=0)
            await self._client.connect(servers=list(servers), **wanted)
            await self._client.subscribe(f"{self._inbox}.*", cb=self._answered)
        except (OSError, NatsError, TimeoutError) as error:
            await self.aclose()
            why = last[-1] if last else error
            if "authoriz" in f"{why!r} {error!r}".lower():
                raise EngineRefused(
                    f"The NATS server at {', '.join(servers)} does not let this client in: {why}"
                ) from None
            raise EngineLost(f"No NATS server was reached at {', '.join(servers)}: {why!r}") from None
        except BaseException:  # a cancellation, too, must not leave the client's tasks behind; it is raised on
            await self.aclose()
            raise

    def _note(self, error: Exception) -> None:
        """Take note of what the client cannot raise: nobody called it."""
        if not isinstance(error, (OSError, NatsError)):
            _log.error("What came from the NATS server could not be dealt with", exc_info=error)
        elif "permissions violation" in str(error).lower():
            self._forbidden(str(error))

    def _forbidden(self, text: str) -> None:
        """Refuse what the server forbids: it drops that, and whoever asked would wait for the answer for ever."""
        told = f"The NATS server forbids what the engine needs: {text}. Allow this user more."
        _log.error(told)
        if " publish " not in text.lower():  # but to listen, and then no answer comes at all
            self.forbidden = told
            self.fail(f"it forbids what the engine needs ({text})")
        for number, (subject, future) in tuple(self._asked.items()):
            if f'"{subject.lower()}"' in text.lower():
                del self._asked[number]
                if not future.done():
                    future.set_exception(Refused(told))
                    future.exception()  # which counts as retrieving it: who asked may have gone

    def fail(self, why: str) -> None:
        """Note that the connection is of no use any more, and tell all who wait for an answer."""
        if not self.lost.done():
            self.lost.set_result(EngineLost(f"The NATS server is lost: {why}."))
        for _, future in self._asked.values():
            if not future.done():
                future.set_exception(EngineLost(f"The NATS server is lost: {why}."))
                future.exception()  # which counts as retrieving it: who asked may have gone
        self._asked.clear()

    @property
    def max_payload(self) -> int:
        """The most bytes of a message that the server takes."""
        return self._client.max_payload

    async def publish(
        self, subject: str, payload: bytes = b"", *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Send without an answer; it arrives behind what was sent before, or the link is lost."""
        if self.lost.done():
            raise EngineLost(str(self.lost.result()))
        try:
            await self._client.publish(subject, payload, reply=reply, headers=headers)
        except MaxPayloadError:
            size = len(payload)
            raise Refused(
                f"{size} bytes are more than the server takes (max_payload={self.max_payload}).", TOO_LARGE
            ) from None
        except (OSError, NatsError) as error:
            self.fail(f"sending failed with {error!r}")
            raise EngineLost(str(self.lost.result())) from None

    async def begin(
        self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None
    ) -> asyncio.Future[Msg]:
        """Send, and return the future of the answer."""
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        number = str(next(self._numbers))
        self._asked[number] = subject, future  # before it is sent: sending may wait, and the answer come meanwhile
        try:
            await self.publish(subject, payload, reply=f"{self._inbox}.{number}", headers=headers)
        except BaseException:  # a cancellation, too: nobody waits; it is raised on
            self._asked.pop(number, None)
            raise
        if self.lost.done():
            raise EngineLost(str(self.lost.result()))
        return future

    async def ask(self, subject: str, content: object = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Send JSON and return the JSON of the answer.

        Raises:
            EngineLost: the link was lost before the answer came.
            Refused: the answer is an error.
        """
        payload = b"" if content is None else json.dumps(content).encode()
        return await self.answer(await self.begin(subject, payload, headers))

    async def answer(self, begun: asyncio.Future[Msg]) -> dict[str, Any]:
        """Return the JSON of the answer to what was begun; errors are those of `ask`."""
        message = await begun
        if message.headers and message.headers.get("Status") == _NO_RESPONDERS:
            raise Refused(
                "The NATS server has no JetStream, or not this stream: start it with `nats-server -js`.", GONE
            )
        fields: dict[str, Any] = json.loads(message.data)
        error = fields.get("error")
        if error:
            raise Refused(f"The NATS server refused: {error.get('description')}.", error.get("err_code", 0))
        return fields

    async def _answered(self, message: Msg) -> None:
        _, future = self._asked.pop(message.subject.rsplit(".", 1)[1], (None, None))
        if future is not None and not future.done():
            future.set_result(message)

    async def listen(
        self, subject: str, heard: Callable[[Msg], Awaitable[None]]
    ) -> Callable[[], Coroutine[Any, Any, None]]:
        """Have `heard` called with what is published; return what ends that when all that is on its way has come."""
        subscription = await self._client.subscribe(subject, cb=heard, pending_msgs_limit=0, pending_bytes_limit=0)
        queue: asyncio.Queue[Msg] = subscription._pending_queue  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way to wait until it is empty

        async def end() -> None:
            if not self.lost.done():
                with suppress(EngineLost, Refused, NatsError):
                    await self._client.leave(subscription._id)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                    await self.ask("$JS.API.INFO")  # answered after all that was sent before
                    await self._unless_lost(queue.join())

        return end

    async def _unless_lost(self, wait: Any) -> None:
        waiting = asyncio.ensure_future(wait)
        try:
            await asyncio.wait([waiting, self.lost], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    async def aclose(self) -> None:
        """Send what is left, disconnect, and return when no task is left."""
        self._tasks |= self._client.tasks()
        loop = asyncio.get_running_loop()
        # In a task of its own, which goes on when the caller is cancelled: half closed, it would leave tasks behind.
        self._tasks.add(begin(self._client.close(), "disconnect"))
        timer = loop.call_later(_CLOSE_IN, self._client.abort)
        try:
            while left := {task for task in self._tasks | self._client.tasks() if not task.done()}:
                await asyncio.wait(left)
        finally:
            timer.cancel()
            self.fail("the connection is closed")
