"""Any sequence of operations: the figures never drift from what happened, and every future is settled."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from reference_queue import MessageQueue, Observer, QueueClosed, QueueFull

CHATS = st.sampled_from("abcd")
STEP = st.one_of(
    st.tuples(st.just("enqueue"), CHATS, st.sampled_from([None, None, 5, 50])),
    st.tuples(st.just("post"), CHATS, st.sampled_from([None, 5])),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("end"), st.integers(0, 5), st.sampled_from(["result", "error", "cancelled"])),
    st.tuples(st.just("time"), st.integers(1, 20)),
    st.tuples(st.just("tick"), st.integers(1, 3)),
    st.tuples(st.just("cancel worker"), st.integers(0, 3)),
)
OPTIONS = st.fixed_dictionaries(
    {
        "workers": st.integers(1, 3),
        "batch": st.integers(1, 3),
        "max_queued": st.sampled_from([None, 1, 3]),
        "max_queued_per_chat": st.sampled_from([None, 1, 2]),
        "policy": st.sampled_from(["wait", "reject", "drop_oldest"]),
    }
)


class Tally(Observer):
    """Counts what a queue tells."""

    def __init__(self):
        self.counts = Counter()

    def accepted(self, waited, /):
        self.note("accepted", waited)

    def refused(self, error, /):
        assert error is QueueFull
        self.counts["refused"] += 1

    def begun(self, waited, /):
        self.note("begun", waited)

    def given_up(self, waited, outcome, /):
        self.note("given up", waited)
        self.counts[outcome] += 1

    def handled(self, took, outcome, error, /):
        assert (error is None) == (outcome == "completed")
        self.note("handled", took)
        self.counts[outcome] += 1

    def note(self, what, seconds):
        assert seconds >= 0
        self.counts[what] += 1


def queued(chat):
    """The messages of a chat from the oldest to the youngest, as the links between them say."""
    message, before = chat.head, None
    while message is not None:
        assert message.before is before
        yield message
        message, before = message.after, message
    assert chat.tail is before


class World:
    """A queue, its handlers waiting to be told how to end, and every future it has handed out."""

    def __init__(self, options, *, observed):
        self.loop = asyncio.get_running_loop()
        self.now = 0.0
        self.loop.time = lambda: self.now
        self.loop.set_exception_handler(lambda _loop, _context: None)
        self.observed = observed
        self.told = Tally()
        self.queue = MessageQueue(self.handle, observer=self.told if observed else None, **options)
        self.options = options
        self.handlers = []
        self.busy = set()
        self.begun = []
        self.results = []
        self.posts = []
        self.sent = 0
        self.over = False

    async def handle(self, message):
        chat, number = message
        assert chat not in self.busy, "two handlers of one chat at once"
        self.busy.add(chat)
        self.begun.append(message)
        how = self.loop.create_future()
        self.handlers.append(how)
        try:
            while True:
                try:
                    how_it_ends = await asyncio.shield(how)
                except asyncio.CancelledError:
                    if number % 3 or self.over:  # every third message swallows its cancellation
                        raise
                else:
                    break
            if how_it_ends == "error":
                raise KeyError(number)
            if how_it_ends == "cancelled":
                raise asyncio.CancelledError
            return number
        finally:
            self.busy.discard(chat)
            if how in self.handlers:
                self.handlers.remove(how)

    async def step(self, name, *args):
        if name == "enqueue":
            chat, deadline = args
            self.sent += 1
            with contextlib.suppress(QueueFull):
                self.results.append(self.queue.enqueue(chat, (chat, self.sent), deadline=deadline))
        elif name == "post":
            chat, deadline = args
            self.sent += 1
            self.posts.append(asyncio.create_task(self.queue.post(chat, (chat, self.sent), deadline=deadline)))
        elif name == "cancel" and self.results:
            self.results[args[0] % len(self.results)].cancel()
        elif name == "end" and self.handlers:
            self.handlers.pop(args[0] % len(self.handlers)).set_result(args[1])
        elif name == "time":
            self.now += args[0]
            await asyncio.sleep(0)
        elif name == "tick":
            for _ in range(args[0]):
                await asyncio.sleep(0)
        elif name == "cancel worker":
            workers = sorted(self.queue._pool.workers, key=id)
            if workers and len(asyncio.all_tasks()) > 1:
                workers[args[0] % len(workers)].task.cancel()

    def check(self):
        """Compare every figure with a count of the things themselves."""
        queue, stats = self.queue, self.queue.get_memory_stats()
        pool, room = queue._pool, queue._room
        chats = list(queue._chats.values())
        assert stats.total_queued == sum(not message.gone for chat in chats for message in queued(chat))
        if room.bounded:
            assert all(chat.present == len(list(queued(chat))) for chat in chats)
            assert stats.waiting == sum(not message.gone for chat in chats for message in chat.line or ())
        else:
            assert stats.waiting == 0
        assert stats.ready == sum(not chat.gone for chat in pool.ready)
        assert 0 <= stats.pending_promises <= stats.processing <= stats.workers <= self.options["workers"]
        assert stats.pending_promises == sum(worker.message is not None for worker in pool.workers)
        assert pool.live == len(pool.workers)
        assert pool.looking == sum(worker.looking for worker in pool.workers)
        assert all(worker.looking == (worker.chat is None) for worker in pool.workers)
        assert pool.looking >= stats.ready or pool.live == self.options["workers"], "work without a worker"
        if (most := self.options["max_queued"]) is not None:
            assert stats.total_queued <= most
            if stats.total_queued < most and self.options["max_queued_per_chat"] is None:
                assert stats.waiting == 0, "room, and somebody waits for it"
        if (most := self.options["max_queued_per_chat"]) is not None:
            assert all(chat.present <= most for chat in chats)
        for chat in chats:
            waits = room.bounded and chat.line and chat.line.present
            assert chat.worker is not None or chat.head is not None or waits, "an idle chat"
            assert chat.scheduled or chat.head is None
        assert len(room.standing) < 100


async def live(options, steps, *, observed):
    world = World(options, observed=observed)
    try:
        await go_through(world, steps)
    finally:
        world.over = True  # so that a failure is reported instead of a loop that cannot end


async def go_through(world, steps):
    for step in steps:
        await world.step(*step)
        world.check()
    for _ in range(10_000):
        if not world.queue._chats:
            break
        while world.handlers:
            world.handlers.pop().set_result("result")
        await asyncio.sleep(0)
        world.check()
    await world.queue.aclose()
    world.check()
    assert all(result.done() for result in world.results)
    posted = await asyncio.gather(*world.posts, return_exceptions=True)
    late = sum(isinstance(outcome, QueueClosed) for outcome in posted)
    stats = world.queue.get_memory_stats()
    assert stats.received + stats.rejected + late == world.sent
    assert stats.workers == stats.total_chats == 0
    if world.observed:
        told = world.told.counts
        for outcome in ("completed", "failed", "cancelled", "dropped", "expired"):
            assert told[outcome] == getattr(stats, outcome)
        assert told["refused"] == stats.rejected
        assert told["begun"] == told["handled"] == len(world.begun)
        assert told["begun"] + told["given up"] == stats.received
        assert told["begun"] <= told["accepted"] <= stats.received
    for chat in "abcd":
        begun = [number for each, number in world.begun if each == chat]
        assert len(begun) == len(set(begun))


@settings(max_examples=150, deadline=None, database=None)
@given(options=OPTIONS, steps=st.lists(STEP, max_size=60), observed=st.booleans())
def test_figures_never_drift_and_every_future_is_settled(options, steps, observed):
    asyncio.run(live(options, steps, observed=observed))
