"""A coroutine that is made and never awaited."""


class Client:
    async def close(self):
        pass


async def test_forgets_to_await():
    client = Client()
    client.close()
