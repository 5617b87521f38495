"""What processes and interpreters gain over threads, with a handler that computes, in one run.

    python benchmarks/executors.py [--messages 200] [--milliseconds 10] [--rounds 3]

Each kind handles the same messages with a worker for each processor; the handler computes for as long as was measured
to take the given time alone. Workers are started before the clock. Rounds alternate between the kinds, so that a slow
moment of the machine hits all of them; the figures are medians, and the ratios those of medians to threads. *Overhead*
is the processor time, of the program and its children together, that a message costs beyond the handler's own.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import statistics
import sys
import time
from pathlib import Path

from reference_queue import MessageQueue
from reference_queue.executors import Executor, in_interpreters, in_processes, in_threads

PROCESSORS = os.cpu_count() or 1


def compute(turns: int) -> int:
    """Keep a processor busy, in Python, for so many turns."""
    total = 0
    for turn in range(turns):
        total ^= turn * turn
    return total


def turns_in(seconds: float) -> int:
    """Return how many turns take so long, by the fastest of several tries."""
    turns = 20_000
    best = min(_timed(turns) for _ in range(20))
    return round(turns * seconds / best)


def _timed(turns: int) -> float:
    begin = time.process_time()
    compute(turns)
    return time.process_time() - begin


def _processor_time() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


async def measure(executor: Executor[int, int], turns: int, messages: int) -> float:
    """Return the messages per second, the workers having been started."""
    async with MessageQueue(executor, workers=PROCESSORS) as queue:
        await asyncio.gather(*(queue.enqueue(chat, 1000) for chat in range(PROCESSORS)))
        begin = time.perf_counter()
        await asyncio.gather(*(queue.enqueue(chat, turns) for chat in range(messages)))
        return messages / (time.perf_counter() - begin)


def main() -> None:
    """Run every kind in every round and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--milliseconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    handler = importlib.import_module(Path(__file__).stem).compute  # interpreters do not have the main module
    kinds = [in_threads, in_processes] + [in_interpreters] * (sys.version_info >= (3, 14))
    turns = turns_in(options.milliseconds / 1000)
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for kind in kinds:
            begin = _processor_time()
            rate = asyncio.run(measure(kind(handler, workers=PROCESSORS), turns, options.messages))
            cost = (_processor_time() - begin) / options.messages * 1000 - options.milliseconds
            rates.setdefault(kind.__name__, []).append(rate)
            costs.setdefault(kind.__name__, []).append(cost)
    yardstick = statistics.median(rates["in_threads"])
    print(
        f"{options.messages} messages of {options.milliseconds:g} ms, {PROCESSORS} workers on {PROCESSORS} processors, "
        f"median of {options.rounds} rounds"
    )
    print(f"{'kind':<18}{'msg/s':>8}{'x threads':>11}{'overhead ms':>13}")
    for kind in kinds:
        rate = statistics.median(rates[kind.__name__])
        print(
            f"{kind.__name__:<18}{rate:>8,.1f}{rate / yardstick:>11.2f}{statistics.median(costs[kind.__name__]):>13.2f}"
        )


if __name__ == "__main__":
    main()
