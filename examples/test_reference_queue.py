"""The same bot on the reference queue, with the same trouble and one more: nothing is left behind."""

import pytest
from bot import answer

from reference_queue import MessageQueue


async def test_a_message_is_answered():
    async with MessageQueue(answer) as queue:
        assert await queue.enqueue("anna", "hello") == "HELLO"


async def test_an_upload_that_hangs_does_not_stop_other_chats():
    queue = MessageQueue(answer)
    hangs = queue.enqueue("ben", "<upload>")
    waits = queue.enqueue("ben", "and hello")
    assert await queue.enqueue("anna", "hello") == "HELLO"

    await queue.aclose("cancel")
    assert hangs.done()
    assert waits.done()
    stats = queue.get_memory_stats()
    assert (stats.total_chats, stats.total_queued, stats.processing, stats.pending_promises) == (0, 0, 0, 0)


async def test_a_handler_that_fails_fails_its_message_and_no_other():
    async with MessageQueue(answer) as queue:
        sticker = queue.enqueue("ben", "<sticker>")
        hello = queue.enqueue("ben", "hello")
        with pytest.raises(ValueError, match="cannot read"):
            await sticker
        assert await hello == "HELLO"
