"""Promises that nobody will ever keep: who asks gives up, and the answer's place stays taken."""

import asyncio


class Client:
    def __init__(self):
        self.answers = {}

    def ask(self, number):
        self.answers[number] = asyncio.get_running_loop().create_future()
        return self.answers[number]


client = Client()


async def test_gives_up():
    for number in range(3):
        try:
            await asyncio.wait_for(asyncio.shield(client.ask(number)), 0.001)
        except TimeoutError:
            continue


async def test_is_answered():
    answer = client.ask(4)
    answer.set_result("yes")
    assert await answer == "yes"
