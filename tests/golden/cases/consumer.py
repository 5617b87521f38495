"""A consumer on `Queue.get` that its bot forgets to stop."""

import asyncio


class Bot:
    def __init__(self):
        self.inbox = asyncio.Queue()

    def start(self):
        self.consumer = asyncio.create_task(self.consume(), name="consumer")

    async def consume(self):
        while True:
            message = await self.inbox.get()
            print(message)


async def test_bot_starts():
    Bot().start()


async def test_bot_is_made():
    Bot()
