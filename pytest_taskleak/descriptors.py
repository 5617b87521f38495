"""What the operating system knows a transport by."""

from __future__ import annotations

from typing import Any

PIPE = "pipe"
"""What is noted of a transport that is made for a pipe, where it would look like a socket."""


def descriptor(transport: Any) -> int:
    """The file descriptor of a transport, -1 where it has none any more."""
    for name in ("socket", "pipe"):
        file = transport.get_extra_info(name)
        if file is not None:
            try:
                return int(file.fileno())
            except (OSError, ValueError):
                return -1
    return -1
