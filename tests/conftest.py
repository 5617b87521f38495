"""What the tests share: a user's project in a temporary folder, and a look at what the user sees."""

from __future__ import annotations

import dataclasses
import gc
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from golden.make import SURROUNDINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

pytest_plugins = ["pytester"]

INI = """\
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""

FOREVER = """\
import asyncio
import pytest
import pytest_asyncio


async def forever():
    await asyncio.Event().wait()


"""


@dataclasses.dataclass
class Project:
    """A user's project in a folder of its own."""

    pytester: pytest.Pytester

    def write(self, name: str = "test_it.py", source: str = "", *, prelude: str = FOREVER) -> None:
        """Write a file: `prelude`, which brings asyncio, pytest, pytest_asyncio and `forever()`, and then `source`."""
        path = self.pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prelude + textwrap.dedent(source), encoding="utf-8")

    def ini(self, text: str) -> None:
        """Add lines to the project's pytest.ini."""
        path = self.pytester.path / "pytest.ini"
        path.write_text(path.read_text(encoding="utf-8") + textwrap.dedent(text), encoding="utf-8")

    def run(self, *args: str) -> pytest.RunResult:
        """Run the project's tests in this process, in the order written."""
        return self.pytester.runpytest_inprocess("-p", "no:randomly", *args)

    def run_apart(self, *args: str) -> pytest.RunResult:
        """Run the project's tests in a process of their own, and in about half the time without the slowest plugins."""
        slow = ("-p", "no:trio", "-p", "no:hypothesispytest", "-p", "no:anyio")
        return self.pytester.runpytest_subprocess("-p", "no:randomly", *slow, *args, timeout=120)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Generator[Project]:
    """An empty project with pytest-asyncio in auto mode."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # each process would compile all there is
    for name in (*SURROUNDINGS, "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    (pytester.path / "pytest.ini").write_text(INI, encoding="utf-8")
    yield Project(pytester)
    if _open_files() > _MANY:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()


_MANY = 200
"""Files that loops left open on purpose may hold: the collector of 3.15 is in no hurry, and `select` ends at 1,024."""


def _open_files() -> int:
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return 0


@pytest.fixture
def judged(project: Project) -> Callable[..., tuple[dict[str, str], str]]:
    """Write a test file, run it and give each test's final word as `-rA` shows it, and the output."""

    def judged(source: str, *args: str, apart: bool = False, prelude: str = FOREVER) -> tuple[dict[str, str], str]:
        project.write(source=source, prelude=prelude)
        result = (project.run_apart if apart else project.run)("-rA", *args)
        words: dict[str, str] = {}
        for line in result.outlines:
            word, _, rest = line.partition(" ")
            if word in ("PASSED", "FAILED", "ERROR", "XFAIL", "XPASS") and "::" in rest:
                name = rest.split(" - ")[0].split("::", 1)[1]
                words[name] = f"{words[name]}+{word}" if name in words else word
        return words, result.stdout.str()

    return judged
