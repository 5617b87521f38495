"""A timer that is set and never cancelled."""

import asyncio


class Session:
    def __init__(self):
        self.expiry = asyncio.get_running_loop().call_later(3600, self.expire)

    def expire(self): ...


async def test_opens_a_session():
    Session()
