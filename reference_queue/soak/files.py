"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write"]


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable for whom new files are.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:  # whatever ends it, Ctrl-C too, leaves no half of a file behind, and is raised on
        temporary.unlink(missing_ok=True)
        raise
