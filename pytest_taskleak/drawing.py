"""Pictures of graphs, where graphviz is installed."""

from __future__ import annotations

import errno
import shutil
import subprocess

FORMATS = ("svg", "png")
"""What can be drawn, by the names that `dot` knows."""

_SECONDS = 60.0
"""What one picture may take: `dot` needs long for graphs with very many edges."""


def program() -> str | None:
    """The program that draws, None where it is not installed."""
    return shutil.which("dot")


def draw(text: str, kind: str) -> bytes:
    """Draw a graph that is written in graphviz's language as one of `FORMATS`.

    objgraph draws objects that are alive, and these are gone; what it does with a graph that is written already would
    leave half a file where it fails, and says so on the standard output only.

    Raises:
        OSError: Where graphviz does not do it, or takes more than a minute.
    """
    found = program()
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "graphviz's `dot` is not there any more")
    graph = text.encode(errors="backslashreplace")
    try:
        done = subprocess.run([found, f"-T{kind}"], input=graph, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, f"graphviz's `dot` took more than {_SECONDS:g} s; dot:FILE needs none") from None
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise OSError(errno.EINVAL, f"graphviz's `dot` ended with {done.returncode}: {said or 'without a word'}")
    return done.stdout
