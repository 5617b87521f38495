"""A server of a module gathers one more task for each test."""

import asyncio

import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Server:
    def __init__(self):
        self.handlers = []

    def handle(self):
        self.handlers.append(asyncio.create_task(self.stream()))

    async def stream(self):
        await asyncio.Event().wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server():
    server = Server()
    yield server
    for handler in server.handlers:
        handler.cancel()


async def test_first(server):
    server.handle()


async def test_second(server):
    server.handle()
