"""The future that `enqueue` returns is the message: what settles it, and what it keeps."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref

import pytest

from reference_queue import CloseTimeout, MessageQueue


async def _handled(queue, script, kept, clock):
    pass


async def _failed(queue, script, kept, clock):
    script.hold("b1")
    script.release("b1", error=ValueError("no"))


async def _cancelled(queue, script, kept, clock):
    kept.cancel()


async def _cancelled_as_its_turn_comes(queue, script, kept, clock):
    script._gates["a1"].add_done_callback(lambda _: kept.cancel())


async def _settled_by_its_holder(queue, script, kept, clock):
    kept.set_result("mine")


async def _dropped(queue, script, kept, clock):
    queue.enqueue("c", ["c1"])


async def _expired(queue, script, kept, clock):
    await clock.advance(6)


async def _called_off(queue, script, kept, clock):
    script.hold("b1")
    script.release("a1")
    await script.begun("b1")
    await clock.advance(6)


async def _closed(queue, script, kept, clock):
    with pytest.raises(CloseTimeout):
        script.swallow.add("a1")
        await queue.aclose("cancel", timeout=0)


@pytest.mark.parametrize(
    "end",
    [
        _handled,
        _failed,
        _cancelled,
        _cancelled_as_its_turn_comes,
        _settled_by_its_holder,
        _dropped,
        _expired,
        _called_off,
        _closed,
    ],
)
async def test_a_future_that_is_kept_keeps_nothing_of_the_queue(end, script, ticks, clock):
    """However it ends: neither the message, nor the sender's context, nor the queue."""

    class Value:
        pass

    var = contextvars.ContextVar("var")

    async def handler(body):
        name, body[:] = body[0], []  # the list is what must go; a failure shows the handler's frame
        del body
        return await script(name)

    class Body(list):
        __slots__ = ("__weakref__",)

    async def send(queue, message):
        value, body = Value(), Body([message])
        var.set(value)
        return queue.enqueue(message[0], body, deadline=5), [weakref.ref(body), weakref.ref(value)]

    async def use():
        queue = MessageQueue(handler, workers=1, max_queued=1 if end is _dropped else None, policy="drop_oldest")
        script.hold("a1")
        await queue.post("a", Body(["a1"]))
        await script.begun("a1")
        kept, things = await asyncio.create_task(send(queue, "b1"))
        await end(queue, script, kept, clock)
        if not script._gates["a1"].done():
            script.release("a1")
        await queue.aclose()
        return kept, [*things, weakref.ref(queue._pool)]

    kept, things = await asyncio.create_task(use())
    assert kept.done()
    script._gates.clear()
    await ticks()
    gc.collect()
    assert [thing() for thing in things] == [None] * 3


@pytest.mark.parametrize("settle", ["cancel", "set_result", "set_exception"])
async def test_a_future_that_is_settled_while_its_message_is_queued_withdraws_it(settle, script, ticks):
    """Also where the caller settles it: that is as good as a cancellation."""
    async with MessageQueue(script, workers=1) as queue:
        script.hold("a1")
        queue.enqueue("a", "a1")
        await script.begun("a1")
        result = queue.enqueue("b", "b1")
        getattr(result, settle)(*{"cancel": [], "set_result": ["mine"], "set_exception": [ValueError("mine")]}[settle])
        await ticks()
        stats = queue.get_memory_stats()
        assert (stats.total_queued, stats.total_chats, stats.cancelled) == (0, 1, 1)
        script.release("a1")
    assert script.order == ["a1"]
    assert result.cancelled() if settle == "cancel" else result.exception() is not None or result.result() == "mine"


@pytest.mark.parametrize("moment", ["hash", "equal"])
async def test_a_future_that_is_cancelled_in_the_midst_of_the_queues_own_code_harms_nothing(moment, script, ticks):
    """As by a finalizer, which runs wherever memory is asked for; here by the chat's id, which the queue looks up."""

    class Id:
        def __init__(self, name):
            self.name = name

        def __hash__(self):
            if moment == "hash" and victims:
                victims.pop().cancel()
            return hash(self.name)

        def __eq__(self, other):
            if moment == "equal" and victims:
                victims.pop().cancel()
            return self.name == other.name

    victims = []
    async with MessageQueue(script, workers=1) as queue:
        script.hold("z")
        queue.enqueue("z", "z")
        await script.begun("z")
        results = [queue.enqueue(Id("a"), f"a{n}") for n in range(4)]
        for n in (3, 2, 1, 0):  # the youngest first, to which the next is linked
            victims.append(results[n])
            results.append(queue.enqueue(Id("a"), f"a{len(results)}"))
            assert not victims
        assert all(result.cancelled() for result in results[:4])
        script.release("z")
        assert await asyncio.gather(*results[4:]) == ["A4", "A5", "A6", "A7"]
        assert queue.get_memory_stats().cancelled == 4
    assert script.order == ["z", "a4", "a5", "a6", "a7"]


@pytest.mark.parametrize("options", [{}, {"max_queued": 10}], ids=["no bounds", "bounds"])
@pytest.mark.parametrize("lookup", [1, 2])
async def test_a_message_sent_in_the_midst_of_anothers_way_in_joins_the_same_chat(options, lookup, script, ticks):
    """As by a finalizer; here by the chat's id, whose hash the queue asks for."""

    class Id:
        def __hash__(self):
            lookups.append(self)
            if len(lookups) == lookup:
                results.append(queue.enqueue(self, "a1"))
            return 1

    lookups, results = [], []
    async with MessageQueue(script, **options) as queue:
        chat = Id()
        script.hold("a1", "a2")
        results.append(queue.enqueue(chat, "a2"))
        assert len(results) == 2
        assert queue.get_memory_stats().total_chats == 1
        assert queue.get_memory_stats().total_queued == 2
        await ticks()
        script.release("a1", "a2")
        assert sorted(await asyncio.gather(*results)) == ["A1", "A2"]
    assert script.most_of_a_chat == 1


async def test_a_future_is_settled_once_like_any_other(script):
    async with MessageQueue(script) as queue:
        result = queue.enqueue("a", "a1")
        assert await result == "A1"
        assert not result.cancel()
        with pytest.raises(asyncio.InvalidStateError):
            result.set_result("again")
        with pytest.raises(asyncio.InvalidStateError):
            result.set_exception(ValueError)
        assert queue.get_memory_stats().cancelled == 0
