"""What may be given for each setting: read and checked, with the texts for what cannot be meant.

Each reader takes where a value stands, for the text of an error, and the value; those of the command line take a text.
All raise `pytest.UsageError`, which names what was given and what is valid.
"""

from __future__ import annotations

import errno
import importlib.util
import math
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import pytest

from pytest_taskleak import drawing
from pytest_taskleak.model import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

Mode = Literal["fail", "warn", "off"]
MODES = get_args(Mode)
LEAST_REPEAT = 3
"""Repetitions of which it can be told whether objects grow with them."""
REPEAT = f"give a whole number, {LEAST_REPEAT} or more, or 0 for not at all"
SECONDS = {
    "grace": "give seconds, 0 or more",
    "blocked": "give seconds, 0 for off",
    "search": "give seconds, 0 for no search",
}
"""What is valid for each setting that is a time."""


def mode(where: str, value: object) -> Mode:
    """Read what a leak does."""
    if value not in MODES:
        raise pytest.UsageError(f"{where}: {value!r} is not valid; valid are {', '.join(MODES)}")
    return cast("Mode", value)


def flag(where: str, value: object, *, name: str) -> bool:
    """Read a yes or no of a marker."""
    if not isinstance(value, bool):
        raise pytest.UsageError(f"{where}: {name}={value!r} is not valid; give True or False")
    return value


def seconds(where: str, value: object, *, name: str) -> float:
    """Read the time of one of `SECONDS`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (0 <= value < math.inf):
        raise pytest.UsageError(f"{where}: {name} {value!r} is not valid; {SECONDS[name]}")
    return float(value)


def seconds_of_line(text: str, *, name: str) -> float:
    """Read it from the command line."""
    try:
        return seconds(f"--taskleak-{name}", float(text), name=name)
    except ValueError:
        raise pytest.UsageError(f"--taskleak-{name}: {text!r} is not a number; {SECONDS[name]}") from None


def expect(where: str, value: object) -> tuple[str, ...]:
    """Read names of tasks or coroutines."""
    names: Any = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)):
        raise pytest.UsageError(f"{where}: expect={value!r} is not valid; give a task's name or a list of names")
    for name in cast("list[object]", names):
        if not (isinstance(name, str) and name.strip()):
            raise pytest.UsageError(f"{where}: expect={value!r} holds {name!r}; names are non-empty strings")
    return tuple(cast("list[str]", names))


def repeat(where: str, value: object) -> int:
    """Read a number of repetitions."""
    if isinstance(value, bool) or not isinstance(value, int) or (value != 0 and value < LEAST_REPEAT):
        raise pytest.UsageError(f"{where}: repeat={value!r} is not valid; {REPEAT}")
    return value


def times(text: str) -> int:
    """Read it from the command line."""
    try:
        return repeat("--taskleak-repeat", int(text))
    except ValueError:
        raise pytest.UsageError(f"--taskleak-repeat: {text!r} is not a whole number; {REPEAT}") from None


def limit(text: str) -> float:
    """Read a number of objects per test."""
    valid = "give objects per test, 0 or more"
    try:
        number = float(text)
    except ValueError:
        raise pytest.UsageError(f"--taskleak-growth-limit: {text!r} is not a number; {valid}") from None
    if not (0 <= number < math.inf):
        raise pytest.UsageError(f"--taskleak-growth-limit: {text!r} is not valid; {valid}")
    return number


def plot(text: str) -> Path:
    """Read the name of a file that can be written."""
    where = f"--taskleak-growth-plot: {text!r}"
    if Path(text).suffix != ".svg":
        raise pytest.UsageError(f"{where} is not valid; give a name that ends in .svg")
    return _writable(where, text)


class Report:
    """A report of the run that is asked for: one of `FORMATS`, and the file."""

    def __init__(self, kind: str, path: Path) -> None:
        self.format = kind
        self.path = path


FORMATS = {
    "html": "as_html",
    "json": "as_json",
    "md": "as_markdown",
    "dot": "as_dot",
    **dict.fromkeys(drawing.FORMATS, "as_dot"),
}
"""What can be asked for, and what writes it in `report`; a graph is drawn where the format is one of `drawing`."""


def report(text: str) -> Report:
    """Read which report is asked for, and the name of a file that can be written."""
    option = "--taskleak-report"
    kind, colon, name = text.partition(":")
    if kind not in FORMATS or not colon or not name:
        raise pytest.UsageError(
            f"{option}: {text!r} is not valid; give a format and a file as in json:leaks.json, with one of "
            f"{', '.join(FORMATS)}"
        )
    if kind == "html" and importlib.util.find_spec("jinja2") is None:
        raise pytest.UsageError(f"{option}: {text!r} needs jinja2: pip install 'pytest-taskleak[html]'")
    if kind in drawing.FORMATS and drawing.program() is None:
        raise pytest.UsageError(
            f"{option}: {text!r} needs graphviz's `dot`, which is not on the PATH; install graphviz, or ask for the "
            "graph itself with dot:FILE"
        )
    return Report(kind, _writable(f"{option}: {text!r}", name))


def accept(where: str, lines: Iterable[object]) -> dict[str, str]:
    """Read which causes may stay: a line for each, its fingerprint and the reason."""
    reasons: dict[str, str] = {}
    for line in lines:
        fingerprint, _, reason = " ".join(str(line).split()).partition(" ")
        if not (re.fullmatch("[0-9a-f]{12}", fingerprint) and reason):
            raise pytest.UsageError(
                f"{where}: {line!r} is not valid; give a line for each cause: its fingerprint, as `pytest -v` shows "
                "it, and a reason, as in 1a2b3c4d5e6f the SDK never stops its heartbeat"
            )
        if fingerprint in reasons:
            raise pytest.UsageError(f"{where}: {fingerprint} is there twice; give one reason for each cause")
        reasons[fingerprint] = reason
    return reasons


def reports(asked: Iterable[Report]) -> tuple[Report, ...]:
    """Read all that are asked for together: each goes to a file of its own."""
    by_file: dict[Path, Report] = {}
    for one in asked:
        other = by_file.setdefault(one.path.resolve(), one)
        if other.format != one.format:
            raise pytest.UsageError(
                f"--taskleak-report: {one.path} is asked for as {other.format} and as {one.format}; give each report a "
                "file of its own"
            )
    return tuple(by_file.values())


def _writable(where: str, name: str) -> Path:
    path = Path(name).absolute()
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "Not a regular file")  # noqa: TRY301 - worded below, as those of the system
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            pass
    except OSError as error:
        raise pytest.UsageError(
            f"{where} cannot be written ({error.strerror}); give a file in a folder that exists and is open to you"
        ) from None
    return path


def kinds(where: str, names: Iterable[object]) -> frozenset[str]:
    """Read the names of kinds."""
    asked = {str(name).strip() for name in names}
    if asked == {"all"}:
        return frozenset(KINDS)
    unknown = sorted(asked - KINDS.keys())
    if unknown or not asked:
        raise pytest.UsageError(f"{where}: {', '.join(unknown)!r} is not a kind; valid are {', '.join(KINDS)}, or all")
    return frozenset(asked)
