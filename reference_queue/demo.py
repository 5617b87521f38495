"""Shows the distributed queue losing a worker and nothing else: ``python -m reference_queue demo``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from reference_queue.distributed._kinds import KINDS
from reference_queue.distributed._tasks import end
from reference_queue.distributed._trial import Report, Trial
from reference_queue.distributed.errors import EngineLost

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_PERIOD = 0.5
"""Seconds between two lines of progress."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run two worker processes, kill one midway, and show what became of every message.

    Args:
        argv: the arguments of the command line; None takes those of the program.

    Returns:
        0 if nothing was lost and the order of every chat was kept, 1 if not, 2 if it could not be tried.
    """
    parser = argparse.ArgumentParser(prog="python -m reference_queue demo", description=main.__doc__)
    parser.add_argument("--url", help="a Redis or Valkey that runs; without it an embedded Valkey is started")
    parser.add_argument("--messages", type=int, default=300)
    parser.add_argument("--chats", type=int, default=12)
    options = parser.parse_args(argv)
    if sys.platform == "win32":
        _say("The demo stops and kills processes in ways that Windows does not know. Run it on Linux or macOS.")
        return 2
    with tempfile.TemporaryDirectory(prefix="rq") as folder:
        try:
            return _with_server(options, Path(folder))
        except (ImportError, EngineLost) as error:
            _say(str(error))
            return 2


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program for the terminal


def _with_server(options: argparse.Namespace, folder: Path) -> int:
    server = None if options.url else KINDS["bullmq"].start(folder)
    try:
        url = options.url or (server.url if server is not None else "")
        trial = Trial("bullmq", url, f"demo-{uuid4().hex[:8]}", folder / "journal", partitions=8)
        trial.messages, trial.chats, trial.handling = options.messages, options.chats, 0.02
        report = asyncio.run(_show(trial, embedded=server is not None))
        if options.url:
            _clean(url, trial.name)  # it is not ours
    finally:
        if server is not None:
            server.stop()
    return _verdict(report)


async def _show(trial: Trial, *, embedded: bool) -> Report:
    where = "an embedded Valkey" if embedded else trial.url
    _say(f"{trial.messages} messages of {trial.chats} chats by way of {where}, handled by two processes.")
    begun = time.monotonic()

    async def kill(trial: Trial) -> None:
        await _progress(trial, begun)
        await trial.kill_worker()
        pid, in_hand = trial.killed or (0, set[str]())
        _say(f"        kill -9 {pid}, in the midst of {', '.join(map(repr, sorted(in_hand)))}")

    async def watch() -> None:
        while True:
            await asyncio.sleep(_PERIOD)
            await _progress(trial, begun)

    watching = asyncio.create_task(watch())
    try:
        return await trial.run(kill)
    finally:
        await end([watching])


async def _progress(trial: Trial, begun: float) -> None:
    if trial.queue is None:
        return
    with suppress(EngineLost):  # it is said by what is shown in the end
        counts = await trial.queue.get_server_stats()
        _say(
            f"{time.monotonic() - begun:5.1f} s {trial.settled:5} settled; over all instances "
            f"{counts.total_queued} queued, {counts.processing} being handled, {counts.dead} given up"
        )


def _verdict(report: Report) -> int:
    rows = [
        ("messages", report.messages, ""),
        ("lost", report.lost, "every sender got its result"),
        ("out of order", report.out_of_order, "each chat was handled in the order it was sent in"),
        ("delivered twice", report.duplicated, "what is delivered again says so, under the same message id"),
        ("delivered again", report.redelivered, "what the killed worker had in hand"),
        ("longest pause", f"{report.longest_pause:.1f} s", "of a chat: until the lease of the killed worker was over"),
    ]
    _say("")
    for name, figure, meaning in rows:
        _say(f"{name:<22}{figure:>8}  {meaning}")
    _say("\nNothing was lost, and the order was kept." if report.held else "\nA promise was broken.")
    return 0 if report.held else 1


def _clean(url: str, name: str) -> None:
    from reference_queue.distributed._bullmq_port import remove  # noqa: PLC0415 - an extra

    asyncio.run(remove(url, "bull", name))


if __name__ == "__main__":
    sys.exit(main())
