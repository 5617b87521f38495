"""A module's fixture whose task is alive after its end: the fixture is named, not the test."""

import asyncio

import pytest_asyncio


class Server:
    async def serve(self):
        await asyncio.Event().wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server():
    server = Server()
    server.task = asyncio.create_task(server.serve())
    yield server


async def test_server(server):
    assert server.task
