"""Two children side by side, and what they tell."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reference_queue.soak.load import Load, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Outcome", "SoakFailed", "side_by_side"]

QUEUES = ("broken", "reference")


class SoakFailed(Exception):  # noqa: N818 - a condition, as those of the queue
    """A child ended otherwise than it should."""


@dataclass(slots=True)
class Outcome:
    """What was seen of both queues under one load."""

    load: Load
    limit: int
    """Bytes at which a queue is stopped."""
    samples: dict[str, list[Sample]] = field(default_factory=lambda: {name: [] for name in QUEUES})

    def stopped(self, name: str) -> bool:
        """Say whether the queue was stopped at the memory limit."""
        return any(sample.memory > self.limit for sample in self.samples[name][-1:])


async def side_by_side(load: Load, limit: int, tell: Callable[[str, Sample], None]) -> Outcome:
    """Run both queues under a load; no child is left when this returns or raises.

    Args:
        load: what is sent to each.
        limit: bytes of memory at which a queue is stopped.
        tell: called with the queue's name and each sample.

    Raises:
        SoakFailed: a queue's process failed; the text has the end of what it wrote.
    """
    outcome = Outcome(load, limit)
    async with asyncio.TaskGroup() as group:
        for name in QUEUES:
            group.create_task(_one(name, outcome, tell))
    return outcome


async def _one(name: str, outcome: Outcome, tell: Callable[[str, Sample], None]) -> None:
    command = ("-m", "reference_queue.soak.child", name, outcome.load.to_json(), str(outcome.limit))
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=pipe, stderr=pipe)
    assert child.stdout is not None  # noqa: S101 - asked for
    assert child.stderr is not None  # noqa: S101 - asked for
    complaints = asyncio.create_task(child.stderr.read())
    try:
        async for line in child.stdout:
            sample = Sample(*json.loads(line))
            outcome.samples[name].append(sample)
            tell(name, sample)
        status = await child.wait()
        text = (await complaints).decode(errors="replace").strip()
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        complaints.cancel()
        await asyncio.wait([complaints])
    if status:
        raise SoakFailed(f"The process of the {name} queue ended with status {status}: {text[-500:] or 'no word'}")
