"""Which installed distribution a file belongs to. Metadata is read when a library leaks, and never before."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALLED = ("site-packages", "dist-packages")
"""Folders that distributions are installed into."""


@functools.cache
def distribution_of(path: str) -> tuple[str, str] | None:
    """Name and version of the distribution that installed a file; None where no installed one says so.

    Guarantees: of packages that several distributions share (namespace packages) it is the one that brought this very
    file. Metadata that cannot be read is passed over.
    """
    parts = Path(path).parts
    at = max((number for number, part in enumerate(parts) if part in INSTALLED), default=len(parts))
    inside = parts[at + 1 :]
    if not inside:
        return None
    site = str(Path(*parts[: at + 1]))
    line, top = f"\n{'/'.join(inside)},", inside[0].removesuffix(".py")
    claims: list[tuple[str, str]] = []
    for distribution in _likely_first(site, top):
        with contextlib.suppress(Exception):  # somebody's broken metadata
            record = distribution.read_text("RECORD")
            if record is not None and line in f"\n{record}":
                return distribution.name, distribution.version
            if record is None and top in (distribution.read_text("top_level.txt") or "").split():
                claims.append((distribution.name, distribution.version))
    return claims[0] if len(claims) == 1 else None


def _likely_first(site: str, top: str) -> Iterator[importlib.metadata.Distribution]:
    """The distributions installed in a folder, those first that are called like a package."""
    yield from importlib.metadata.distributions(name=top, path=[site])
    yield from importlib.metadata.distributions(path=[site])


@functools.cache
def checkout_of(path: str) -> tuple[str, str, str] | None:
    """Name, version and folder of the distribution that is installed from the folder which a file is in (`pip -e`)."""
    real = os.path.realpath(path)
    found = [it for it in _checkouts() if real.startswith(f"{it[2]}{os.sep}")]
    return max(found, key=lambda it: len(it[2]), default=None)


@functools.cache
def _checkouts() -> tuple[tuple[str, str, str], ...]:
    from urllib.parse import urlsplit  # noqa: PLC0415 - needed only when something leaks
    from urllib.request import url2pathname  # noqa: PLC0415 - the same; it brings a whole client of HTTP

    found: list[tuple[str, str, str]] = []
    for distribution in importlib.metadata.distributions():
        with contextlib.suppress(Exception):  # as above
            source: dict[str, Any] = json.loads(distribution.read_text("direct_url.json") or "{}")
            if source.get("dir_info", {}).get("editable"):
                folder = os.path.realpath(url2pathname(urlsplit(str(source["url"])).path))
                found.append((distribution.name, distribution.version, folder))
    return tuple(found)


def normalized(name: str) -> str:
    """The name of a distribution as it is compared, by PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
