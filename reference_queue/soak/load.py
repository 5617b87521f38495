"""What is sent to a queue: how many messages, when, and what each does to its handler."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LOADS", "Load", "Sample"]

BODY = 10_000
"""Bytes of a message: the incident's table has 50 MB for 5,000 pending promises."""


@dataclass(frozen=True, slots=True)
class Load:
    """A load. All durations are of the bot's time, of which `speed` seconds pass in one.

    Everything that takes time is compressed by the same factor: the pauses between messages, the handling, the
    deadline. So as many messages are under way at the same time as without, and so many promises are alive; what is
    not compressed is the work of the processor.
    """

    name: str
    rate: float
    """Messages a minute, over all chats."""
    minutes: float
    speed: float
    chats: int
    handling: float
    """Seconds that the handling of a message takes on the average (exponentially distributed)."""
    deadline: float
    """Seconds after which the reference queue gives a message up; the broken one has no deadline."""
    workers: int = 64
    """Of the reference queue; the broken one has one for each chat."""
    failing: float = 0.01
    """The part of messages whose handler raises, as it does when a contact cannot be found."""
    hanging: float = 0.001
    """The part of messages whose handler never ends, as it does when an answer never comes."""
    seed: int = 1

    @property
    def seconds(self) -> float:
        """How long it takes in real time."""
        return self.minutes * 60 / self.speed

    def messages(self) -> Iterator[Message]:
        """Yield what is sent, without end; the same for each queue."""
        chance = random.Random(self.seed)  # noqa: S311 - a load, not a secret
        number = 0
        while True:
            fate = chance.random()
            seconds = chance.expovariate(1 / self.handling) / self.speed
            what = "fail" if fate < self.failing else "hang" if fate < self.failing + self.hanging else "answer"
            yield Message(f"chat {chance.randrange(self.chats)}", what, seconds, bytes(BODY))
            number += 1

    def to_json(self) -> str:
        """Return it as text, for a child."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Load:
        """Return the load that `to_json` was called on."""
        return cls(**json.loads(text))


class Message(NamedTuple):
    """One message, which says what its handling comes to."""

    chat: str
    what: str
    seconds: float
    body: bytes


async def handle(message: Message) -> int:
    """Handle a message in the way that it says."""
    if message.what == "hang":
        await asyncio.sleep(1e6)  # an answer that never comes; something alive waits for it, as a socket would
    await asyncio.sleep(message.seconds)
    if message.what == "fail":
        raise ConnectionError("the contact cannot be found")
    return len(message.body)


class Sample(NamedTuple):
    """What one queue held at a moment."""

    minute: float
    """Of the bot's time."""
    promises: int
    """Futures that were handed out and are not settled."""
    memory: int
    """Bytes, the resident set of its process."""
    sent: int
    alerts: int
    """How often `Monitor` has raised the alert of pending promises so far."""
    queued: int


LOADS = {
    "incident": Load("incident", rate=1_000, minutes=60, speed=150, chats=200, handling=0.3, deadline=30),
    "heavy": Load("heavy", rate=1_000_000, minutes=0.4, speed=1, chats=10_000, handling=0.002, deadline=1, workers=256),
}
"""The incident's load, and a thousand times as much with a handler that takes 2 ms."""
