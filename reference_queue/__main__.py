"""``python -m reference_queue``: the queue at work."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "demo": ("reference_queue.demo", "a queue over two processes loses one of them, and nothing else"),
    "soak": ("reference_queue.soak.command", "the incident's queue and this one side by side, until memory tells"),
}
"""Each command with the module whose ``main`` it is; imported when it is asked for, because each brings an extra."""


def main() -> int:
    """Run a command; return the exit status."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in COMMANDS:
        return int(importlib.import_module(COMMANDS[name][0]).main(sys.argv[2:]))
    asked = name in ("-h", "--help")
    lines = ["usage: python -m reference_queue COMMAND [OPTION ...]", ""]
    lines += [f"  {command:<6} {text}" for command, (_, text) in COMMANDS.items()]
    if name and not asked:
        lines.insert(0, f"{name!r} is no command.")
    print("\n".join(lines), file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main())
