"""What mends a leak of what programs are built on: tools for tasks and connections, HTTP, anyio; see `libraries`."""

from __future__ import annotations

from pytest_taskleak.explain.causes.row import Row

_PENDING = ("pending",)
_OPEN = ("transport",)

TOOLS: dict[str, Row] = {
    # this project's own
    "reference_queue monitor": Row(
        "Use it in `async with Monitor(queue):`, whose end is the task's; or call `look()` and make no task.",
        _PENDING,
        package="reference_queue",
        stands=("Monitor._run",),
        made=("Monitor.__aenter__",),
    ),
    "reference_queue": Row(
        "Use it in `async with MessageQueue(...) as queue:`, or `await queue.aclose()` in the end.",
        _PENDING,
        package="reference_queue",
        stands=("Pool._watch", "Lookout._look"),
        made=("Pool.spawn",),
    ),
    # aiojobs 1.4.0
    "aiojobs": Row(
        "Use it in `async with aiojobs.Scheduler() as scheduler:`, or `await scheduler.close()` in the end.",
        _PENDING,
        package="aiojobs",
        stands=("Scheduler._wait_failed",),
        made=("Job._start",),
    ),
    # janus 2.0.0
    "janus": Row(
        "Call `await queue.aclose()` in the end: whoever waits at it gets an `AsyncQueueShutDown`.",
        _PENDING,
        package="janus",
        stands=("_AsyncQueueProxy.get", "_AsyncQueueProxy.put", "_AsyncQueueProxy.join"),
    ),
    # tenacity 9.2.1
    "tenacity": Row(
        "Give the retry an end (`stop=stop_after_attempt(...)`), or cancel the task that retries, and await it.",
        _PENDING,
        package="tenacity",
        stands=("AsyncRetrying.__call__", "AsyncRetrying.__anext__"),
    ),
    # APScheduler 3.11.3
    "APScheduler": Row(
        "Call `scheduler.shutdown()` in the end, while its loop runs.",
        ("timer",),
        package="apscheduler",
        made=("AsyncIOScheduler._start_timer",),
    ),
    # watchfiles 1.3.0
    "watchfiles": Row(
        "Give `awatch` a `stop_event` and `set()` it in the end, then await the task that iterates.",
        _PENDING,
        package="watchfiles",
        stands=("awatch",),
    ),
    # zeroconf 0.154.0, where it is not compiled
    "zeroconf": Row(
        "Call `await zeroconf.async_close()` in the end; a plain `Zeroconf` has `close()`.",
        ("transport",),
        package="zeroconf",
        made=("AsyncEngine._async_create_endpoints",),
    ),
    # asyncssh 2.24.1
    "asyncssh": Row(
        "Use the connection in `async with asyncssh.connect(...)`, or `close()` and `await wait_closed()` in the end.",
        _OPEN,
        package="asyncssh",
        made=("_connect",),
    ),
}

HTTP: dict[str, Row] = {
    # kubernetes_asyncio 36.1.0
    "kubernetes_asyncio": Row(
        "Use the client in `async with ApiClient() as api:`, or `await api.close()` in the end.",
        _OPEN,
        package="kubernetes_asyncio",
        made=("RESTClientObject.request",),
    ),
    # httpx 0.28.1
    "httpx request": Row(
        "Give the client a `timeout`, or cancel the task that waits for the answer, and await it.",
        _PENDING,
        package="httpx",
        stands=("AsyncClient.send", "Response.aiter_raw"),
    ),
    "httpx client": Row(
        "Use it in `async with httpx.AsyncClient() as client:`, or `await client.aclose()` in the end.",
        _OPEN,
        package="httpx",
        made=("AsyncClient.send",),
    ),
    # httpcore 1.0.9
    "httpcore": Row(
        "Use the pool in `async with httpcore.AsyncConnectionPool() as pool:`, or `await pool.aclose()` in the end.",
        _OPEN,
        package="httpcore",
        made=("AsyncConnectionPool.handle_async_request",),
    ),
    # aiohttp 3.14.5
    "aiohttp WebSocket": Row(
        "Close it in the end (`await ws.close()`, `async with session.ws_connect(...)`), then await who reads.",
        _PENDING,
        package="aiohttp",
        stands=("ClientWebSocketResponse.receive",),
    ),
    "aiohttp WebSocket of a server": Row(
        "Close it from `app.on_shutdown` (`await ws.close()`), or close the client's end: its handler then ends.",
        _PENDING,
        package="aiohttp",
        stands=("WebSocketResponse.receive",),
    ),
    "aiohttp request": Row(
        "Give it `timeout=aiohttp.ClientTimeout(...)`, or cancel the task that waits for the answer, and await it.",
        _PENDING,
        package="aiohttp",
        stands=("ClientSession._request", "ClientResponse.read"),
    ),
    "aiohttp session": Row(
        "Use it in `async with aiohttp.ClientSession() as session:`, or `await session.close()` in the end.",
        _OPEN,
        package="aiohttp",
        made=("TCPConnector._wrap_create_connection",),
    ),
    "aiohttp test server": Row(
        "Use the `TestServer` or `TestClient` in `async with`, or `await it.close()` in the end.",
        ("server",),
        package="aiohttp",
        made=("BaseTestServer.start_server",),
    ),
    "aiohttp server": Row(
        "Call `await runner.cleanup()` in the end, for a `TestServer` or `TestClient` `await it.close()`.",
        ("pending", "server"),
        package="aiohttp",
        stands=("RequestHandler.start", "RequestHandler._handle_request"),
        made=("TCPSite.start", "UnixSite.start", "SockSite.start", "RequestHandler.connection_made"),
    ),
    # Hypercorn 0.18.0
    "hypercorn": Row(
        "Give `serve` a `shutdown_trigger` and let it end, then await the task that serves.",
        _PENDING,
        package="hypercorn",
        stands=("worker_serve", "Lifespan.handle_lifespan", "TCPServer.run"),
        made=("worker_serve",),
    ),
    # sse-starlette 3.7.0
    "sse-starlette": Row(
        "Accept it (`taskleak_accept`; `-v` gives the line): the library keeps one for each loop until a server shuts "
        "down.",
        _PENDING,
        package="sse_starlette",
        stands=("_shutdown_watcher",),
        made=("_shutdown_watcher",),
    ),
    # uvicorn 0.54.0
    "uvicorn": Row(
        "Set `server.should_exit = True` in the end, and await the task that runs `server.serve()`.",
        ("pending", "server"),
        package="uvicorn",
        stands=("Server.main_loop", "LifespanOn.main", "RequestResponseCycle.run_asgi"),
        made=("Server.startup",),
    ),
}

ANYIO: dict[str, Row] = {
    # anyio 4.16.0
    "anyio receive": Row(
        "Close each clone of its send stream (`send.close()`): who receives then gets an `EndOfStream`.",
        _PENDING,
        package="anyio",
        stands=("MemoryObjectReceiveStream.receive",),
    ),
    "anyio send": Row(
        "Receive at the other end, or close it (`receive.close()`): who sends then gets a `BrokenResourceError`.",
        _PENDING,
        package="anyio",
        stands=("MemoryObjectSendStream.send",),
    ),
    "anyio thread": Row(
        "A thread's work cannot be cancelled: let it end (an event, a closed socket), then await the task.",
        _PENDING,
        package="anyio",
        stands=("AsyncIOBackend.run_sync_in_worker_thread",),
    ),
    "anyio listener": Row(
        "Cancel the task that serves and await it, then `await listener.aclose()`.",
        _PENDING,
        package="anyio",
        stands=("MultiListener.serve", "SocketListener.serve"),
    ),
    "anyio stream": Row(
        "Close it (`await stream.aclose()`) or use it in `async with`, then await who receives.",
        ("pending", "transport"),
        package="anyio",
        stands=("SocketStream.receive",),
        made=("connect_tcp",),
    ),
    "anyio group": Row(
        "Cancel the group (`group.cancel_scope.cancel()`), or the task that runs it, and await that.",
        _PENDING,
        package="anyio",
        stands=("TaskGroup.__aexit__",),
        made=("TaskGroup.start_soon", "TaskGroup.start"),
    ),
}
