"""What the engine asks of BullMQ and of the server, typed: the only module that knows BullMQ's inside.

A queue is one BullMQ queue for each partition, with a global concurrency of 1. BullMQ's own `Worker` and
`QueueEvents` hold two connections and one, and two or three tasks, for *each* of them; here all partitions share a few
connections, and the Lua scripts are called through BullMQ's `RedisBackend`, as those two do. What is stored is BullMQ's
own: its tools show it.
"""
# mypy: disable-error-code="import-untyped"
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
# Neither of the two is typed throughout: what comes out of them is given its type here.

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from json import loads
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote

try:
    from bullmq.backends import RedisBackend
    from bullmq.job import Job as BullMQJob
    from bullmq.redis_connection import RedisConnection
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import BusyLoadingError, RedisError
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import TimeoutError as RedisTimeoutError
except ImportError as error:
    raise ImportError(
        "The engine for Redis and Valkey needs bullmq, which is not installed. "
        "Install it: pip install 'pytest-taskleak[redis]'"
    ) from error

from reference_queue.distributed import outcome
from reference_queue.distributed.engine import Counts, Envelope
from reference_queue.distributed.errors import EngineLost, EngineRefused, PartitionMismatch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

__all__ = ["BLOCK", "Job", "LeaseLost", "Limits", "Port", "remove"]

BLOCK = 1.0
"""Seconds for which the server is asked to wait for something to happen. BullMQ calls it ``drainDelay``."""

_ANSWER = 10.0
"""Seconds in which the server answers, or it is lost. Always longer than what it was asked to wait: redis-py gives up
after 5 by default, which is also BullMQ's default of ``drainDelay``; then what the server answers at that moment is
lost with the connection, and workers of a queue on which another one died wait for ever."""

_EVENTS = 2000
"""So many events are kept of each partition, of which a message makes four or five. BullMQ keeps 10,000."""

_CONNECTIONS = 8
"""The most connections for commands; two more wait for messages and for outcomes."""


class LeaseLost(Exception):  # noqa: N818 - a condition, like those of reference_queue.errors
    """The job is another instance's by now, or nobody's."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept on the server for how long; see `BullMQEngine`."""

    lease: float
    deliveries: int
    remember: float
    remember_most: int
    dead_most: int


@dataclass(frozen=True, slots=True)
class Job:
    """A message that this instance has been given: its lock is ours until it is finished or the lease is lost."""

    partition: int
    raw: Mapping[str, str]
    job_id: str

    @property
    def envelope(self) -> Envelope:
        return Envelope.from_json(self.raw["data"])

    @property
    def attempt(self) -> int:
        return int(self.raw.get("ats", 1))

    @property
    def deaths(self) -> int:
        """How many deliveries ended with the silence of their instance."""
        return int(self.raw.get("stc", 0))

    @property
    def given_up(self) -> bool:
        """Whether there were so many of them that BullMQ wants it to be failed instead of handled."""
        return "defa" in self.raw


@contextmanager
def _translated() -> Generator[None]:
    """Say the errors of redis-py in the words of the protocol."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, BusyLoadingError, OSError) as error:
        raise EngineLost(f"The server does not answer: {_told(error)}. See that it runs and can be reached.") from error
    except RedisError as error:
        raise EngineRefused(f"The server answered: {_told(error)}. See its log and its settings.") from error


def _told(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _job_id(message_id: str) -> str:
    """Return an id that BullMQ takes: it refuses integers, and colons for they part its keys."""
    return "m" + quote(message_id, safe="")


def _message_id(job_id: str) -> str:
    return unquote(job_id[1:])


class Port:
    """The partitions of one queue on one server.

    All methods raise `EngineLost` and `EngineRefused`; those that need the lock of a job raise `LeaseLost`.
    """

    def __init__(self, url: str, prefix: str, name: str, partitions: int, limits: Limits) -> None:
        self.name = name
        self.partitions = partitions
        self._limits = limits
        self._clients = [self._client(url, _CONNECTIONS, _ANSWER), self._client(url, 2, BLOCK + _ANSWER)]
        self._commands, self._waiting = self._clients
        first = RedisBackend("", RedisConnection(self._commands), prefix=prefix, owns_connection=False)
        self._backends = [first.forQueue(f"{quote(name, safe='')}-{number}") for number in range(partitions)]
        self._stored_number = f"{prefix}:{quote(name, safe='')}:partitions"
        # What a job wants to know of its queue.
        lock = round(limits.lease * 1000)
        self._queues = [
            SimpleNamespace(backend=backend, qualifiedName=backend.qualifiedName, opts={"lockDuration": lock})
            for backend in self._backends
        ]
        self._markers = {self._key(number, "marker"): number for number in range(partitions)}
        self._streams = {self._key(number, "events"): number for number in range(partitions)}

    @staticmethod
    def _client(url: str, connections: int, answer: float) -> Any:
        pool = BlockingConnectionPool.from_url(
            url,
            decode_responses=True,
            protocol=2,
            max_connections=connections,
            timeout=answer,
            socket_timeout=answer,
            socket_connect_timeout=_ANSWER / 2,
            # Once, at once: that is for a connection that died in the pool. Who calls has pauses of his own.
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[RedisConnectionError],
        )
        return Redis.from_pool(pool)

    def _key(self, partition: int, what: str) -> str:
        key: str = self._backends[partition].toKey(what)
        return key

    async def prepare(self) -> None:
        """Connect; store the number of partitions, or raise `PartitionMismatch`; set the partitions up."""
        with _translated():
            await self._commands.set(self._stored_number, self.partitions, nx=True)
            stored = int(await self._commands.get(self._stored_number))
            if stored != self.partitions:
                raise PartitionMismatch(
                    f"Queue {self.name!r} has {stored} partitions on the server, and this instance was made with "
                    f"partitions={self.partitions}: chats would be handled in two places at once. Give "
                    f"partitions={stored}. To change the number, let all instances drain, delete the key "
                    f"{self._stored_number!r}, and start them with the new one; or use another name."
                )
            async with self._commands.pipeline(transaction=False) as pipe:
                for number in range(self.partitions):
                    # What Queue.setGlobalConcurrency does, for all partitions at once.
                    settings = {"concurrency": 1, "opts.maxLenEvents": _EVENTS}
                    pipe.hset(self._key(number, "meta"), mapping=settings)
                await pipe.execute()

    async def aclose(self) -> None:
        """Disconnect."""
        for client in self._clients:
            await client.aclose()
            await client.connection_pool.disconnect()

    # -- sending -----------------------------------------------------------------------------------------

    async def add(self, partition: int, envelopes: Sequence[Envelope]) -> None:
        """Store messages whose ids are not known, all or none."""
        keep = {"age": round(self._limits.remember), "count": max(1, self._limits.remember_most // self.partitions)}
        jobs = [
            BullMQJob(
                cast("Any", self._queues[partition]),
                "message",
                asdict(envelope),
                # attempts=1: BullMQ puts a job that is to be tried again behind all others.
                cast("Any", {"jobId": _job_id(envelope.message_id), "attempts": 1, "removeOnComplete": keep}),
            )
            for envelope in envelopes
        ]
        backend = self._backends[partition]
        with _translated():
            if len(jobs) == 1:
                await backend.addJob(jobs[0])
            else:
                await backend.addJobs(jobs)

    # -- handling ----------------------------------------------------------------------------------------

    async def next_job(self, partition: int, token: str) -> Job | None:
        """Take the next message of a partition, if there is one and no other of it is being handled."""
        with _translated():
            opts = {"lockDuration": round(self._limits.lease * 1000)}
            found = await self._backends[partition].moveToActive(token, opts)
        return self._job(partition, found)

    @staticmethod
    def _job(partition: int, found: Any) -> Job | None:
        return Job(partition, found[0], str(found[1])) if found and found[0] else None

    def _of_bullmq(self, job: Job) -> Any:
        return BullMQJob.fromJSON(cast("Any", self._queues[job.partition]), dict(job.raw), job.job_id)

    async def finish(self, job: Job, token: str, text: str, *, fetch_next: bool) -> Job | None:
        """Store the outcome of a message; return the next one if it is asked for and there is one."""
        keep = loads(job.raw["opts"]).get("removeOnComplete", True)
        backend = self._backends[job.partition]
        with _translated(), _leased():
            done = await backend.moveToCompleted(self._of_bullmq(job), loads(text), keep, token, fetch_next)
        return self._job(job.partition, done["result"])

    async def bury(self, job: Job, token: str, *, fetch_next: bool) -> Job | None:
        """Give a message up, and go on as `finish` does."""
        keep = {"count": max(1, self._limits.dead_most // self.partitions)}
        reason = outcome.dead(job.deaths)
        backend = self._backends[job.partition]
        with _translated(), _leased():
            done = await backend.moveToFailed(self._of_bullmq(job), reason, keep, token, fetch_next)
        return self._job(job.partition, done["result"])

    async def give_back(self, job: Job, token: str) -> None:
        """Put a message back to the front of its partition."""
        with _translated(), _leased():
            await self._backends[job.partition].retryJob(job.job_id, lifo=True, token=token)

    async def extend(self, job: Job, token: str) -> bool:
        """Make the lease of a job begin anew; return False if it is lost."""
        with _translated():
            lock = round(self._limits.lease * 1000)
            lost = await self._backends[job.partition].extendLocks([job.job_id], [token], lock)
        return not lost

    async def revive(self, partition: int, seconds: float) -> None:
        """Put a message whose lock is gone back to the front; it needs two calls, `seconds` apart or more."""
        with _translated():
            await self._backends[partition].moveStalledJobsToWait(self._limits.deliveries - 1, round(seconds * 1000))

    async def lengths(self) -> list[tuple[int, int]]:
        """Return for each partition how many messages wait and how many are being handled."""
        with _translated():
            async with self._commands.pipeline(transaction=False) as pipe:
                for number in range(self.partitions):
                    pipe.llen(self._key(number, "wait"))
                    pipe.llen(self._key(number, "active"))
                found = cast("list[int]", await pipe.execute())
        return list(zip(found[::2], found[1::2], strict=True))

    async def marked(self, first: int, seconds: float) -> int | None:
        """Wait for a partition in which something is to be done, looking at `first` first; None if time is up."""
        keys = list(self._markers)
        with _translated():
            found = await self._waiting.bzpopmin(keys[first:] + keys[:first], seconds)
        return None if found is None else self._markers[found[0]]

    async def mark(self, partition: int) -> None:
        """Tell the other instances that something is to be done in a partition."""
        with _translated():
            await self._commands.zadd(self._key(partition, "marker"), {"0": 0})

    # -- outcomes and figures ----------------------------------------------------------------------------

    async def last_events(self) -> dict[int, str]:
        """Return the id of the last event of each partition."""
        with _translated():
            async with self._commands.pipeline(transaction=False) as pipe:
                for number in range(self.partitions):
                    pipe.xrevrange(self._key(number, "events"), count=1)
                found = await pipe.execute()
        return {number: entries[0][0] if entries else "0-0" for number, entries in enumerate(found)}

    async def events(self, after: dict[int, str]) -> Iterator[tuple[str, str | None]]:
        """Wait for events later than those given, and note the last ones there.

        Returns message ids with their outcome; None instead of one for an id that was known when it was sent.
        """
        streams = {self._key(number, "events"): last for number, last in after.items()}
        with _translated():
            found = await self._waiting.xread(streams, block=round(BLOCK * 1000))
        for stream, entries in found or ():
            after[self._streams[stream]] = entries[-1][0]
        return self._ends(found or ())

    @staticmethod
    def _ends(found: Any) -> Iterator[tuple[str, str | None]]:
        for _stream, entries in found:
            for _number, fields in entries:
                event = fields.get("event")
                if event == "completed":
                    yield _message_id(fields["jobId"]), fields["returnvalue"]
                elif event == "failed":
                    yield _message_id(fields["jobId"]), fields["failedReason"]
                elif event == "duplicated":
                    yield _message_id(fields["jobId"]), None

    async def outcomes(self, watched: Mapping[str, int]) -> dict[str, str]:
        """Return the outcomes that the server has of these messages (their partitions by their ids)."""
        with _translated():
            async with self._commands.pipeline(transaction=False) as pipe:
                for message_id, partition in watched.items():
                    fields = ("returnvalue", "failedReason", "timestamp")
                    pipe.hmget(self._key(partition, _job_id(message_id)), fields)
                found = await pipe.execute()
        told: dict[str, str] = {}
        for message_id, (returned, failed, stored) in zip(watched, found, strict=True):
            text = returned or failed
            if text is not None:
                told[message_id] = text
            elif stored is None:
                told[message_id] = outcome.UNKNOWN
        return told

    async def counts(self) -> Counts:
        """Return what the server holds."""
        lengths = await self.lengths()
        with _translated():
            async with self._commands.pipeline(transaction=False) as pipe:
                for number in range(self.partitions):
                    pipe.zcard(self._key(number, "failed"))
                dead = sum(await pipe.execute())
        return Counts(sum(each[0] for each in lengths), sum(each[1] for each in lengths), dead)


async def remove(url: str, prefix: str, name: str) -> None:
    """Delete a queue from the server, with all that is in it; no instance of it may be open."""
    client: Any = Redis.from_url(url)
    with _translated():
        async for key in client.scan_iter(f"{prefix}:{quote(name, safe='')}[-:]*"):
            await client.delete(key)
    await client.aclose()


@contextmanager
def _leased() -> Generator[None]:
    try:
        yield
    except TypeError as error:  # of this class BullMQ makes all answers of its scripts
        if any(answer in str(error) for answer in ("Missing lock", "Lock mismatch", "Missing key", "is not in the")):
            raise LeaseLost(str(error)) from error
        raise
