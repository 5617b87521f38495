"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; a link stays a link. What UTF-8 does not know is escaped.

    Raises:
        OSError: Where it cannot be written; what was there before stays.
    """
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        # Made anew, as nobody can foresee it: in a folder of everybody's it might be a link to somewhere.
        with temporary.open("xb") as file:
            file.write(content if isinstance(content, bytes) else content.encode(errors="backslashreplace"))
        temporary.replace(path)
    except BaseException:  # whatever ends it, Ctrl-C too, leaves no half of a file behind, and is raised on
        temporary.unlink(missing_ok=True)
        raise
