"""What a worker process does: it handles one message after the other until its parent hangs up or ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from typing import TYPE_CHECKING

from reference_queue.errors import NotSendable
from reference_queue.executors._crossing import answer, load_handler
from reference_queue.executors._wire import Gone, receive, send

if TYPE_CHECKING:
    import socket

__all__ = ["BEGUN", "READY", "serve"]

READY, BEGUN = b"ready", b"begun"
"""What it says before it takes messages, and with each before it looks into it.

A process that dies before it says the latter has done nothing for the message, which may go to another one.
"""


def serve(sock: socket.socket, packed_handler: bytes) -> None:
    """Handle what comes over the socket."""
    # Ctrl+C reaches every process of the terminal: what becomes of the work is for the parent to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The parent may ignore this one, and what is ignored is inherited; here it has to end a worker.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, name="reference_queue parent", daemon=True).start()
    sock.settimeout(None)
    try:
        try:
            handler = load_handler(packed_handler)
        except NotSendable as error:
            send(sock, str(error).encode("utf-8", "backslashreplace"), _always)
            return
        send(sock, READY, _always)
        while True:
            packed = receive(sock, _always)
            send(sock, BEGUN, _always)
            send(sock, answer(handler, packed), _always)
    except Gone:
        pass
    finally:
        sock.close()


def _end_with_parent() -> None:
    """End when the parent does, in whatever way: a handler that is at work would not look for the end of the socket."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _always() -> bool:
    return True
