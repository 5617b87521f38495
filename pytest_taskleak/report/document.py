"""Leaks as one document of plain values, for JSON; `schema.json` beside this file says what is in it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pytest_taskleak.report.text import grouped, one_line, source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_taskleak.findings import Place
    from pytest_taskleak.leak import Leak

VERSION = 1
"""Raised where a reader of the version before would misread the document; additions do not raise it."""


def as_json(found: Sequence[tuple[str, str, Sequence[Leak]]], root: str) -> str:
    """The document as text.

    Args:
        found: Of each test its node id ("" where nobody knows whose they are), how it is judged, and what it left.
        root: The folder that paths below it are relative to.
    """
    return json.dumps(document(found, root), ensure_ascii=False, indent=2) + "\n"


def document(found: Sequence[tuple[str, str, Sequence[Leak]]], root: str) -> dict[str, Any]:
    """The document: see `as_json`."""
    tests: dict[str, list[str]] = {}
    for nodeid, _, leaks in found:
        for leak in leaks:
            tests.setdefault(leak.fingerprint, []).append(nodeid)
    every = [leak for _, _, leaks in found for leak in leaks]
    return {
        "schema_version": VERSION,
        "tool": {"name": "pytest-taskleak", "version": importlib.metadata.version("pytest-taskleak")},
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "causes": [
            {
                "fingerprint": leak.fingerprint,
                "message": one_line(leak, count, root),
                **_line(leak, root),
                "library": leak.in_library,
                "distribution": _distribution(leak),
                "count": count,
                "tests": sorted(set(tests[leak.fingerprint])),
            }
            for leak, count in grouped(every)
        ],
        "leaks": [_leak(nodeid, mode, leak, root) for nodeid, mode, leaks in found for leak in leaks],
    }


def _leak(nodeid: str, mode: str, leak: Leak, root: str) -> dict[str, Any]:
    return {
        "fingerprint": leak.fingerprint,
        "kind": leak.kind,
        "mode": mode,
        "reason": leak.accepted,
        "test": nodeid,
        "owner": {"kind": leak.owner_kind, "name": leak.owner, "scope": leak.scope},
        "phase": leak.phase,
        "task": leak.task,
        "runs": leak.coroutine,
        "verdict": leak.verdict,
        "detail": leak.detail,
        "fix": leak.hint,
        "settled": leak.settled,
        "library": leak.in_library,
        "distribution": _distribution(leak),
        **_line(leak, root),
        "waits": [_frame(place, root) for place in leak.waits],
        "created": [_frame(place, root) for place in leak.created],
        "creators": [
            {"task": text, "created": _frame(place, root) if place else None} for text, place in leak.ancestors
        ],
        "children": list(leak.children),
        "awaits": [
            {"depth": depth, "text": text, "frame": _frame(place, root) if place else None}
            for depth, text, place in leak.awaits
        ],
        "holders": leak.holders,
        "suspect": leak.suspect,
    }


def _distribution(leak: Leak) -> dict[str, str] | None:
    return dict(zip(("name", "version"), leak.distribution, strict=True)) if leak.distribution is not None else None


def _line(leak: Leak, root: str) -> dict[str, Any]:
    place = leak.line_to_change
    return {"path": _path(place, root) if place else None, "line": place.line if place else None}


def _frame(place: Place, root: str) -> dict[str, Any]:
    source, span = source_of(place)
    return {
        "path": _path(place, root),
        "line": place.line,
        "function": place.function,
        "own": place.own,
        "source": source,
        "column": span[0] if span else None,
        "end_column": span[1] if span else None,
    }


def _path(place: Place, root: str) -> str:
    """With slashes on every system, as editors, services and other machines read them."""
    path = PurePath(place.path)
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
