"""What mends a leak of a library's, by the functions of the library in which it waits or that made it.

The functions are those of the versions named; where another version calls them otherwise, the sentence for what is
waited for is given instead. A library that uses another stands before it, a client before a server.
"""

from __future__ import annotations

from pytest_taskleak.explain.causes.row import Row

_PENDING = ("pending",)
_OPEN = ("transport",)

REAL_TIME: dict[str, Row] = {
    # python-engineio 4.15.1, python-socketio 5.18.1
    "engineio client": Row(
        "Call `await client.disconnect()` in the end: it ends the tasks that read and write.",
        _PENDING,
        package="engineio",
        stands=(
            "AsyncClient._read_loop_websocket",
            "AsyncClient._read_loop_polling",
            "AsyncClient._write_loop",
            "AsyncClient.wait",
        ),
        made=("AsyncClient._read_loop_websocket", "AsyncClient._write_loop"),
    ),
    "engineio server": Row(
        "Call `await server.shutdown()` in the end: it disconnects the clients and ends the service task.",
        _PENDING,
        package="engineio",
        stands=(
            "AsyncServer._service_task",
            "AsyncSocket._send_ping",
            "AsyncSocket._websocket_handler",
            "AsyncSocket._websocket_handler.<locals>.writer",
            "AsyncSocket._websocket_handler.<locals>.websocket_wait",
        ),
        made=("AsyncServer._service_task", "AsyncSocket.poll"),
    ),
    # websockets 17.4
    "websockets server": Row(
        "Use `async with serve(...) as server:`, or `server.close()` and `await server.wait_closed()`.",
        ("pending", "server"),
        package="websockets",
        stands=("serve.<locals>.protocol_handler", "Server.serve_forever", "Server.wait_closed"),
        made=("serve.<locals>.create_server", "serve.<locals>.protocol_handler", "ServerConnection.connection_made"),
    ),
    "websockets connection": Row(
        "Use `async with connect(...) as websocket:`, or `await websocket.close()` in the end: it ends the keepalive.",
        ("pending", "transport", "future"),
        package="websockets",
        stands=("Connection.keepalive", "Connection.recv"),
        made=("connect.connect",),
    ),
    # slack_sdk 3.48.0
    "slack_sdk": Row(
        "Call `await client.close()` in the end: it ends the tasks of the `SocketModeClient`.",
        _PENDING,
        package="slack_sdk",
        stands=(
            "SocketModeClient.monitor_current_session",
            "SocketModeClient.receive_messages",
            "AsyncBaseSocketModeClient.process_messages",
        ),
    ),
    # discord.py 2.7.1
    "discord.py loop": Row(
        "Call `cancel()` on the loop in the end (in `cog_unload` for one of a cog), and await its `get_task()`.",
        _PENDING,
        package="discord",
        stands=("Loop._loop",),
    ),
    "discord.py client": Row(
        "Use `async with client:`, or `await client.close()` in the end, then await the task that runs `start()`.",
        _PENDING,
        package="discord",
        stands=("Client.connect", "DiscordWebSocket.poll_event"),
    ),
    # python-telegram-bot 22.8
    "python-telegram-bot": Row(
        "Call `await updater.stop()`, `await application.stop()` and `await application.shutdown()` in the end.",
        _PENDING,
        package="telegram",
        stands=("Application._update_fetcher", "network_retry_loop"),
    ),
    # aiogram 3.31.0
    "aiogram": Row(
        "Call `await dispatcher.stop_polling()` in the end, then await the task that polls.",
        _PENDING,
        package="aiogram",
        stands=("Dispatcher.start_polling", "Dispatcher._polling"),
        made=("Dispatcher.start_polling",),
    ),
}

STORES: dict[str, Row] = {
    # redis 5.3.1
    "redis subscription": Row(
        "Cancel the task that listens and await it, then `await pubsub.aclose()`.",
        _PENDING,
        package="redis",
        stands=("PubSub.listen", "PubSub.get_message", "PubSub.run"),
    ),
    "redis command": Row(
        "Give the client a `socket_timeout`, or cancel the task that waits for the answer, and await it.",
        _PENDING,
        package="redis",
        stands=("Redis.execute_command", "Pipeline.execute"),
    ),
    "redis connection": Row(
        "Use the client in `async with redis.Redis() as client:`, or `await client.aclose()` in the end.",
        _OPEN,
        package="redis",
        made=("AbstractConnection.connect", "Connection._connect"),
    ),
    # pymongo 4.20.1
    "pymongo": Row(
        "Call `await client.close()` in the end: it ends the monitors of an `AsyncMongoClient`.",
        ("pending", "transport", "future"),
        package="pymongo",
        stands=("AsyncPeriodicExecutor._run",),
        made=(
            "AsyncPeriodicExecutor.open",
            "AsyncPeriodicExecutor._run",
            "_async_configured_socket",
            "_configured_protocol_interface",
        ),
    ),
    # asyncpg 0.32.0
    "asyncpg": Row(
        "Use the pool in `async with asyncpg.create_pool(...)`, or `await pool.close()`, `await connection.close()`.",
        _OPEN,
        package="asyncpg",
        made=("_connect_addr", "__connect_addr", "_create_ssl_connection"),
    ),
    # psycopg_pool 3.3.3
    "psycopg_pool": Row(
        "Use the pool in `async with AsyncConnectionPool(...) as pool:`, or `await pool.close()` in the end.",
        _PENDING,
        package="psycopg_pool",
        stands=("AsyncConnectionPool.worker", "AsyncScheduler.run"),
        made=("AsyncScheduler.run",),
    ),
    # aiomysql 0.3.2
    "aiomysql": Row(
        "Close the pool (`pool.close()`, `await pool.wait_closed()`), or call `connection.close()` in the end.",
        _OPEN,
        package="aiomysql",
        made=("Connection._connect",),
    ),
    # aiosqlite 0.22.1
    "aiosqlite": Row(
        "Use it in `async with aiosqlite.connect(...) as db:`, or `await db.close()` in the end: it ends its thread.",
        ("thread",),
        package="aiosqlite",
        stands=("_connection_worker_thread",),
    ),
}

MESSAGES: dict[str, Row] = {
    # nats-py 2.16.0
    "nats-py": Row(
        "Call `await client.drain()` in the end: it ends the subscriptions and closes the connection.",
        _PENDING,
        package="nats",
        stands=("Client._read_loop", "Client._flusher", "Client._ping_interval", "Subscription._wait_for_msgs"),
    ),
    # aiokafka 0.14.0
    "aiokafka consumer": Row(
        "Call `await consumer.stop()` in the end, in a `finally`.",
        _PENDING,
        package="aiokafka",
        stands=(
            "GroupCoordinator._coordination_routine",
            "GroupCoordinator._heartbeat_routine",
            "NoGroupCoordinator._reset_committed_routine",
            "Fetcher._fetch_requests_routine",
        ),
    ),
    "aiokafka producer": Row(
        "Call `await producer.stop()` in the end, in a `finally`: it sends what is pending.",
        _PENDING,
        package="aiokafka",
        stands=("Sender._sender_routine",),
    ),
    "aiokafka client": Row(
        "Call `await consumer.stop()` or `await producer.stop()` in the end: each keeps a client of its own.",
        ("pending", "transport"),
        package="aiokafka",
        stands=("AIOKafkaClient._md_synchronizer", "AIOKafkaConnection._read"),
        made=("AIOKafkaConnection.connect",),
    ),
    # aiormq 7.2.4, aio-pika 10.2.1
    "aiormq": Row(
        "Use the connection in `async with connection:`, or `await connection.close()` in the end.",
        ("pending", "transport"),
        package="aiormq",
        stands=("Connection.__reader", "Connection.__writer", "Connection.__heartbeat", "Channel._reader"),
        made=("Connection.connect",),
    ),
    # aiomqtt 2.5.1
    "aiomqtt": Row(
        "Leave the client's `async with aiomqtt.Client(...)`, by cancelling the task that is in it and awaiting it.",
        _PENDING,
        package="aiomqtt",
        stands=("Client._misc_loop", "MessagesIterator.__anext__"),
        made=("MessagesIterator.__anext__",),
    ),
    # arq 0.28.0
    "arq": Row(
        "Call `await worker.close()` in the end, then await the task that runs it.",
        _PENDING,
        package="arq",
        stands=("Worker.main", "Worker.run_job"),
    ),
    # aiosmtplib 5.1.3
    "aiosmtplib": Row(
        "Use it in `async with SMTP(...) as client:`, or `await client.quit()` in the end.",
        _OPEN,
        package="aiosmtplib",
        made=("SMTP.connect", "SMTP._create_connection"),
    ),
}

TOOLS: dict[str, Row] = {
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

OTHERS: dict[str, Row] = {
    "any library": Row(
        "Close the library's object that it is for (`close()`, `stop()`, `shutdown()`): a library ends what it starts.",
        ("pending", "timer", "future", "server"),
        package="a library",
        made=("any",),
    ),
    "a library that closes": Row(
        "The library goes on closing it in a task of its own: await what it has for that (`wait_closed()`), or let the "
        "task end first.",
        ("pending", "timer", "future"),
        package="a library",
        made=("closing",),
    ),
}

LIBRARIES: dict[str, Row] = {**REAL_TIME, **STORES, **MESSAGES, **TOOLS, **HTTP, **ANYIO, **OTHERS}
