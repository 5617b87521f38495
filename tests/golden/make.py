"""Writes the expected reports, and the README's, anew: `make golden`; read the difference before you commit it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CASES = sorted((HERE / "cases").glob("*.py"))

SURROUNDINGS = (
    *("BUILD_NUMBER", "CI", "GITHUB_ACTIONS"),
    *("FORCE_COLOR", "NO_COLOR", "PY_COLORS"),
    *("PYTEST_ADDOPTS", "PYTEST_PLUGINS"),
)
"""Variables by which pytest writes otherwise than to a person at a plain terminal."""

_LEAKS = "leaks.json"

_INI = """\
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
python_files = *.py
"""


def report(case: Path, folder: Path, *options: str) -> str:
    """Run one case in `folder` and give what the user reads, from the first failure on, and each cause's fingerprint.

    What changes from run to run, or from one Python to the next, is written as `…`: seconds, file descriptors,
    ports, process ids, the standard library's own lines.
    """
    (folder / "pytest.ini").write_text(_INI, encoding="utf-8")
    (folder / case.name).write_text(case.read_text(encoding="utf-8"), encoding="utf-8")
    plugins = ["taskleak", "pytest_asyncio.plugin"]
    command = [sys.executable, "-m", "pytest", *(word for plugin in plugins for word in ("-p", plugin))]
    inherited = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
    result = subprocess.run(
        [
            *command,
            "-p",
            "no:cacheprovider",
            "--show-capture=no",
            f"--taskleak-report=json:{_LEAKS}",
            *options,
            case.name,
        ],
        cwd=folder,
        env={**inherited, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    if result.returncode != 1:
        raise AssertionError(f"{case.name} did not leak:\n{result.stdout}\n{result.stderr}")
    text = result.stdout
    text = text[
        text.find("==================================== ERRORS")
        if "= ERRORS =" in text
        else text.find("=================================== FAIL") :
    ]
    for pattern, word in (
        (r"in \d+\.\d+s", "in …s"),
        (r"blocked the loop for [\d.]+ s", "blocked the loop for … s"),
        (r"(\bfd |\bpid |127\.0\.0\.1:)\d+", r"\1…"),
        (r"fires in \+[\d.]+ s", "fires in +… s"),
        (r"sleeps until \+[\d.]+ s", "sleeps until +… s"),
    ):
        text = re.sub(pattern, word, text)
    text = re.sub(rf"-+ taskleak report: .*{_LEAKS} -+\n", "", text)
    text = re.sub(r"=+ (\d.*…s) =+", r"\1", text)
    causes = json.loads((folder / _LEAKS).read_text(encoding="utf-8"))["causes"]
    return "\n".join([f"{text}fingerprints", *(f"{cause['fingerprint']} {cause['path']}" for cause in causes), ""])


def expected(case: Path) -> Path:
    """The file with a case's expected report."""
    return HERE / "expected" / f"{case.stem}.txt"


def demonstration() -> str:
    """What `make demo` shows in a terminal of 80 columns."""
    surroundings = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS} | {"COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "examples/demo.py"],
        cwd=_ROOT,
        env=surroundings,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=60,
    ).stdout


_ROOT = HERE.parents[1]
_SHOWN = re.compile(r"(?<=^```text\n)_.*?(?=^```)", flags=re.MULTILINE | re.DOTALL)


def main() -> None:
    """Write the expected report of every case, and the demonstration's into the README."""
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            expected(case).write_text(report(case, Path(folder)), encoding="utf-8")
        print(expected(case).relative_to(HERE.parent))
    readme = _ROOT / "README.md"
    shown = demonstration()
    report_of_it = shown[shown.index("\n___") + 1 : shown.index("\n=================================== taskleak") + 1]
    readme.write_text(_SHOWN.sub(lambda _: report_of_it, readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
