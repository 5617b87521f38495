"""What mends a leak of a library's: real leaks where the library is at hand, else by where it was seen to wait."""

import asyncio
import threading
import types
import typing

import aiohttp
import anyio
import pytest
import tenacity
import uvicorn
import websockets.asyncio.client
import websockets.asyncio.server
from aiohttp import web
from aiohttp.test_utils import TestServer as Server
from leaking import Cases, found, start, turns, until

from pytest_taskleak.explain import hints
from pytest_taskleak.explain.causes import TABLE
from pytest_taskleak.explain.causes.libraries import LIBRARIES
from pytest_taskleak.findings import Place
from pytest_taskleak.model import Kind

CASES = Cases()
leaks, waits = CASES.leaks, CASES.waits

SEEN = [
    # asyncio's tasks of python-socketio 5.18.1 over python-engineio 4.15.1
    ("engineio client", "pending", "engineio/async_client.py", "AsyncClient._read_loop_websocket", "waits"),
    ("engineio client", "pending", "engineio/async_client.py", "AsyncClient._write_loop", "created"),
    ("engineio client", "pending", "engineio/async_client.py", "AsyncClient.wait", "waits"),
    ("engineio server", "pending", "engineio/async_server.py", "AsyncServer._service_task", "waits"),
    ("engineio server", "pending", "engineio/async_socket.py", "AsyncSocket._send_ping", "waits"),
    ("slack_sdk", "pending", "slack_sdk/socket_mode/aiohttp/__init__.py", "SocketModeClient.receive_messages", "waits"),
    ("discord.py loop", "pending", "discord/ext/tasks/__init__.py", "Loop._loop", "waits"),
    ("discord.py client", "pending", "discord/client.py", "Client.connect", "waits"),
    ("python-telegram-bot", "pending", "telegram/ext/_application.py", "Application._update_fetcher", "waits"),
    ("python-telegram-bot", "pending", "telegram/ext/_utils/networkloop.py", "network_retry_loop", "waits"),
    ("aiogram", "pending", "aiogram/dispatcher/dispatcher.py", "Dispatcher.start_polling", "waits"),
    ("redis subscription", "pending", "redis/asyncio/client.py", "PubSub.get_message", "waits"),
    ("redis command", "pending", "redis/asyncio/client.py", "Redis.execute_command", "waits"),
    ("redis connection", "transport", "redis/asyncio/connection.py", "Connection._connect", "created"),
    ("pymongo", "pending", "pymongo/periodic_executor.py", "AsyncPeriodicExecutor._run", "waits"),
    ("pymongo", "future", "pymongo/periodic_executor.py", "AsyncPeriodicExecutor._run", "created"),
    ("asyncpg", "transport", "asyncpg/connect_utils.py", "__connect_addr", "created"),
    ("psycopg_pool", "pending", "psycopg_pool/pool_async.py", "AsyncConnectionPool.worker", "waits"),
    ("psycopg_pool", "pending", "psycopg_pool/sched_async.py", "AsyncScheduler.run", "created"),
    ("aiomysql", "transport", "aiomysql/connection.py", "Connection._connect", "created"),
    ("aiosqlite", "thread", "aiosqlite/core.py", "_connection_worker_thread", "waits"),
    ("nats-py", "pending", "nats/aio/client.py", "Client._ping_interval", "waits"),
    ("nats-py", "pending", "nats/aio/subscription.py", "Subscription._wait_for_msgs", "waits"),
    ("aiokafka consumer", "pending", "aiokafka/consumer/fetcher.py", "Fetcher._fetch_requests_routine", "waits"),
    ("aiokafka producer", "pending", "aiokafka/producer/sender.py", "Sender._sender_routine", "waits"),
    ("aiokafka client", "pending", "aiokafka/client.py", "AIOKafkaClient._md_synchronizer", "waits"),
    ("aiormq", "pending", "aiormq/connection.py", "Connection.__reader", "waits"),
    ("aiomqtt", "pending", "aiomqtt/client.py", "MessagesIterator.__anext__", "waits"),
    ("arq", "pending", "arq/worker.py", "Worker.main", "waits"),
    ("aiosmtplib", "transport", "aiosmtplib/smtp.py", "SMTP._create_connection", "created"),
    ("reference_queue monitor", "pending", "reference_queue/monitor.py", "Monitor._run", "waits"),
    ("reference_queue monitor", "pending", "reference_queue/monitor.py", "Monitor.__aenter__", "created"),
    ("reference_queue", "pending", "reference_queue/_lookout.py", "Lookout._look", "waits"),
    ("reference_queue", "pending", "reference_queue/_pool.py", "Pool._watch", "waits"),
    ("reference_queue", "pending", "reference_queue/_pool.py", "Pool.spawn", "created"),
    ("aiojobs", "pending", "aiojobs/_scheduler.py", "Scheduler._wait_failed", "waits"),
    ("aiojobs", "pending", "aiojobs/_job.py", "Job._start", "created"),
    ("janus", "pending", "janus/__init__.py", "_AsyncQueueProxy.get", "waits"),
    ("APScheduler", "timer", "apscheduler/schedulers/asyncio.py", "AsyncIOScheduler._start_timer", "created"),
    ("watchfiles", "pending", "watchfiles/main.py", "awatch", "waits"),
    ("zeroconf", "transport", "zeroconf/_engine.py", "AsyncEngine._async_create_endpoints", "created"),
    ("asyncssh", "transport", "asyncssh/connection.py", "_connect", "created"),
    ("kubernetes_asyncio", "transport", "kubernetes_asyncio/client/rest.py", "RESTClientObject.request", "created"),
    ("sse-starlette", "pending", "sse_starlette/sse.py", "_shutdown_watcher", "waits"),
    ("httpx request", "pending", "httpx/_client.py", "AsyncClient.send", "waits"),
    ("httpx client", "transport", "httpx/_client.py", "AsyncClient.send", "created"),
    (
        "httpcore",
        "transport",
        "httpcore/_async/connection_pool.py",
        "AsyncConnectionPool.handle_async_request",
        "created",
    ),
    ("hypercorn", "pending", "hypercorn/asyncio/run.py", "worker_serve", "waits"),
]
"""By name of the cause: what leaks, and the frame of the library that it was seen in; versions are in the table."""


# -- aiohttp


async def served(after, handler, on="/"):
    """An application that is served, and its address."""
    app = web.Application()
    app.router.add_get(on, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    after.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return "http://{}:{}/".format(*runner.addresses[0][:2])


async def answer(_request):
    return web.Response()


async def talk(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for _ in ws:
        pass
    return ws


def session_of(after):
    session = aiohttp.ClientSession()
    after.push_async_callback(session.close)
    return session


async def mute(after):
    """A server that answers nothing, and its port."""
    server = await asyncio.start_server(lambda _reader, writer: after.callback(writer.close), "127.0.0.1", 0)
    after.callback(server.close)
    return server.sockets[0].getsockname()[1]


@leaks("aiohttp server", cancel=False)
async def _(after):
    await served(after, answer)


@leaks("aiohttp session", cancel=False)
async def _(after):
    url = await served(after, answer)
    async with session_of(after).get(url):
        pass


@leaks("aiohttp request")
async def _(after):
    async def fetch():
        async with session.get(f"http://127.0.0.1:{port}/"):
            pass

    session, port = session_of(after), await mute(after)
    start(fetch())
    await turns()


@leaks("aiohttp WebSocket")
async def _(after):
    url = await served(after, talk)
    ws = await session_of(after).ws_connect(url)
    after.push_async_callback(ws.close)
    start(ws.receive())
    await turns()


@leaks("aiohttp WebSocket of a server", cancel=False)
async def _(after):
    url = await served(after, talk)
    ws = await session_of(after).ws_connect(url)
    after.push_async_callback(ws.close)
    await turns()


@leaks("aiohttp test server", cancel=False)
async def _(after):
    server = Server(web.Application())
    after.push_async_callback(server.close)
    await server.start_server()


# -- anyio


@waits("anyio group")
async def _(_after):
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)


@waits("anyio receive")
async def _(after):
    send, receive = anyio.create_memory_object_stream()
    after.callback(receive.close)
    after.callback(send.close)
    await receive.receive()


@waits("anyio send")
async def _(after):
    send, receive = anyio.create_memory_object_stream()
    after.callback(send.close)
    after.callback(receive.close)
    await send.send(1)


@leaks("anyio thread", cancel=False)
async def _(after):
    release = threading.Event()
    task = asyncio.create_task(anyio.to_thread.run_sync(release.wait, 10))
    after.push_async_callback(asyncio.wait, [task])
    after.callback(release.set)
    await turns()


@leaks("anyio listener")
async def _(after):
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    after.push_async_callback(listener.aclose)
    start(listener.serve(print))
    await turns()


@leaks("anyio stream")
async def _(after):
    stream = await anyio.connect_tcp("127.0.0.1", await mute(after))
    after.push_async_callback(stream.aclose)


# -- websockets, uvicorn, tenacity


async def listen(websocket):
    async for _ in websocket:
        pass


@leaks("websockets server", cancel=False)
async def _(after):
    server = await websockets.asyncio.server.serve(listen, "127.0.0.1", 0)
    after.push_async_callback(server.wait_closed)
    after.callback(server.close)


@leaks("websockets connection", cancel=False)
async def _(after):
    server = await websockets.asyncio.server.serve(listen, "127.0.0.1", 0)
    after.push_async_callback(server.wait_closed)
    after.callback(server.close)
    client = await websockets.asyncio.client.connect("ws://{}:{}".format(*server.sockets[0].getsockname()))
    after.push_async_callback(client.close)


async def application(_scope, _receive, _send):
    pass


@leaks("uvicorn", cancel=False)
async def _(after):
    server = uvicorn.Server(uvicorn.Config(application, port=0, lifespan="off", log_config=None))
    task = asyncio.create_task(server._serve())
    after.push_async_callback(asyncio.wait, [task])
    after.callback(setattr, server, "should_exit", True)  # noqa: FBT003 - as `setattr` takes it
    await until(lambda: server.started)


@waits("tenacity")
async def _(_after):
    async for attempt in tenacity.AsyncRetrying(wait=tenacity.wait_fixed(60)):
        with attempt:
            raise ValueError("again")


# -- what no library in particular is known for


@leaks("any library")
async def _(after):
    """A library that this test makes up."""
    library = types.ModuleType("library")
    source = "import asyncio\ndef begin():\n    return asyncio.get_running_loop().call_later(60, print)\n"
    exec(compile(source, "/venv/site-packages/library.py", "exec"), vars(library))  # noqa: S102 - of this test
    after.callback(library.begin().cancel)


@leaks("a library that closes")
async def _(after):
    """Its object's `close()` starts a task that says goodbye, and gives it to nobody."""
    library = types.ModuleType("library")
    source = "import asyncio\ndef close():\n    return asyncio.get_running_loop().create_task(asyncio.sleep(60))\n"
    exec(compile(source, "/venv/site-packages/library.py", "exec"), vars(library))  # noqa: S102 - of this test
    after.callback(library.close().cancel)


# -- the table


@pytest.mark.parametrize(("name", "leak", "settings"), CASES.all())
async def test_each_cause_is_told_from_a_real_leak(name, leak, settings, chosen):
    assert TABLE[name].text in await found(leak, settings)
    assert name in chosen


@pytest.mark.parametrize(("name", "kind", "module", "function", "where"), SEEN)
def test_each_cause_is_told_by_where_it_was_seen(name, kind, module, function, where):
    inside = Place(f"/venv/site-packages/{module}", 1, function, None, None, False, module, 1)  # noqa: FBT003
    mine = inside._replace(path="/project/it.py", function="it", own=True, module="it.py")
    asyncios = inside._replace(function="Queue.get", module="asyncio/queues.py")
    places = {"waits": (inside, asyncios), "created": (inside, mine)}
    assert hints.cause(kind, "Queue.get" if kind == "pending" else "", **{where: places[where]}) == name
    own = {where: tuple(place._replace(own=True) for place in places[where])}
    assert hints.cause(kind, "Queue.get" if kind == "pending" else "", **own) not in LIBRARIES


def test_there_is_a_case_for_every_library():
    seen = {name for name, *_ in SEEN}
    assert not CASES.names & seen
    assert CASES.names | seen == LIBRARIES.keys()


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_cause_is_one_of_some_kinds_and_functions_of_a_package(name):
    row = LIBRARIES[name]
    assert {*row.kinds} <= {*typing.get_args(Kind)} - {"blocked-loop"}
    assert row.kinds
    assert row.package
    assert row.stands or row.made
    assert not row.on
