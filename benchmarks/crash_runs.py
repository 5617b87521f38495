"""Harm done to a distributed queue midway, many times over: is anything lost, is the order kept, how long is the pause?

    python benchmarks/crash_runs.py --engine bullmq --kind kill --runs 20

Each run starts two worker processes, sends messages of some chats and does harm when a third of them is settled:

kill     a worker that has messages in hand is killed with -9
restart  the server is killed with -9 and started again from its disk
stop     a worker that has messages in hand is stopped until they were delivered to the other, and revived
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from dataclasses import astuple, fields
from pathlib import Path

from reference_queue.distributed._kinds import KINDS
from reference_queue.distributed._trial import Report, Trial

HARM = ("kill", "restart", "stop")


async def run(options: argparse.Namespace, harm: str, server: object, number: int) -> Report:
    """Make one run on a server of its own kind, under a name of its own."""

    async def restart(_trial: Trial) -> None:
        server.kill()
        await asyncio.to_thread(server.restart)

    does = {"kill": Trial.kill_worker, "restart": restart, "stop": Trial.stop_worker}[harm]
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(options.engine, server.url, f"{harm} {number}", Path(folder) / "journal")
        trial.lease, trial.partitions, trial.chats = options.lease, options.partitions, options.chats
        trial.messages, trial.handling = options.messages, options.handling
        return await trial.run(does)


def show(harm: str, reports: list[Report]) -> None:
    """Print the figures of the runs of one kind as a line."""
    names = [field.name for field in fields(Report)]
    of = {name: [astuple(report)[names.index(name)] for report in reports] for name in names}
    sums = [sum(of[name]) for name in ("messages", "lost", "out_of_order", "duplicated", "redelivered", "late")]
    counts = " ".join(f"{each:>12}" for each in (len(reports), *sums))
    print(f"{harm:<8} {counts} {max(of['longest_pause']):>12.1f} s", flush=True)


def main() -> int:
    """Run it; 1 if anything promised was not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=sorted(KINDS), default="bullmq")
    parser.add_argument("--kind", choices=[*HARM, "all"], default="all")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--lease", type=float, default=1.0, help="seconds")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--chats", type=int, default=8)
    parser.add_argument("--messages", type=int, default=160, help="of each run")
    parser.add_argument("--handling", type=float, default=0.005, help="seconds that a message takes")
    options = parser.parse_args()
    heads = ("runs", "messages", "lost", "out of order", "duplicated", "redelivered", "late", "longest pause")
    print(f"{'harm':<8} {' '.join(f'{head:>12}' for head in heads)}", flush=True)
    held = True
    for harm in HARM if options.kind == "all" else [options.kind]:
        with tempfile.TemporaryDirectory(prefix="rq") as folder:
            server = KINDS[options.engine].start(Path(folder))
            try:
                reports = [asyncio.run(run(options, harm, server, number)) for number in range(options.runs)]
            finally:
                server.stop()
        show(harm, reports)
        held = held and all(report.held for report in reports)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
