"""``python -m reference_queue soak``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reference_queue.errors import MemoryUnknown
from reference_queue.memory import resident
from reference_queue.soak.files import write
from reference_queue.soak.load import LOADS, Load, Sample
from reference_queue.soak.plot import FORMATS, draw
from reference_queue.soak.run import Outcome, SoakFailed, side_by_side
from reference_queue.soak.verdict import MIB, Item, checklist, table

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = ["heading", "main"]


def _above_zero(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is out of range; give a number above 0")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is out of range; give a whole number of at least 1")
    return number


def _file(text: str) -> Path:
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent} to write {path.name} to")
    return path


def _picture(text: str) -> Path:
    path = _file(text)
    if path.suffix[1:].lower() not in FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r} names no format; end it in .{', .'.join(FORMATS)}")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reference_queue soak",
        description="Runs the incident's queue and the reference queue side by side under the same load, and says "
        "what became of promises and memory. Exit status 1 if the reference queue fails an item of the checklist, 2 if "
        "a queue's process or the writing of a file failed.",
    )
    parser.add_argument("--load", choices=[*LOADS, "both"], default="both", help="which load (default: %(default)s)")
    parser.add_argument("--minutes", type=_above_zero, help="how long, in the bot's time")
    parser.add_argument("--rate", type=_above_zero, help="messages a minute")
    parser.add_argument(
        "--speed",
        type=_above_zero,
        help="how many minutes of the bot's pass in one; a speed that is too high measures the machine",
    )
    parser.add_argument("--chats", type=_count, metavar="N", help="how many chats send")
    parser.add_argument("--seed", type=int, help="another sequence of messages")
    parser.add_argument(
        "--limit", type=_above_zero, default=300, metavar="MIB", help="stop a queue at this much memory"
    )
    parser.add_argument("--plot", type=_picture, metavar="FILE", help="draw it: .svg, .png or .pdf")
    parser.add_argument("--json", type=_file, metavar="FILE", help="write all samples")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        resident()
    except MemoryUnknown as error:
        print(
            f"The soak reads the memory of its processes from /proc, which this system has not: {error}",
            file=sys.stderr,
        )
        return 2
    given = {name: getattr(options, name) for name in ("minutes", "rate", "speed", "chats", "seed")}
    given = {name: value for name, value in given.items() if value is not None}
    names = list(LOADS) if options.load == "both" else [options.load]
    loads = [dataclasses.replace(LOADS[name], **given) for name in names]
    outcomes: list[Outcome] = []
    failures: list[str] = []
    try:
        asyncio.run(_run(loads, int(options.limit * MIB), outcomes, failures))
    except KeyboardInterrupt:
        failures.append("The soak was interrupted.")
    status = _report(outcomes, options.plot, options.json) if outcomes else 2
    if failures:
        print(*failures, sep="\n", file=sys.stderr)
        return 2
    return status


async def _run(loads: Sequence[Load], limit: int, outcomes: list[Outcome], failures: list[str]) -> None:
    """Run all loads; what is seen of one does not depend on another, so neither does what is told of it."""
    with _progress(loads) as tell:
        for load in loads:
            try:
                outcomes.append(await side_by_side(load, limit, tell(load)))
            except* SoakFailed as group:
                failures += [f"{load.name}: {failure}" for failure in group.exceptions]


def _report(outcomes: Sequence[Outcome], plot: Path | None, samples: Path | None) -> int:
    for outcome in outcomes:
        print("\n", heading(outcome), table(outcome), sep="")
    print("\nThe incident's checklist after deploying, for the reference queue")
    items: list[Item] = []
    for outcome in outcomes:
        print(f"\nat {outcome.load.rate:,.0f} messages a minute")
        found = list(checklist(outcome))
        print(*found, sep="\n")
        items += found
    try:
        if plot is not None:
            draw(outcomes, plot)
        if samples is not None:
            _write(outcomes, samples)
    except (ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if all(item.passed for item in items) else 1


def heading(outcome: Outcome) -> str:
    """Return what stands above the table of a load."""
    load = outcome.load
    return f"{load.rate:,.0f} messages a minute, {load.minutes:g} minutes in {load.seconds:.0f} s\n\n"


def _write(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write all samples, whole or not at all."""
    document = [
        {
            "load": dataclasses.asdict(outcome.load),
            "limit": outcome.limit,
            "samples": {name: [sample._asdict() for sample in each] for name, each in outcome.samples.items()},
        }
        for outcome in outcomes
    ]
    write(path, json.dumps(document, indent=1).encode())


@contextlib.contextmanager
def _progress(loads: Sequence[Load]) -> Generator[Callable[[Load], Callable[[str, Sample], None]]]:
    """Show how far each load is: bars in a terminal, a few lines elsewhere."""
    if not sys.stdout.isatty():
        yield _lines
        return
    try:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - an extra
    except ImportError:
        yield _lines
        return
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bars = {load.name: progress.add_task(load.name, total=load.minutes, told="") for load in loads}

        def tell(load: Load) -> Callable[[str, Sample], None]:
            promises = {"broken": 0, "reference": 0}

            def told(name: str, sample: Sample) -> None:
                promises[name] = sample.promises
                text = f"live promises {promises['broken']:,} before, {promises['reference']:,} after"
                progress.update(bars[load.name], completed=sample.minute, told=text)

            return told

        yield tell


def _lines(load: Load) -> Callable[[str, Sample], None]:
    print(f"{load.name}: {load.rate:,.0f} messages a minute, {load.seconds:.0f} s", flush=True)
    tenth = 0

    def told(name: str, sample: Sample) -> None:
        nonlocal tenth
        if name == "reference" and sample.minute * 10 >= (tenth + 1) * load.minutes:
            tenth = int(sample.minute * 10 / load.minutes)
            print(f"{load.name}: {tenth * 10} %", flush=True)

    return told
