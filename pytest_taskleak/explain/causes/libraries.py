"""What mends a leak of a library's, by the functions of the library in which it waits or that made it.

The functions are those of the versions named; where another version calls them otherwise, the sentence for what is
waited for is given instead. A library that uses another stands before it, a client before a server.
"""

from __future__ import annotations

from pytest_taskleak.explain.causes.frameworks import ANYIO, HTTP, TOOLS
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
