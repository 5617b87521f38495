"""What to do with a leak that is not mended at once: the line that accepts it, the command that shows it alone."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_taskleak.leak import Leak


def advice(leak: Leak, command: str, rootdir: str, root: str) -> list[str]:
    """The lines; none of them is told where it would not do what it says.

    Args:
        leak: The leak.
        command: How the same is looked for; "" where no test runner is known.
        rootdir: The folder that node ids begin at.
        root: The folder that the command is given in.
    """
    if not command:
        return []
    lines = [] if leak.accepted else [f"to accept it, in `taskleak_accept`: {leak.fingerprint} why it may stay"]
    if leak.nodeid and not leak.verdict.startswith("accumulates"):  # which takes more tests than one
        lines.append(f"run it alone: {command} {shlex.quote(_node(leak.nodeid, rootdir, root))}")
    return lines


def stale(reasons: Mapping[str, str]) -> list[str]:
    """The lines for causes that may stay, and were not met."""
    return [
        f"`taskleak_accept`: {fingerprint} matched nothing in this run ({reason})"
        for fingerprint, reason in reasons.items()
    ]


def _node(nodeid: str, rootdir: str, root: str) -> str:
    """A node id as it is given in a folder that is not the root of the run."""
    path, colons, rest = nodeid.partition("::")
    try:
        path = os.path.relpath(os.path.join(rootdir, path), root)  # noqa: PTH118 - made relative as a string
    except ValueError:  # another drive
        path = os.path.join(rootdir, path)  # noqa: PTH118 - the same
    return f"{path}{colons}{rest}"
