"""The specimen works as long as nothing goes wrong, as the original did."""

from __future__ import annotations

import asyncio

from reference_queue import incident


async def test_messages_of_a_chat_are_handled_in_order_by_one_processor(ticks):
    seen = []

    async def handler(instance, message):
        await asyncio.sleep(0)
        seen.append((instance, message))
        return message * 2

    queue = incident.BrokenMessageQueue(handler)
    results = await asyncio.gather(*(queue.enqueue("bot", chat, n) for n in range(3) for chat in "ab"))
    await ticks()
    assert results == [0, 0, 2, 2, 4, 4]
    assert seen == [("bot", n) for n in range(3) for _ in "ab"]


def test_its_first_words_are_that_it_is_broken():
    assert incident.__doc__.startswith("Broken on purpose")
