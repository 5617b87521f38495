"""What the plugin adds to the start of a run that has no tests: processor time of the process, runs in turns.

The least of each is taken: what the machine does meanwhile only ever adds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import peers
import suites
from table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 25
NO_TESTS = 5
"""pytest's exit code where none was found."""


def rows() -> Iterator[Row]:
    """Two rows."""
    python = peers.environment("plugin", [*peers.HARNESS, *peers.PROJECT])
    with tempfile.TemporaryDirectory() as place:
        none = Path(place) / "none"
        none.mkdir()
        one = suites.written(Path(place) / "one", "", suites.SYNCHRONOUS_TEST, 1)
        for what, folder, ends, limit, aim in (
            ("import and configure", none, NO_TESTS, 15, 8),
            ("the same, and the first test", one, 0, None, None),
        ):
            spent: dict[tuple[str, ...], list[float]] = {suites.WITHOUT: [], suites.WITH: []}
            for _ in range(ROUNDS):
                for options, seconds in spent.items():
                    seconds.append(suites.ran(python, folder, *options, ok=(ends,))[1])
            added = (min(spent[suites.WITH]) - min(spent[suites.WITHOUT])) * 1000
            yield Row(what, "no plugin", added, "ms more", limit, digits=1, aim=aim)
