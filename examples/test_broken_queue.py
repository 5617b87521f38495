"""The bot on the incident's queue. Without the plugin all of these pass, as they did before the incident."""

from bot import answer

from reference_queue.incident import BrokenMessageQueue


def bot_queue():
    return BrokenMessageQueue(lambda _instance, message: answer(message))


async def test_a_message_is_answered():
    queue = bot_queue()
    assert await queue.enqueue("bot", "anna", "hello") == "HELLO"


async def test_an_upload_that_hangs_does_not_stop_other_chats():
    queue = bot_queue()
    queue.enqueue("bot", "ben", "<upload>")
    queue.enqueue("bot", "ben", "and hello")
    assert await queue.enqueue("bot", "anna", "hello") == "HELLO"
