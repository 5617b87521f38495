"""What mends an error that nobody hears, and what is left besides tasks and threads."""

from __future__ import annotations

from pytest_taskleak.explain.causes.row import Row

ERRORS: dict[str, Row] = {
    "destroyed": Row("Keep a reference to the task and await it: the loop alone holds tasks weakly.", ("destroyed",)),
    "task's exception": Row(
        "Retrieve the exception: await the task, or log `task.exception()` in a done-callback.", ("lost-exception",)
    ),
    "exception of a discarded task": Row(
        "Keep what `create_task` returns and await it, or log `task.exception()` in a done-callback.",
        ("lost-exception",),
        made=("discarded",),
    ),
    "future's exception": Row(
        "Retrieve the exception: await the future, or look at `future.exception()` in a done-callback.",
        ("lost-exception",),
        on=("future",),
    ),
    "callback": Row("Catch the exception in the callback: nobody above it can.", ("lost-callback",)),
    "coroutine": Row(
        "Await it, or make a task of it; `close()` it where it shall not run after all.", ("never-awaited",)
    ),
    "asyncio's coroutine": Row(
        "Write `await` before the call: without it nothing happens.",
        ("never-awaited",),
        package="asyncio",
        stands=("*",),
    ),
    "AsyncMock": Row(
        "Await the call of the `AsyncMock`; put a `MagicMock` where the code calls a plain function.",
        ("never-awaited",),
        package="unittest",
        stands=("AsyncMockMixin._execute_mock_call",),
    ),
}

THINGS: dict[str, Row] = {
    "bare future": Row(
        "Settle the future on every path (result, exception or `cancel()`), and drop it from what holds it.",
        ("future",),
    ),
    "timer": Row("Keep the handle that `call_later` returns, and `cancel()` it in the end.", ("timer",)),
    "timer that repeats": Row(
        "Keep the handle of each round, and `cancel()` the last one: a callback that calls itself again never ends.",
        ("timer",),
        on=("repeats",),
    ),
    "generator": Row("Close it (`async with contextlib.aclosing(...)`) or iterate it to its end.", ("generator",)),
    "transport": Row(
        "Close it (`writer.close()`, `await writer.wait_closed()`), or the client that keeps it.", ("transport",)
    ),
    "transport of a protocol": Row(
        "Call `transport.close()` in the end; `transport.abort()` drops what the peer does not read.",
        ("transport",),
        package="asyncio",
        made=(
            "BaseEventLoop.create_connection",
            "BaseEventLoop.connect_accepted_socket",
            "_UnixSelectorEventLoop.create_unix_connection",
        ),
    ),
    "UDP": Row(
        "Call `transport.close()` in the end: a datagram endpoint has no peer that would end it.",
        ("transport",),
        on=("UDP",),
    ),
    "pipe": Row(
        "Close the transport of the pipe (`transport.close()`), which closes its file too.",
        ("transport",),
        on=("pipe",),
    ),
    "server": Row(
        "Leave it by `async with server`, or `server.close()` and `await server.wait_closed()`.", ("server",)
    ),
    "server that never started": Row(
        "Start it (`await server.start_serving()`), or close it (`server.close()`): it keeps its port until then.",
        ("server",),
        on=("idle",),
    ),
    "subprocess": Row("End it (`process.terminate()`), and `await process.wait()`.", ("subprocess",)),
    "subprocess of a protocol": Row(
        "End it (`transport.terminate()`), wait for `process_exited`, and call `transport.close()`.",
        ("subprocess",),
        package="asyncio",
        made=("BaseEventLoop.subprocess_exec", "BaseEventLoop.subprocess_shell"),
    ),
}
