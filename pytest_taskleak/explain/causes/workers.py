"""What mends threads, executors and loops that are left, and loops that are blocked."""

from __future__ import annotations

from pytest_taskleak.explain.causes.row import Row

_STOP_LOOP = "Stop the loop (`loop.call_soon_threadsafe(loop.stop)`) and `join()` its thread before the owner ends."
_THREAD = ("thread",)

WORKERS: dict[str, Row] = {
    "thread": Row("Tell it to end (an event that it looks at, a sentinel in its queue), and `join()` it.", _THREAD),
    "daemon thread": Row(
        "Tell it to end (an event, a sentinel in its queue), and `join()` it: a daemon is cut off in the middle.",
        _THREAD,
        on=("daemon",),
    ),
    "timer thread": Row(
        "Call `cancel()` on the timer in the end; `join()` it where it may be at work already.", _THREAD, on=("timer",)
    ),
    "thread in a socket server": Row(
        "Call `server.shutdown()` and `server.server_close()` in the end, and `join()` the thread.",
        _THREAD,
        package="socketserver",
        stands=("BaseServer.serve_forever",),
    ),
    "thread of a QueueListener": Row(
        "Call `listener.stop()` in the end, which handles what is queued and joins its thread.",
        _THREAD,
        package="logging",
        stands=("QueueListener._monitor",),
    ),
    "thread that takes from a queue": Row(
        "Put a sentinel into the queue that it takes from (`queue.shutdown()` on 3.13+), and `join()` it.",
        _THREAD,
        package="queue",
        stands=("Queue.get",),
    ),
    "thread that waits for an event": Row(
        "Set the event that it waits for, and `join()` it.",
        _THREAD,
        package="threading",
        stands=("Event.wait",),
    ),
    "thread of a loop": Row(
        _STOP_LOOP,
        _THREAD,
        package="asyncio",
        stands=("BaseEventLoop.run_forever",),
    ),
    "running loop": Row(
        _STOP_LOOP,
        ("running-loop",),
    ),
    "executor": Row(
        "Use it in `with ThreadPoolExecutor() as pool:`, or call `pool.shutdown()` in the end.", ("executor",)
    ),
    "process pool": Row(
        "Use it in `with ProcessPoolExecutor() as pool:`, or call `pool.shutdown()` in the end.",
        ("executor",),
        on=("processes",),
    ),
    "busy executor": Row(
        "Let the function end (an event that it looks at), and wait for it: `shutdown()` without `wait=False`.",
        ("executor",),
        on=("busy",),
    ),
    "loop": Row(
        "Call `loop.close()` in the end, or let `asyncio.run` or an `asyncio.Runner` make the loop and close it.",
        ("open-loop",),
    ),
}

_BLOCKED = ("blocked-loop",)

BLOCKS: dict[str, Row] = {
    "time.sleep": Row(
        "`await asyncio.sleep(...)` instead: `time.sleep` stops every task of the loop.", _BLOCKED, on=("sleep",)
    ),
    "io": Row("Call it in a thread (`await asyncio.to_thread(...)`), or use an async client.", _BLOCKED, on=("io",)),
    "file": Row(
        "Read and write files in a thread (`await asyncio.to_thread(path.read_text)`).", _BLOCKED, on=("file",)
    ),
    "database": Row(
        "Call the database in a thread (`await asyncio.to_thread(...)`), or use an async driver.",
        _BLOCKED,
        on=("database",),
    ),
    "names": Row("`await loop.getaddrinfo(...)` instead, which asks in a thread.", _BLOCKED, on=("names",)),
    "input": Row("Read it in a thread (`await asyncio.to_thread(input)`).", _BLOCKED, on=("input",)),
    "process": Row(
        "`await asyncio.create_subprocess_exec(...)`, or call it in a thread (`await asyncio.to_thread(...)`).",
        _BLOCKED,
        on=("process",),
    ),
    "another thread": Row(
        "Do not wait for another thread inside the loop: `await asyncio.wrap_future(...)` for its future, "
        "`await asyncio.to_thread(...)` for a lock, an event or its end.",
        _BLOCKED,
        on=("thread",),
    ),
    "import": Row(
        "Import it at the top of the module: the first import reads and runs files.", _BLOCKED, on=("import",)
    ),
    "computes": Row(
        "Compute in a process pool (`loop.run_in_executor(ProcessPoolExecutor(), ...)`), or in parts with "
        "`await asyncio.sleep(0)` between them.",
        _BLOCKED,
    ),
    "urllib": Row(
        "Call it in a thread (`await asyncio.to_thread(urlopen, url)`), or use an async client.",
        _BLOCKED,
        package="urllib",
        stands=("urlopen",),
    ),
}
