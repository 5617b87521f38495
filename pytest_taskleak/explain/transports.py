"""What asyncio opens, by name: whom a connection goes to, where a server listens, what a subprocess runs."""

from __future__ import annotations

import shlex
import socket
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pytest_taskleak.descriptors import PIPE, descriptor

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_taskleak.model import Kind


_INTERNET = (socket.AF_INET, socket.AF_INET6)


class Told(NamedTuple):
    """What was opened, in words.

    Attributes:
        what: The sort of thing, without what changes from run to run.
        name: An address or a command, "" for none.
        verdict: What became of it.
        detail: What else is known, "" for nothing.
        sort: Which sort of its kind it is, by a name that hints know it by; "" for no sort.
    """

    what: str
    name: str
    verdict: str
    detail: str
    sort: str = ""


def _transport(transport: Any, note: str) -> Told:
    number = descriptor(transport)
    detail = f"fd {number}" if number >= 0 else ""
    sock = transport.get_extra_info("socket")
    if sock is None or note == PIPE:
        return Told("pipe", "", "still open", detail, "pipe")
    peer, here = _end(transport, "peername"), _end(transport, "sockname")
    if sock.type == socket.SOCK_DGRAM:
        return Told("UDP socket connected" if peer else "UDP socket bound", peer or here, "still open", detail, "UDP")
    what = "TCP connection" if sock.family in _INTERNET else "unix connection"
    # Of a connection through a unix socket, one end has a name at most.
    return Told(what, peer or here, "still open", detail)


def _server(server: Any, _note: str) -> Told:
    sockets = [sock for sock in server.sockets if sock.fileno() >= 0]
    clients = getattr(server, "_clients", None)
    connections = len(clients) if clients is not None else getattr(server, "_active_count", 0)
    details = [f"fd {sockets[0].fileno()}"]
    if connections:
        details.append(f"{connections} connection{'' if connections == 1 else 's'} open")
    what = "TCP server" if sockets[0].family in _INTERNET else "unix server"
    verdict, sort = ("still serving", "") if server.is_serving() else ("never started, and not closed", "idle")
    return Told(what, _address(sockets[0].getsockname()), verdict, ", ".join(details), sort)


def _subprocess(transport: Any, note: str) -> Told:
    command: Any = getattr(transport.get_extra_info("subprocess"), "args", None) or note
    if not isinstance(command, (str, bytes)):
        command = shlex.join(_text(word) for word in command)
    words = _text(command)
    program = PurePath(words.split(maxsplit=1)[0]).name if words.strip() else "a process"
    return Told(program, words, "still running", f"pid {transport.get_pid()}")


TOLD: dict[Kind, Callable[[Any, str], Told]] = {
    "transport": _transport,
    "server": _server,
    "subprocess": _subprocess,
}
"""By kind of leak: from the thing, and what was noted when it was made."""


def _end(transport: Any, name: str) -> str:
    try:
        return _address(transport.get_extra_info(name))
    except OSError:  # uvloop asks the socket, which may be none any more
        return ""


def _address(address: object) -> str:
    """An address as people write it: "127.0.0.1:80", "[::1]:80", a path; "" for none."""
    if isinstance(address, tuple):
        parts = cast("tuple[object, ...]", address)
        host, port = str(parts[0]), parts[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return _text(address).replace("\0", "@") if address else ""


def _text(word: object) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)
