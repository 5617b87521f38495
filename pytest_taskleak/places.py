"""Whose code a line is, and how to write it so that a person can open it."""

from __future__ import annotations

import asyncio
import itertools
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_taskleak.distributions import INSTALLED, checkout_of, distribution_of, normalized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import CodeType

    from pytest_taskleak.findings import Place
    from pytest_taskleak.model import Call

ASYNCIO = f"{Path(asyncio.__file__).parent}{os.sep}"
"""The folder of asyncio's own files, as the names of code objects begin with it."""

_STANDARD = ("<", f"{Path(os.__file__).parent}{os.sep}")
"""How names of the standard library's files begin. `sysconfig` would tell as well, in 2 ms of each run's start."""

_LIBRARY = (*_STANDARD, f"{Path(__file__).parent}{os.sep}")
"""The same with this plugin's own; `INSTALLED` tells all others."""

_HOSTS = ("anyio", "pluggy", "pytest", "pytest-asyncio")
"""Distributions that run others' work: a leak is named after one of them only where nobody else took part."""


class Places:
    """Tells the project's own code from installed code, and turns recorded calls into places.

    Own is every file that is neither the standard library's nor below a `site-packages` folder; this plugin's
    files are nobody's.

    Attributes:
        own: Whether the file of that name is the project's own code.
    """

    def __init__(self, root: Path, *, whole: bool = True) -> None:
        """Make it for a project.

        Args:
            root: Where it lives; module names are made relative to it.
            whole: Whether all of the project is there, so that what is installed from another folder is a library.
        """
        self._root = f"{root}{os.sep}"
        self._whole = whole
        self.own: Callable[[str], bool] = _Own().__getitem__

    def standard(self, filename: str) -> bool:
        """Whether the file is the standard library's, or the interpreter's own."""
        return filename.startswith(_STANDARD) and not any(part in filename for part in INSTALLED)

    def place(self, call: Call) -> Place:
        """The line of a recorded call."""
        from pytest_taskleak.findings import Place  # noqa: PLC0415 - needed only when something leaks

        code, instruction = call
        line, column, end_column = _position(code, instruction)
        return Place(
            path=code.co_filename,
            line=line,
            function=code.co_qualname,
            column=column,
            end_column=end_column,
            own=self.own(code.co_filename),
            module=self._module(code.co_filename),
            first_line=code.co_firstlineno,
        )

    def places(self, calls: Iterable[Call]) -> tuple[Place, ...]:
        """The lines of recorded calls, in their order."""
        return tuple(self.place(call) for call in calls)

    def line(self, path: str, line: int, function: str = "") -> Place:
        """A line of which no code is at hand."""
        from pytest_taskleak.findings import Place  # noqa: PLC0415 - as above

        return Place(path, line, function, None, None, self.own(path), self._module(path), line)

    def library(self, *places: Place) -> tuple[str, str] | None:
        """Name and version of the distribution that work is of, of which all places are given.

        Returns:
            None where the project's own code took part, or nobody knows; "Python" for the standard library.
        """
        found: list[tuple[str, str] | None] = []
        for place in places:
            if place.own and not self._is_elsewhere(place.path):
                return None
            if not self.standard(place.path):
                it = checkout_of(place.path) if place.own else distribution_of(place.path)
                found.append(it[:2] if it is not None else None)
        if places and not found:
            return "Python", platform.python_version()
        guests = (it for it in found if it is None or normalized(it[0]) not in _HOSTS)
        return next(guests, found[0] if found else None)

    def _is_elsewhere(self, filename: str) -> bool:
        """Whether a file is outside of the project, and installed from the folder of another."""
        if not self._whole or filename.startswith(self._root):
            return False
        checkout = checkout_of(filename)
        return checkout is not None and not os.path.realpath(self._root).startswith(f"{checkout[2]}{os.sep}")

    def maker(self, calls: Sequence[Call]) -> str:
        """The function that made something, by qualified name: the project's own before any other."""
        codes = [code for code, _ in calls]
        code = next((code for code in codes if self.own(code.co_filename)), codes[0] if codes else None)
        return code.co_qualname if code is not None else "unknown"

    def definition(self, code: CodeType) -> Place:
        """The first line of a function: all that is known of a coroutine that nobody saw start."""
        return self.place((code, -1))._replace(line=code.co_firstlineno, column=None, end_column=None)

    def _module(self, filename: str) -> str:
        """The path without what changes from machine to machine."""
        if filename.startswith(self._root) and self.own(filename):
            return Path(filename.removeprefix(self._root)).as_posix()
        parts = Path(filename).parts
        for marker in (*INSTALLED, f"python{sys.version_info.major}.{sys.version_info.minor}"):
            if marker in parts:
                return "/".join(parts[parts.index(marker) + 1 :])
        return "/".join(parts[-2:])


class _Own(dict[str, bool]):
    """Whether files are the project's own, looked at once: a file is asked for at each frame of each creation."""

    def __missing__(self, filename: str) -> bool:
        own = self[filename] = (
            not filename.startswith(_LIBRARY)
            and not any(part in filename for part in INSTALLED)
            and filename.endswith(".py")
            and (os.path.isabs(filename) or os.path.exists(filename))  # noqa: PTH110, PTH117 - hot, and strings all along
        )
        return own


def _position(code: CodeType, instruction: int) -> tuple[int, int | None, int | None]:
    """Line, column and end column of an instruction; columns in bytes of UTF-8, None where they span lines."""
    if instruction < 0:
        return code.co_firstlineno, None, None
    position = next(itertools.islice(code.co_positions(), instruction // 2, None), None)
    line, end_line, column, end_column = position or (None, None, None, None)
    if line is None:
        return code.co_firstlineno, None, None
    if end_line != line:
        return line, None, None
    return line, column, end_column
