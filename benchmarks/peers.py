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
PROJECT = ("--editable", str(ROOT))


def environment(name: str, requirements: Sequence[str], python: str = sys.executable) -> str:
    """The interpreter of an environment with these requirements; made anew where they have changed.

    Args:
        name: What it is called; it lies beside the project's own, as `.venv-bench-NAME`.
        requirements: What pip is given.
        python: The interpreter that it is made of.

    Raises:
        RuntimeError: Where pip fails, with what it said.
    """
    folder = ROOT / f".venv-bench-{name}"
    inside = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    asked, wanted = folder / "asked", "\n".join([python, *requirements])
    if not (asked.exists() and asked.read_text(encoding="utf-8") == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([str(inside), *install, *requirements], check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{folder.name} could not be made of {', '.join(requirements)}:\n{done.stderr}")
        asked.write_text(wanted, encoding="utf-8")
    return str(inside)


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
