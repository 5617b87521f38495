"""What the engine keeps in JetStream: two streams, and for each message a record of who has it or what became of it.

A record is the last message of a subject of its own, and is only written on top of the one that was read (the server
compares the sequence number). So of two instances that believe they have a message, one learns that it has not.
JetStream's own acknowledgements would not do: the server writes them down a moment later, forgets deliveries when it
is killed, and takes a late one from whoever sends it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

from reference_queue.distributed._jetstream_link import GONE, Refused
from reference_queue.distributed.engine import Counts
from reference_queue.distributed.errors import EngineLost, PartitionMismatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from nats.aio.msg import Msg

    from reference_queue.distributed._jetstream_link import Link

__all__ = ["Limits", "Record", "Store", "key_of"]

_API = "$JS.API"
_ID = "Nats-Msg-Id"
_SENDER = "Rq-Sender"
_NANO = 1_000_000_000

_NO_MESSAGE, _OTHER_CONFIG, _OTHER_RECORD = 10037, 10058, 10071
"""JetStream's numbers of the errors that are answers."""


def key_of(message_id: str) -> str:
    """Return what stands for a message id in subjects and headers, where not every text may stand."""
    return blake2b(message_id.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds that the user has set; see `JetStreamEngine`."""

    lease: float
    deliveries: int
    remember: float


@dataclass(frozen=True, slots=True)
class Record:
    """Who has a message, or what became of it."""

    state: Literal["held", "back", "done"]
    """``"back"``: given back, to be taken at once."""

    holder: str
    """Names the delivery: an instance that sees it again after a broken connection knows that it wrote it."""

    attempt: int
    """How many deliveries have begun."""

    deliveries: int
    """How many of them count towards the death of the message."""

    lease: float
    """Seconds for which it holds."""

    outcome: str = ""

    sequence: int = 0
    """Of the record, in its stream."""

    written: float = 0.0
    """When, in seconds since the epoch by the server's clock."""

    def as_sent(self) -> dict[str, Any]:
        """Return what is stored of it."""
        stored = asdict(self)
        del stored["sequence"], stored["written"]
        return stored


class Store:
    """The streams of one queue.

    Args:
        name: of the queue.
        partitions: how many there are to be.
        limits: what the streams are made with.
    """

    def __init__(self, name: str, partitions: int, limits: Limits) -> None:
        self.name = name
        self.partitions = partitions
        self.limits = limits
        token = name
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            # "=" is in no name that stands for itself.
            token = f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:40]}={key_of(name)}"
        self.messages = f"rq-messages-{token}"
        self.records = f"rq-records-{token}"
        self._prefix = f"rq.{token}"

    def message(self, partition: int | str) -> str:
        """Return the subject of the messages of a partition."""
        return f"{self._prefix}.message.{partition}"

    def record(self, key: str) -> str:
        """Return the subject of the record of a message."""
        return f"{self._prefix}.record.{key}"

    def dead(self, key: str) -> str:
        """Return the subject of a message that was given up."""
        return f"{self._prefix}.dead.{key}"

    # -- streams and consumers ---------------------------------------------------------------------------

    async def prepare(self, link: Link) -> None:
        """Make the streams, if they are not there.

        Raises:
            EngineLost, EngineRefused: the server was not reached, or does not want to.
            PartitionMismatch: they are there with another number of partitions.
        """
        remember = int(self.limits.remember * _NANO)
        await self._stream(
            link,
            name=self.messages,
            description=f"reference_queue: {self.partitions} partitions",
            subjects=[self.message("*")],
            retention="workqueue",
            duplicate_window=remember,
        )
        await self._stream(
            link,
            name=self.records,
            description="reference_queue: who has which message, and what became of it",
            subjects=[self.record("*"), self.dead("*")],
            retention="limits",
            max_age=remember,
            max_msgs_per_subject=1,
            duplicate_window=min(remember, 100_000_000),  # nothing in it bears an id
        )

    async def _stream(self, link: Link, **config: Any) -> None:
        name = config["name"]
        try:
            found = (await link.ask(f"{_API}.STREAM.INFO.{name}"))["config"]
        except Refused as refused:
            if refused.code != GONE:
                raise
            try:
                await link.ask(f"{_API}.STREAM.CREATE.{name}", {"storage": "file", "num_replicas": 1, **config})
            except Refused as late:
                if late.code != _OTHER_CONFIG:  # of another instance that made it meanwhile
                    raise
                found = (await link.ask(f"{_API}.STREAM.INFO.{name}"))["config"]
            else:
                return
        if name == self.messages and found.get("description") != config["description"]:
            stored = re.sub(r"\D", "", found.get("description", "")) or "?"
            raise PartitionMismatch(
                f"Queue {self.name!r} has {stored} partitions on the server, and this instance was made with "
                f"partitions={self.partitions}: chats would be handled in two places at once. Give "
                f"partitions={stored}. To change the number, let all instances drain, delete the stream {name!r}, and "
                "start them with the new one; or use another name."
            )

    async def prepare_consumers(self, link: Link) -> None:
        """Make the consumer of each partition, if it is not there or has another lease."""
        wait = int(self.limits.lease * _NANO)
        there = {each["name"]: each["config"].get("ack_wait") for each in await self._consumers(link)}
        await asyncio.gather(
            *(
                link.ask(
                    f"{_API}.CONSUMER.DURABLE.CREATE.{self.messages}.p{partition}",
                    {
                        "stream_name": self.messages,
                        "config": {
                            "durable_name": f"p{partition}",
                            "filter_subject": self.message(partition),
                            "deliver_policy": "all",
                            "ack_policy": "explicit",
                            "ack_wait": wait,
                            "max_ack_pending": 1,
                            "max_deliver": -1,  # deliveries that were given back must not count; the record counts
                        },
                    },
                )
                for partition in range(self.partitions)
                if there.get(f"p{partition}") != wait
            )
        )

    async def _consumers(self, link: Link) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = await link.ask(f"{_API}.CONSUMER.LIST.{self.messages}", {"offset": len(found)})
            found += page["consumers"]
            if len(found) >= page["total"] or not page["consumers"]:
                return found

    # -- messages ---------------------------------------------------------------------------------------

    async def send(self, link: Link, partition: int, packets: Sequence[tuple[str, bytes]], sender: str) -> list[Any]:
        """Store messages in this order; return what the server says of each, and of some it may be that it refused."""
        headers = {_SENDER: sender}
        subject = self.message(partition)
        begun = [await link.begin(subject, packet, {_ID: key, **headers}) for key, packet in packets]
        answers = (_of_stream(link, link.answer(each)) for each in begun)
        return list(await asyncio.gather(*answers, return_exceptions=True))

    @staticmethod
    def sender_of(message: Msg) -> str:
        """Return the subject that the sender of a message listens to; nothing if there is none."""
        return (message.headers or {}).get(_SENDER, "")

    async def pull(self, link: Link, partition: int, reply: str, seconds: float) -> None:
        """Ask for the next message of a partition; it, or word that there was none, comes to `reply`."""
        request = json.dumps({"batch": 1, "expires": int(seconds * _NANO)}).encode()
        await link.publish(f"{_API}.CONSUMER.MSG.NEXT.{self.messages}.p{partition}", request, reply=reply)

    async def is_queued(self, link: Link, sequence: int) -> bool:
        """Say whether a message is still among those to be handled."""
        return await self._get(link, self.messages, seq=sequence) is not None

    # -- records -----------------------------------------------------------------------------------------

    async def write(self, link: Link, key: str, record: Record, on: int) -> Record | None:
        """Write a record on top of the one with this sequence number (0: of none); None if that is not the last one."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(on)}
        try:
            stored = await _of_stream(link, link.ask(self.record(key), record.as_sent(), headers))
        except Refused as refused:
            if refused.code != _OTHER_RECORD:
                raise
            return None
        return replace(record, sequence=stored["seq"])

    async def read(self, link: Link, key: str) -> Record | None:
        """Return the record of a message, if there is one."""
        found = await self._get(link, self.records, last_by_subj=self.record(key))
        if found is None:
            return None
        written = datetime.fromisoformat(found["time"]).timestamp()
        stored = json.loads(base64.b64decode(found["data"]))
        known: dict[str, Any] = {each.name: stored[each.name] for each in fields(Record) if each.name in stored}
        return Record(**known, sequence=found["seq"], written=written)

    async def now(self, link: Link) -> float:
        """Return the server's time, in seconds since the epoch; 0 if it does not tell (before 2.10)."""
        told = (await link.ask(f"{_API}.STREAM.INFO.{self.records}")).get("ts")
        return datetime.fromisoformat(told).timestamp() if told else 0.0

    async def bury(self, link: Link, key: str, message: bytes) -> None:
        """Keep a message that was given up."""
        await _of_stream(link, link.answer(await link.begin(self.dead(key), message)))

    async def _get(self, link: Link, stream: str, **which: object) -> dict[str, Any] | None:
        asked = link.ask(f"{_API}.STREAM.MSG.GET.{stream}", which)
        try:
            found: dict[str, Any] = (await _of_stream(link, asked))["message"]
        except Refused as refused:
            if refused.code != _NO_MESSAGE:
                raise
            return None
        return found

    # -- figures -----------------------------------------------------------------------------------------

    async def counts(self, link: Link) -> Counts:
        """Return what the server holds."""
        delivered = [each for each in await self._consumers(link) if each["num_ack_pending"]]
        firsts = await asyncio.gather(
            *(
                self._get(link, self.messages, seq=1, next_by_subj=each["config"]["filter_subject"])
                for each in delivered
            )
        )
        keys = [_key_in(first["hdrs"]) for first in firsts if first is not None and "hdrs" in first]
        records = await asyncio.gather(*(self.read(link, key) for key in keys))
        now = await self.now(link)
        stored, dead = await asyncio.gather(
            link.ask(f"{_API}.STREAM.INFO.{self.messages}"),
            link.ask(f"{_API}.STREAM.INFO.{self.records}", {"subjects_filter": self.dead("*")}),
        )
        found = [record for record in records if record is not None]
        held = sum(record.state == "held" and now - record.written < record.lease for record in found)
        done = sum(record.state == "done" for record in found)  # it is taken off in the next moment
        return Counts(
            total_queued=max(0, stored["state"]["messages"] - held - done),
            processing=held,
            dead=len(dead["state"].get("subjects") or ()),
        )


async def _of_stream(link: Link, answer: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer; if the stream is gone, the link is of no use: the next one makes the stream again."""
    try:
        return await answer
    except Refused as refused:
        if refused.code != GONE:
            raise
        link.fail("it has the streams no more")
        raise EngineLost(str(refused)) from None


def _key_in(headers: str) -> str:
    """Return the key of a message from its headers, as they come with a stored message."""
    found = re.search(rb"Nats-Msg-Id: (\w+)", base64.b64decode(headers))
    return found[1].decode() if found else "none"
