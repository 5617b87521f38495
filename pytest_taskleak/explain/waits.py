"""What asyncio's own waits are called, what is known of each, and what usually mends it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_taskleak.findings import Prospect

    Locals = Mapping[str, Any]
    Describe = Callable[[Locals, asyncio.AbstractEventLoop, "Wait"], "Wait"]


class Wait(NamedTuple):
    """A wait in words.

    Attributes:
        verdict: "waits on `Queue.get`".
        detail: What is known of the thing it waits for, "" for nothing.
        on: The same by a name that hints know it by.
        never: Whether nothing alive can end it.
    """

    verdict: str
    detail: str
    on: str
    never: bool = False


def _queue(verb: str) -> Describe:
    def describe(local: Locals, _loop: asyncio.AbstractEventLoop, _inner: Wait) -> Wait:
        queue: asyncio.Queue[Any] = local["self"]
        details = {
            "get": "the queue is empty" if queue.empty() else f"the queue has {queue.qsize()} items",
            "put": f"the queue is full ({queue.maxsize})",
            "join": f"{getattr(queue, '_unfinished_tasks', '?')} items got no `task_done()`",
        }
        return Wait(f"waits on `Queue.{verb}`", details[verb], f"Queue.{verb}")

    return describe


def _sleep(local: Locals, loop: asyncio.AbstractEventLoop, _inner: Wait) -> Wait:
    handle: asyncio.TimerHandle | None = local.get("h")
    if handle is None:
        return Wait("spins", "it is ready at every turn of the loop", "spins")
    left = handle.when() - loop.time()
    if left <= 0:
        return Wait("has slept", "its loop has not turned since", "sleep")
    digits = 0 if left >= _LONG else 1 if left >= _SHORT else 3
    return Wait(f"sleeps until +{left:.{digits}f} s", "", "sleep")


_LONG = 9.95
"""Seconds from which on a tenth of one is no news."""

_SHORT = 0.05
"""Seconds below which a tenth of one is no answer."""


def _plain(name: str, detail: str = "") -> Describe:
    wait = Wait(f"waits on `{name}`", detail, name)
    return lambda _local, _loop, _inner: wait


def _stream(local: Locals, _loop: asyncio.AbstractEventLoop, _inner: Wait) -> Wait:
    transport = getattr(local.get("self"), "_transport", None)
    sock = transport.get_extra_info("socket") if transport is not None else None
    descriptor = sock.fileno() if sock is not None else -1
    verdict = f"waits for fd {descriptor}" if descriptor >= 0 else "waits for a stream"
    return Wait(verdict, "a `StreamReader` with no data", "stream")


def _socket(on: str) -> Describe:
    def describe(local: Locals, _loop: asyncio.AbstractEventLoop, _inner: Wait) -> Wait:
        sock = local.get("sock")
        return Wait(f"waits for fd {sock.fileno()}" if sock is not None else "waits for a socket", "", on)

    return describe


def _around(name: str, on: str = "") -> Describe:
    """A call that waits for something else, in which the something is the news."""
    return lambda _local, _loop, inner: inner._replace(detail=inner.detail or f"inside `{name}`", on=on or inner.on)


WAITS: dict[str, Describe] = {
    "sleep": _sleep,
    "Queue.get": _queue("get"),
    "Queue.put": _queue("put"),
    "Queue.join": _queue("join"),
    "Event.wait": _plain("Event.wait", "the event is not set"),
    "Lock.acquire": _plain("Lock.acquire", "somebody holds the lock"),
    "Semaphore.acquire": _plain("Semaphore.acquire", "no slot is free"),
    "Condition.wait": _plain("Condition.wait", "nobody notified it"),
    "Condition.wait_for": _plain("Condition.wait_for", "nobody notified it"),
    "Barrier.wait": _plain("Barrier.wait", "others are missing"),
    "StreamReader._wait_for_data": _stream,
    "BaseSelectorEventLoop.sock_recv": _socket("sock_recv"),
    "BaseSelectorEventLoop.sock_recv_into": _socket("sock_recv"),
    "BaseSelectorEventLoop.sock_accept": _socket("sock_accept"),
    "BaseSelectorEventLoop.sock_connect": _socket("connect"),
    "BaseSelectorEventLoop.sock_sendall": _socket("sock_sendall"),
    "StreamWriter.drain": _plain("StreamWriter.drain", "its buffer is full"),
    "StreamWriter.wait_closed": _plain("StreamWriter.wait_closed", "the connection is open"),
    "BaseEventLoop.shutdown_default_executor": _plain("shutdown_default_executor", "a thread is at work"),
    "open_connection": _around("open_connection", "connect"),
    "open_unix_connection": _around("open_unix_connection", "connect"),
    "BaseEventLoop.create_connection": _around("create_connection", "connect"),
    "Server.serve_forever": _plain("Server.serve_forever"),
    "Server.wait_closed": _plain("Server.wait_closed", "connections are open"),
    "Process.wait": _plain("Process.wait", "the subprocess is running"),
    "Process.communicate": _plain("Process.communicate", "the subprocess is running"),
    "TaskGroup.__aexit__": _plain("TaskGroup", "its tasks go on"),
    "wait": _plain("asyncio.wait", "what it waits for goes on"),
    "as_completed.<locals>._wait_for_one": _plain("as_completed", "what it waits for goes on"),
    "_AsCompletedIterator._wait_for_one": _plain("as_completed", "what it waits for goes on"),
    "wait_for": _around("wait_for"),
}
"""By qualified name of asyncio's coroutine."""


def of_future(task: asyncio.Task[Any], future: asyncio.Future[Any] | None) -> Wait:  # noqa: PLR0911 - a case each
    """Describe a wait for a bare future: a task, a gather, a shield, a thread's result, or nobody knows what."""
    if future is None:
        cancelling = task.cancelling() if hasattr(task, "cancelling") else 0
        if cancelling:
            return Wait("cancelled, not yet finished", "", "cancelled")
        return Wait("ready to run", "its loop did not come to it", "ready")
    if isinstance(future, asyncio.Task):
        name = getattr(future.get_coro(), "__qualname__", "a task")
        return Wait(f"waits for the task `{name}`", "", "task")
    children: list[asyncio.Future[Any]] | None = getattr(future, "_children", None)
    if children is not None:
        alive = sum(not child.done() for child in children)
        return Wait("waits on `gather`", f"{alive} of {len(children)} go on", "gather")
    names = {
        getattr(callback, "__qualname__", "") for callback, *_ in getattr(future, "_callbacks", None) or () if callback
    }
    if any("_chain_future" in name for name in names):
        return Wait("waits for a thread", "its result goes to a future of the loop", "thread")
    if any(name.startswith("shield.") for name in names):
        return Wait("waits on `shield`", "what it shields goes on", "shield")
    return Wait("waits for a future", "that nobody has settled", "future")


_NOBODY = {
    "waits on `Queue.get`": "put into it",
    "waits on `Queue.put`": "take from it",
    "waits on `Queue.join`": "finish them",
    "waits on `Event.wait`": "set it",
    "waits on `Lock.acquire`": "release it",
    "waits on `Semaphore.acquire`": "release one",
    "waits on `Condition.wait`": "notify it",
    "waits on `Condition.wait_for`": "notify it",
    "waits on `Barrier.wait`": "come to it",
    "waits for a future": "settle it",
}
"""What nothing that is alive can do, by verdict."""


def foretold(wait: Wait, prospect: Prospect) -> Wait:
    """The same wait, with what was found out about who could end it."""
    if prospect == "not examined":
        unsure = "whether anything alive can end that was not examined, for want of time"
        return wait._replace(detail=f"{wait.detail}; {unsure}" if wait.detail else unsure)
    if prospect == "may wake":
        return wait
    proof = f"nothing that is alive can {_NOBODY.get(wait.verdict, 'end it')}"
    return wait._replace(
        verdict=f"never wakes, {wait.verdict}",
        detail=f"{wait.detail}, and {proof}" if wait.detail else proof,
        never=True,
    )
