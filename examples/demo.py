"""Shows what the plugin is for: it finds what the incident's queue leaks, and passes the reference queue."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run(name: str) -> int:
    """Run one of the test files under the plugin, and give pytest's exit status."""
    command = [sys.executable, "-m", "pytest", "-p", "taskleak", "--no-header", "-p", "no:cacheprovider", name]
    print(f"$ pytest -p taskleak {name}\n", flush=True)
    # The plugins of whoever runs this, a random order for one, are none of the demonstration's.
    return subprocess.run(
        [*command, "-p", "pytest_asyncio.plugin"],
        cwd=HERE,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=False,
    ).returncode


def main() -> int:
    """Run both; 0 where the one leaks and the other does not."""
    print("1. A chat bot on the queue of the incident. Its tests pass; its memory was full after an hour.\n")
    broken = run("test_broken_queue.py")
    print("\n\n2. The same bot on the reference queue.\n")
    reference = run("test_reference_queue.py")
    if (broken, reference) != (1, 0):
        print(f"\nNot as it should be: exit status {broken} and {reference}, expected 1 and 0.")
        return 1
    print("\nThe broken queue was caught at the line of `enqueue` that makes its task; the reference queue is clean.")
    if sys.platform == "win32":
        print("The same queue over two processes needs a Valkey server, of which there is no package for Windows.")
        return 0
    print("\n\n3. The reference queue over two processes, one of which is killed.\n", flush=True)
    return subprocess.run([sys.executable, "-m", "reference_queue", "demo"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
