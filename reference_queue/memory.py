"""How full the memory is that this process may use: the nearest of all limits that are set for it.

Linux tells all of it in files: the cgroups of the process (version 1 and 2, with every group above, each of which has a
limit of its own), what ``setrlimit`` set, and the machine. Elsewhere there is nothing to read without a library of
C code; `Meter` says so when it is made, and `reference_queue.MemoryBreaker` takes a function of yours in its place.

Sources: the kernel's ``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1/memory.rst``, ``proc_pid_status(5)``,
``proc_meminfo(5)``, ``getrlimit(2)``.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from reference_queue.errors import MemoryUnknown

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

__all__ = ["Meter", "Reading", "give_back", "resident"]

_UNLIMITED = 2**60
"""More than any machine has: version 1 writes "no limit" as the largest number of pages, about 2**63."""

_HIGH = "memory.high"
"""The limit of version 2 above which nothing is killed, but every process of the group is slowed down until it has
given memory back: a queue that goes on there stands still."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How much of a limit is used."""

    used: int
    """Bytes."""

    limit: int
    """Bytes; above 0."""

    source: str
    """Whose limit it is: "cgroup /app", "RLIMIT_AS", "the machine" and so on."""

    @property
    def ratio(self) -> float:
        """The used part of the limit, 1.0 for all of it."""
        return self.used / self.limit

    def __str__(self) -> str:
        return f"{self.ratio:.0%}, {_mib(self.used)} of {_mib(self.limit)} ({self.source})"


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def resident() -> int:
    """Return the bytes of this process that are in memory now (its resident set).

    It may not fall when objects are freed: Python and the C library keep memory for what comes next.

    Raises:
        MemoryUnknown: there is no ``/proc`` to read it from.
    """
    return _status(Path("/"), "VmRSS")


def give_back() -> None:
    """Ask the C library to give the memory that is free in its heap back to the system, where it can be asked.

    glibc keeps up to 64 MiB at the heap's top, and all that is free below something in use, for what comes next
    (source: ``mallopt(3)``, M_TRIM_THRESHOLD; ``malloc_trim(3)``). Costs milliseconds for a gigabyte.
    """
    import ctypes  # noqa: PLC0415 - seldom needed, and not cheap

    with suppress(OSError, AttributeError, TypeError):  # another C library; Windows has no handle of the process itself
        ctypes.CDLL(None).malloc_trim(0)


class Meter:
    """Reads how full memory is; each call reads anew, in well under a millisecond.

    Args:
        limit: bytes; a limit of your own for the resident set of this process, beside those of the system.
        root: the folder in which ``proc`` and ``sys`` are, for tests.

    Raises:
        MemoryUnknown: the system tells nothing.
    """

    def __init__(self, limit: int | None = None, *, root: str | Path = "/") -> None:
        self._limit = limit
        self._root = Path(root)
        self._groups = _groups(self._root)
        try:
            self()
        except MemoryUnknown as error:
            raise MemoryUnknown(
                f"The memory in use cannot be read on this system ({sys.platform}): {error} "
                "Pass a function that returns a Reading: MemoryBreaker(meter=...)."
            ) from error

    def __call__(self) -> Reading:
        """Return the reading whose limit is nearest to being reached.

        That is not always the smallest limit: a group above may be filled by its other processes.

        Raises:
            MemoryUnknown: nothing could be read.
        """
        readings = list(self._readings())
        if not readings:
            raise MemoryUnknown(f"there is neither a cgroup nor a limit nor {self._root / 'proc/meminfo'}.")
        return max(readings, key=lambda reading: reading.ratio)

    def _readings(self) -> Iterator[Reading]:
        # What cannot be read limits nothing that could be told: a group that went, a file that is forbidden.
        if self._limit is not None:
            yield Reading(_status(self._root, "VmRSS"), self._limit, "the limit given")
        for group in self._groups:
            with suppress(OSError, ValueError):
                yield from group.reading()
        for name, field in (("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")):
            limit = _rlimit(name)
            if limit:
                with suppress(OSError):
                    yield Reading(_status(self._root, field), limit, name)
        with suppress(OSError):
            yield _machine(self._root)


class _Group(NamedTuple):
    """A cgroup with a file that tells a limit, one with its usage, and the line of the cache that can be dropped."""

    folder: Path
    name: str
    limit: str
    usage: str
    droppable: str

    def reading(self) -> Iterator[Reading]:
        """Yield what is used of the limit, nothing where there is no limit."""
        text = (self.folder / self.limit).read_text(encoding="ascii").strip()
        if text == "max" or not 0 < int(text) < _UNLIMITED:
            return
        used = int((self.folder / self.usage).read_text(encoding="ascii"))
        # Pages of files that nobody has used for a while go before anything is killed.
        dropped = _field(self.folder / "memory.stat", self.droppable)
        told = f"cgroup {self.name}" + (", memory.high" if self.limit == _HIGH else "")
        yield Reading(max(used - dropped, 0), int(text), told)


def _groups(root: Path) -> list[_Group]:
    """Return the memory cgroups of this process and all above them that can be seen."""
    found: list[_Group] = []
    mounts = {kind: (folder, top) for kind, folder, top in _mounts(root)}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers and "cgroup2" in mounts:
            folder, top = mounts["cgroup2"]
            limits: tuple[str, ...] = ("memory.max", _HIGH)
            files = ("memory.current", "inactive_file")
        elif "memory" in controllers.split(",") and "cgroup" in mounts:
            folder, top = mounts["cgroup"]
            limits = ("memory.limit_in_bytes",)
            files = ("memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        found += [
            _Group(folder / below.lstrip("/"), below, limit, *files) for below in _up(path, top) for limit in limits
        ]
    return found


def _up(path: str, top: str) -> Iterator[str]:
    """Yield a group's path below the mount and those above it, up to the mount's own.

    `top` is what the mount shows of the hierarchy. A container may see its group from inside ("/"), from outside
    (the path begins with `top`), or not at all ("/../..").
    """
    below = PurePosixPath(path)
    if ".." in below.parts:
        below = PurePosixPath("/")
    elif top != "/" and below.is_relative_to(top):
        below = "/" / below.relative_to(top)
    yield str(below)
    yield from map(str, below.parents)


def _mounts(root: Path) -> Iterator[tuple[str, Path, str]]:
    """Yield the kind, the folder and the shown top of each mounted hierarchy that can limit memory."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            top, folder = before.split(" ")[3:5]
            yield kind, root / folder.lstrip("/"), top


def _rlimit(name: str) -> int:
    """Return a limit of `setrlimit`, 0 for none."""
    number: int | None = getattr(resource, name, None)
    if resource is None or number is None:
        return 0
    soft = resource.getrlimit(number)[0]
    return soft if 0 < soft < _UNLIMITED else 0


def _machine(root: Path) -> Reading:
    path = root / "proc/meminfo"
    total = _field(path, "MemTotal:") * 1024
    available = _field(path, "MemAvailable:") * 1024
    if not total or not available:  # kernels before 3.14 do not estimate it
        raise MemoryUnknown(f"{path} tells no MemTotal and MemAvailable.")
    return Reading(total - available, total, "the machine")


def _status(root: Path, field: str) -> int:
    """Return a size of this process, in bytes."""
    path = root / "proc/self/status"
    kib = _field(path, f"{field}:")
    if not kib:
        raise MemoryUnknown(f"{path} tells no {field}.")
    return kib * 1024


def _field(path: Path, name: str) -> int:
    """Return the number after a name at the beginning of a line; 0 where there is none."""
    for line in _lines(path):
        words = line.split(None, 2)
        if len(words) > 1 and words[0] == name:
            return int(words[1])
    return 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
