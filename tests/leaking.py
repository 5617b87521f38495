"""Leaks on purpose: what the tests of hints share."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from pytest_taskleak import TaskLeakError, assert_no_leaks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping

    Leak = Callable[[contextlib.AsyncExitStack], Awaitable[None]]


class Cases:
    """What leaks, by name of the cause."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._all: list[Any] = []
        self._sketched: list[Any] = []

    def all(self) -> Iterable[Any]:
        """A parameter for each: the name, what leaks, and how a block is to look."""
        return self._all

    def sketched(self) -> Iterable[Any]:
        """A parameter for each that a block would not find: the name, and what gives the leak."""
        return self._sketched

    def told(self, name: str) -> Callable[[Any], Any]:
        """Register a function that makes something real and gives the leak that it is told as."""

        def register(function: Any) -> Any:
            self.names.add(name)
            self._sketched.append(pytest.param(name, function, id=name))
            return function

        return register

    def leaks(self, name: str, *, unless: str = "", **settings: Any) -> Callable[[Leak], Leak]:
        """Register what leaks in a block, unless there is a reason why it cannot here.

        It gets a stack for what is to be done once the leak was told.
        """

        def register(function: Leak) -> Leak:
            marks = pytest.mark.skipif(bool(unless), reason=unless)
            self.names.add(name)
            self._all.append(pytest.param(name, function, settings, id=name, marks=marks))
            return function

        return register

    def waits(self, name: str, **settings: Any) -> Callable[[Any], Any]:
        """Register what a task runs that leaks in a block. What it pushes on the stack is alive, and could wake it."""

        def register(function: Any) -> Any:
            async def leak(after: contextlib.AsyncExitStack) -> None:
                start(function(after))
                await turns()

            self.leaks(name, **settings)(leak)
            return function

        return register


def start(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Make a task that nobody but its loop keeps."""
    task = asyncio.create_task(coroutine)
    del task


async def turns() -> None:
    """Let tasks come to where they wait, if nothing but their loop is needed for it."""
    for _ in range(20):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let the world come to where a condition is true."""
    while not condition():  # noqa: ASYNC110 - nobody would set an event
        await asyncio.sleep(0.001)


async def found(leak: Leak, settings: Mapping[str, Any]) -> list[str]:
    """The hints for what leaks, which is cleaned up."""
    async with contextlib.AsyncExitStack() as after:
        with pytest.raises(TaskLeakError) as caught:
            async with assert_no_leaks(**{"grace": 0.02, "cancel": True, **settings}):
                await leak(after)
        return [leak.hint for leak in caught.value.leaks]
    raise AssertionError("a stack swallows nothing")


async def pair(after: contextlib.AsyncExitStack) -> Any:
    """A connection: the reader and writer of one end, the socket of the other."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    after.callback(theirs.close)
    after.callback(writer.close)
    return reader, writer, theirs


def sockets(after: contextlib.AsyncExitStack) -> tuple[socket.socket, socket.socket]:
    both = socket.socketpair()
    for each in both:
        each.setblocking(False)  # noqa: FBT003 - as its documentation writes it
        after.callback(each.close)
    return both


async def sleeper(after: contextlib.AsyncExitStack) -> Any:
    process = await asyncio.create_subprocess_exec("sleep", "60")
    after.push_async_callback(process.wait)
    after.callback(process.kill)
    return process
