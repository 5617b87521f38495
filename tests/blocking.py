"""Blocking handlers for workers of every kind: they tell the test that they have begun, and do what it then says."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import socket
import threading

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")

_KEPT = []


class Unloadable:
    """Can be pickled and never be loaded."""

    def __reduce__(self):
        return (_refuse, ("not in here",))


def _refuse(text):
    raise LookupError(text)


class DemandingError(Exception):
    """Can be pickled; to be made anew it lacks an argument."""

    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")


class UnpicklableError(Exception):
    def __init__(self):
        super().__init__("holds a lock")
        self.lock = threading.Lock()


def visit(job):
    """Connect to the test, which knows then that the message is being handled, and follow its orders."""
    port, name = job
    connection = socket.create_connection(("127.0.0.1", port))
    with connection, connection.makefile("rw") as stream:
        print(name, os.getpid(), file=stream, flush=True)
        for order in stream:
            verb, *arguments = order.split()
            if verb == "return":
                return name.upper()
            _follow(verb, arguments, name, connection)
            print("done", file=stream, flush=True)
    raise ConnectionError(f"{name} got no order")


def _follow(verb, arguments, name, connection):
    if verb == "raise":
        raise ValueError(name)
    if verb == "exit":
        os._exit(int(arguments[0]))
    elif verb == "die":
        os.kill(os.getpid(), signal.Signals[arguments[0]])
    elif verb == "ignore":
        signal.signal(signal.Signals[arguments[0]], signal.SIG_IGN)
    elif verb == "keep":  # the connection outlives the handling: its end is that of the process
        _KEPT.append(connection.dup())
    elif verb == "fork" and os.fork() == 0:  # a process that has all the sockets, until the test is over
        with socket.create_connection(connection.getpeername()) as own:
            own.sendall(f"forked {os.getpid()}\n".encode())
            own.recv(1)
        os._exit(0)


def give(what):
    """Return or raise what the message asks for."""
    if what == "lambda":
        return lambda: None
    if what == "unloadable":
        return Unloadable()
    if what == "variable":
        return VARIABLE.get()
    if what == "where":
        return os.getpid(), threading.get_ident()
    raise {
        "value error": ValueError("it was bad"),
        "demanding": DemandingError(404, "gone"),
        "unpicklable": UnpicklableError(),
        "stop": StopIteration("over"),
        "exit": SystemExit(3),
    }[what]


class Visit:
    """A message that is being handled, as the test sees it."""

    def __init__(self, pid, reader, writer):
        self.pid = pid
        self.reader = reader
        self.writer = writer

    def order(self, order):
        self.writer.write(f"{order}\n".encode())

    async def obeyed(self, order):
        """Give an order after which the handling goes on, and wait until it is carried out."""
        self.order(order)
        assert await self.reader.readline() == b"done\n"

    async def gone(self):
        """Wait until the other side has closed the connection, as the end of its process does."""
        try:
            while await self.reader.readline():
                pass
        except ConnectionResetError:
            pass


class Gate:
    """Where the handlers connect to."""

    def __init__(self):
        self._visits = {}
        self._all = []
        self.names = []
        """Of the messages whose handling has begun, in order."""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._arrive, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error):
        self._server.close()
        for visit in self._all:
            visit.writer.close()
        await self._server.wait_closed()

    async def _arrive(self, reader, writer):
        name, pid = (await reader.readline()).decode().split()
        visit = Visit(int(pid), reader, writer)
        self._all.append(visit)
        self.names.append(name)
        self._visit(name).set_result(visit)

    def _visit(self, name):
        return self._visits.setdefault(name, asyncio.get_running_loop().create_future())

    async def begun(self, name):
        """Wait until the message of that name is being handled."""
        return await self._visit(name)

    def job(self, name):
        return self.port, name

    def enqueue(self, queue, name, **options):
        """Send a message whose chat is the first letter of its name."""
        return queue.enqueue(name[0], self.job(name), **options)
