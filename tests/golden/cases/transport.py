"""What asyncio opened and nobody closed: a connection, a server with a client, a subprocess."""

import asyncio
import os
import socket

import pytest

kept = []


@pytest.fixture(scope="module")
def address():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()


async def connect(address):
    return await asyncio.open_connection(*address)


async def test_connection(address):
    kept.append(await connect(address))


async def keep(reader, writer):
    kept.append(writer)


@pytest.fixture
async def server():
    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    kept.append(server)
    return server.sockets[0].getsockname()


async def test_server(server):
    kept.append(socket.create_connection(server))
    while len(kept) < 4:
        await asyncio.sleep(0)


async def test_subprocess():
    kept.append(await asyncio.create_subprocess_exec("sleep", "30"))


def test_ends_it():
    os.kill(kept[-1].pid, 9)
