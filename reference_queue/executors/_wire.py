"""Frames of bytes over a socket, between a process and one of its workers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["TICK", "Gone", "receive", "send"]

TICK = 1.0
"""Seconds after which a socket that is waited for asks whether the other side is alive at all.

The end of a process closes its sockets, and that is seen at once. It is not the end where the process has forked
another one, which has the socket too.
"""

_LENGTH = struct.Struct("!Q")


class Gone(Exception):  # noqa: N818 - a condition, never seen by a user
    """The other side has ended."""


def send(sock: socket.socket, frame: bytes, alive: Callable[[], bool]) -> None:
    """Send a frame; raise `Gone` if the other side has ended."""
    rest = memoryview(_LENGTH.pack(len(frame)) + frame)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except TimeoutError:
            _go_on_if(alive)
        except OSError:
            raise Gone from None


def receive(sock: socket.socket, alive: Callable[[], bool]) -> bytearray:
    """Return the next frame; raise `Gone` if the other side has ended."""
    (length,) = _LENGTH.unpack(_receive(sock, _LENGTH.size, alive))
    return _receive(sock, length, alive)


def _receive(sock: socket.socket, length: int, alive: Callable[[], bool]) -> bytearray:
    frame = bytearray(length)
    rest = memoryview(frame)
    while rest:
        try:
            received = sock.recv_into(rest)
        except TimeoutError:
            _go_on_if(alive)
            continue
        except OSError:
            raise Gone from None
        if received == 0:
            raise Gone
        rest = rest[received:]
    return frame


def _go_on_if(alive: Callable[[], bool]) -> None:
    if not alive():
        raise Gone from None
