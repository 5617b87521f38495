"""Runs the benchmarks, all or some, and prints a table for each area.

    python benchmarks/bench.py [AREA ...] [--list] [--json FILE]

An area that fails loses no other's table: its traceback comes at the end, and the exit code is 1. A figure that misses
its limit is no failure: machines differ, and the table says it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peers
from table import Row, surroundings, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

AREAS = {
    "tests": ("clean_cost", "a test that leaks nothing, in instructions"),
    "suite": ("suite_cost", "a suite that leaks nothing"),
    "creation": ("creation_cost", "making tasks, futures and timers"),
    "start": ("start_cost", "the start of a run"),
    "leaking": ("leaking_cost", "a test that leaks"),
    "explain": ("explain_cost", "proving that tasks never wake"),
    "memory": ("memory_cost", "memory over a long run"),
    "queue": ("queue_throughput", "the queue's throughput"),
    "idle": ("queue_memory", "the queue's memory and tasks"),
    "scaling": ("queue_scaling", "the queue's cost for each message, by chats and messages"),
    "redis": ("queue_redis", "the queue over Redis"),
}
"""By name the module whose `rows()` gives an area's rows, and the table's title."""

PROGRAMS = {
    "kinds": ("compare", "which leaks are found, and which clean uses are blamed"),
    "page": ("html_report", "the HTML report of a large run"),
    "executors": ("executors", "blocking handlers in threads and processes"),
    "crashes": ("crash_runs", "workers that are killed"),
}
"""By name the programs that print figures of their own."""


OF_THE_QUEUE = ("queue", "idle", "scaling", "redis")
"""Areas whose peers are libraries: they run in an environment with pinned versions of those."""

ROWS = """
import dataclasses, importlib, json, sys
print(json.dumps([dataclasses.asdict(row) for row in importlib.import_module(sys.argv[1]).rows()]))
"""


def _rows_of(area: str) -> Iterator[Row]:
    if area in OF_THE_QUEUE:
        python = peers.environment("queue", peers.QUEUE)
        command, here = [python, "-c", ROWS, AREAS[area][0]], Path(__file__).parent
        done = subprocess.run(command, cwd=here, check=True, stdout=subprocess.PIPE, text=True)
        return (Row(**row) for row in json.loads(done.stdout.splitlines()[-1]))
    module: Any = importlib.import_module(AREAS[area][0])
    return module.rows()


def _peers() -> str:
    """What took part in an area, by environment, in lines."""
    return "".join(
        f"\n   {name}: {', '.join(it.replace('==', ' ') for it in them)}" for name, them in peers.used.items()
    )


def run(
    areas: Sequence[str], say: Callable[[str], None] = print, rows_of: Callable[[str], Iterator[Row]] = _rows_of
) -> tuple[dict[str, list[Row]], list[str]]:
    """Measure areas and print a table for each.

    Returns:
        The rows of each area, and in words what failed.
    """
    found: dict[str, list[Row]] = {}
    failed: list[str] = []
    for area in areas:
        try:
            if area in PROGRAMS:
                say(f"\n== {PROGRAMS[area][1]}")
                program = Path(__file__).with_name(f"{PROGRAMS[area][0]}.py")
                sys.stdout.flush()  # into a file or a pipe, the program's figures would come before their title
                subprocess.run([sys.executable, str(program)], check=True)
                continue
            peers.used.clear()
            found[area] = list(rows_of(area))
            say(f"\n{table(AREAS[area][1] + _peers(), found[area])}")
        except Exception:  # noqa: BLE001 - the other areas' tables must not be lost
            failed.append(f"{area}: {traceback.format_exc()}")
            say(f"\n== {area}: failed, see the end")
    return found, failed


def write(path: Path, found: dict[str, list[Row]]) -> None:
    """Write the rows as JSON, whole or not at all."""
    values = {
        "surroundings": surroundings(),
        "areas": {
            area: [{**dataclasses.asdict(row), "reached": row.reached} for row in rows] for area, rows in found.items()
        },
    }
    text = json.dumps(values, indent=1)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    Path(file.name).replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("areas", nargs="*", metavar="AREA", help="all where none is named")
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to a file, too")
    options = parser.parse_args(arguments)
    every = {**AREAS, **PROGRAMS}
    if options.list:
        print("\n".join(f"{name:<12}{title}" for name, (_, title) in every.items()))
        return 0
    if unknown := [area for area in options.areas if area not in every]:
        parser.error(f"no area {', '.join(map(repr, unknown))}; there are {', '.join(every)}")
    if options.json is not None and not options.json.parent.is_dir():
        parser.error(f"no folder {str(options.json.parent)!r} to write {options.json.name!r} to")
    print("\n".join(surroundings()))
    found, failed = run(options.areas or list(every))
    if failed:
        print("\n" + "\n".join(failed), file=sys.stderr)
    if options.json is not None:
        write(options.json, found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
