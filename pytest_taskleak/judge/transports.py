"""Transports, servers and subprocesses: which of them go on by themselves."""

from __future__ import annotations

import os
from typing import Any

from pytest_taskleak.descriptors import descriptor
from pytest_taskleak.judge.grace import wait_until

_DYING = 0.1
"""Seconds that a subprocess is given that was killed when nobody's loop was there to see it die."""


def transport_is_left(transport: Any, _now: float = 0.0) -> bool:
    """Whether a transport is open, in its own right, and nobody has asked it to close.

    Not where its socket was closed underneath, nor where it is the pipe of a subprocess, or the standard input or
    output of this process. TLS has a transport of its own above that of its socket: closing that is enough.
    """
    if not _is_open(transport) or is_accepted(transport):
        return False
    protocol = transport.get_protocol()
    above = getattr(protocol, "_app_transport", None)
    if above is not None and above.is_closing():
        return False
    return type(protocol).__module__ != "asyncio.base_subprocess"


def is_accepted(transport: Any) -> bool:
    """Whether it came in through a server that goes on: then that is judged."""
    server = getattr(transport, "_server", None)
    return server is not None and server_is_left(server)


def server_is_left(server: Any, _now: float = 0.0) -> bool:
    """Whether a server has sockets, be it that it accepts or that it was never started."""
    return any(sock.fileno() >= 0 for sock in server.sockets or ())


def subprocess_is_left(transport: Any, _now: float = 0.0) -> bool:
    """Whether a subprocess runs; not one that has exited though its loop does not know it yet."""
    return transport.get_returncode() is None and not transport.is_closing() and _runs(transport)


def subprocess_is_over(transport: Any) -> bool:
    """Whether a subprocess has ended meanwhile; one that is dying is given its time."""
    return wait_until(lambda: not subprocess_is_left(transport), _DYING)


def ends_with_its_loop(thing: object) -> bool:
    """Whether closing its loop closes it as well, so that nothing can be told from it afterwards (uvloop does that)."""
    return type(thing).__module__.startswith("uvloop.")


def _is_open(transport: Any) -> bool:
    if transport.is_closing():
        return False
    number = descriptor(transport)
    return number >= 0 and not (number <= _STANDARD_ERROR and transport.get_extra_info("pipe") is not None)


_STANDARD_ERROR = 2


def _runs(transport: Any) -> bool:
    """Whether the operating system knows the process as running; asking does not take its status from who waits."""
    if not hasattr(os, "waitid"):
        return getattr(transport.get_extra_info("subprocess"), "returncode", None) is None
    try:
        return os.waitid(os.P_PID, transport.get_pid(), os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False  # somebody has waited for it
