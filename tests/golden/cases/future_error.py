"""A future whose exception nobody retrieves."""

import asyncio


def settle(future):
    try:
        raise ValueError("nobody hears this")
    except ValueError as error:
        future.set_exception(error)


async def test_drops_its_future():
    future = asyncio.get_running_loop().create_future()
    settle(future)
