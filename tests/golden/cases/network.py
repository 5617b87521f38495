"""A reader of a connection, a call in a thread, and what a shield keeps."""

import asyncio
import socket
import threading

hold = threading.Event()


async def read(sock):
    reader, _writer = await asyncio.open_connection(sock=sock)
    await reader.readline()


async def call():
    await asyncio.to_thread(hold.wait, 0.5)


async def work():
    await asyncio.Event().wait()


async def test_reader():
    ours, theirs = socket.socketpair()
    asyncio.create_task(read(ours), name="reader")
    await asyncio.sleep(0.01)
    theirs.detach()


async def test_thread():
    asyncio.create_task(call(), name="caller")
    await asyncio.sleep(0.01)


async def test_shield():
    try:
        await asyncio.wait_for(asyncio.shield(work()), 0.01)
    except TimeoutError:
        pass
