"""What mends a loop that is blocked: each cause from one that really is."""

import asyncio
import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from unittest import mock

import pytest

from pytest_taskleak import TaskLeakError, assert_no_leaks
from pytest_taskleak.explain.causes.workers import BLOCKS

CASES = {}
"""By name of the cause: a function that blocks its loop for some seconds."""


def blocks(name):
    def register(function):
        CASES[name] = function
        return function

    return register


# What blocks a loop has to block: these wait for nothing, they are the leak.


@blocks("time.sleep")
def _(_after, seconds):
    time.sleep(seconds)


@blocks("io")
def _(after, seconds):
    ours, theirs = socket.socketpair()
    after.callback(ours.close)
    after.callback(theirs.close)
    ours.settimeout(seconds)
    with contextlib.suppress(TimeoutError):
        ours.recv(1)


@blocks("file")
def _(after, seconds):
    read, write = os.pipe()
    threading.Timer(seconds, os.write, [write, b"!"]).start()
    with os.fdopen(read, "rb", buffering=0) as file:
        file.read(1)
    os.close(write)


@blocks("database")
def _(after, seconds):
    connection = sqlite3.connect(":memory:")
    after.callback(connection.close)
    count = "with recursive it(n) as (select 1 union all select n + 1 from it limit ?) select count(*) from it"
    connection.execute(count, [round(20_000_000 * seconds)])


@blocks("names")
def _(after, seconds):
    """No name server is slow on demand, so the call of C is replaced, below all that is looked at."""
    slow = mock.patch(
        "_socket.getaddrinfo",
        eval("lambda *_: sleep(seconds) or []", {"sleep": time.sleep, "seconds": seconds}),  # noqa: S307 - no code of ours
    )
    after.enter_context(slow)
    socket.getaddrinfo("localhost", 80)


@blocks("input")
def _(after, seconds):
    """A pipe in the place of the terminal, which the tests have none of."""
    read, write = os.pipe()
    after.enter_context(mock.patch("sys.stdin", after.enter_context(os.fdopen(read, encoding="utf-8"))))
    threading.Timer(seconds, os.write, [write, b"!\n"]).start()
    input()
    os.close(write)


@blocks("import")
def _(after, seconds):
    """A module that takes its time, in a folder as installed ones are."""
    folder = Path(after.enter_context(tempfile.TemporaryDirectory()), "site-packages")
    folder.mkdir()
    (folder / "slow_to_import.py").write_text(f"import time; time.sleep({seconds})", encoding="utf-8")
    after.enter_context(mock.patch("sys.path", [str(folder), *sys.path]))
    after.callback(sys.modules.pop, "slow_to_import")
    import slow_to_import  # noqa: F401, PLC0415 - it is what blocks


@blocks("process")
def _(_after, seconds):
    subprocess.run([sys.executable, "-c", f"import time; time.sleep({seconds})"], check=True)


@blocks("another thread")
def _(_after, seconds):
    threading.Event().wait(seconds)


@blocks("computes")
def _(_after, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@blocks("urllib")
def _(after, seconds):
    listener = socket.create_server(("127.0.0.1", 0))
    after.callback(listener.close)
    with contextlib.suppress(urllib.error.URLError, TimeoutError):
        urllib.request.urlopen("http://{}:{}".format(*listener.getsockname()), timeout=seconds)  # noqa: S310 - of this test


async def blocked(function, after, seconds):
    await asyncio.sleep(0)
    function(after, seconds)


@pytest.mark.parametrize("name", CASES)
async def test_each_cause_of_a_blocked_loop_is_told_from_a_real_one(name, chosen):
    for seconds in (0.05, 0.25, 1.0):  # on a busy machine who looks on may come too late
        async with contextlib.AsyncExitStack() as after:
            with contextlib.suppress(TaskLeakError):
                async with assert_no_leaks(blocked=0.02):
                    await asyncio.create_task(blocked(CASES[name], after, seconds))
        if name in chosen:
            return
    raise AssertionError(f"{name} is not among {chosen}")


def test_there_is_a_case_for_every_cause():
    assert CASES.keys() == BLOCKS.keys()
