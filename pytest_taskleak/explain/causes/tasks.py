"""What mends a pending task: by what it waits for, and by the call that made it."""

from __future__ import annotations

from pytest_taskleak.explain.causes.row import Row

_STOP = "Keep the task, and in the end `cancel()` it and await it"
_GATHER = "Await the gather to its end; when it is given up, cancel what it gathers and await that."
_SHIELD = "`shield` outlives the timeout around it: keep the inner task, and in the end cancel and await it."
_AS_COMPLETED = "Iterate it to its end, or cancel what it was given and await that: `as_completed` cancels nothing."
_PENDING = ("pending",)
_READING = ("stream",)

TASKS: dict[str, Row] = {
    "swallows": Row("Let `CancelledError` through: catch it only to clean up, and `raise` it again.", state="swallows"),
    "cancelled": Row(
        "Await the task after `cancel()`: cancelling only asks it to end.", state="cancelled", kinds=_PENDING
    ),
    "task": Row("Await it or cancel it before its owner ends; an `asyncio.TaskGroup` does both.", _PENDING),
    # What it waits for.
    "future": Row(
        "Settle the future on every path (result, exception or `cancel()`), or cancel the task and await it.",
        _PENDING,
        on=("future",),
    ),
    "sleep": Row(f"{_STOP} (a periodic task sleeps most of its life).", _PENDING, on=("sleep",)),
    "spins": Row(f"{_STOP}; it never waits for anything, so it also burns the loop's time.", _PENDING, on=("spins",)),
    "Queue.get": Row(
        f"{_STOP}; or tell the consumer to end (a sentinel, `Queue.shutdown()` on 3.13+) and await it.",
        _PENDING,
        on=("Queue.get",),
    ),
    "Queue.put": Row(
        f"{_STOP}; or take from the queue until it has put everything, and await it.", _PENDING, on=("Queue.put",)
    ),
    "Queue.put, for ever": Row(
        "End the producer before its consumer: nobody takes from the queue any more. Keep the task, `cancel()` it and "
        "await it.",
        _PENDING,
        on=("Queue.put",),
        never=True,
    ),
    "Queue.join": Row(
        "Call `task_done()` once for each item that was taken, in a `finally`; or cancel the task that joins and await "
        "it.",
        _PENDING,
        on=("Queue.join",),
    ),
    "Queue.join, for ever": Row(
        "Let the consumers live until `join()` has returned, and let them call `task_done()` in a `finally`.",
        _PENDING,
        on=("Queue.join",),
        never=True,
    ),
    "Event.wait": Row(f"{_STOP}; or `set()` the event and await the task.", _PENDING, on=("Event.wait",)),
    "Event.wait, for ever": Row(
        f"{_STOP}; or keep the event where the code that ends it can `set()` it.",
        _PENDING,
        on=("Event.wait",),
        never=True,
    ),
    "Lock.acquire": Row(
        f"{_STOP}; whoever holds the lock must release it (`async with`).", _PENDING, on=("Lock.acquire",)
    ),
    "Lock.acquire, for ever": Row(
        "Release the lock on every path (`async with lock:`): whoever took it is gone. Cancel the task that waits and "
        "await it.",
        _PENDING,
        on=("Lock.acquire",),
        never=True,
    ),
    "Semaphore.acquire": Row(
        f"{_STOP}; whoever holds a slot must release it (`async with`).", _PENDING, on=("Semaphore.acquire",)
    ),
    "Semaphore.acquire, for ever": Row(
        "Release each slot on every path (`async with semaphore:`): whoever took them is gone. Cancel the task that "
        "waits and await it.",
        _PENDING,
        on=("Semaphore.acquire",),
        never=True,
    ),
    "Condition.wait": Row(
        f"{_STOP}; or wake it with `notify_all()` inside `async with condition:`.", _PENDING, on=("Condition.wait",)
    ),
    "Condition.wait_for": Row(
        f"{_STOP}; or make its predicate true, then `notify_all()` inside `async with condition:`.",
        _PENDING,
        on=("Condition.wait_for",),
    ),
    "Condition, for ever": Row(
        f"{_STOP}; or keep the condition where the code that ends it can `notify_all()`.",
        _PENDING,
        on=("Condition.wait", "Condition.wait_for"),
        never=True,
    ),
    "Barrier.wait": Row(
        f"{_STOP}; or `await barrier.abort()`, which gives each that waits a `BrokenBarrierError`.",
        _PENDING,
        on=("Barrier.wait",),
    ),
    "Barrier.wait, for ever": Row(
        "Make as many tasks as the barrier has parties: no other comes to it. Cancel those that wait and await them.",
        _PENDING,
        on=("Barrier.wait",),
        never=True,
    ),
    "asyncio.wait": Row(
        "Cancel what it waits for and await that: `asyncio.wait` cancels nothing, not even when it times out.",
        _PENDING,
        on=("asyncio.wait",),
    ),
    "as_completed": Row(
        _AS_COMPLETED,
        _PENDING,
        on=("as_completed",),
    ),
    "TaskGroup": Row(
        "Cancel the task that runs the group and await it, which ends the group's tasks too; or let each of them end.",
        _PENDING,
        on=("TaskGroup",),
    ),
    "gather": Row(
        _GATHER,
        _PENDING,
        on=("gather",),
    ),
    "shield": Row(
        _SHIELD,
        _PENDING,
        on=("shield",),
    ),
    "thread's result": Row(
        "A thread's work cannot be cancelled: let it end (an event, a closed socket), then await the task.",
        _PENDING,
        on=("thread",),
    ),
    "shutdown_default_executor": Row(
        "End what runs in the default executor first (an event, a closed socket): its shutdown waits for every thread.",
        _PENDING,
        on=("shutdown_default_executor",),
    ),
    # Streams, sockets, servers, subprocesses.
    "stream": Row(
        "Close the connection (`writer.close()`, `await writer.wait_closed()`), then await the task that reads.",
        _PENDING,
        on=_READING,
    ),
    "drain": Row(
        "Read at the other end, or drop the connection (`writer.transport.abort()`), and await the task that writes.",
        _PENDING,
        on=("StreamWriter.drain",),
    ),
    "StreamWriter.wait_closed": Row(
        "Call `writer.close()` before `wait_closed()`; drop what the peer does not read with "
        "`writer.transport.abort()`.",
        _PENDING,
        on=("StreamWriter.wait_closed",),
    ),
    "sock_accept": Row(
        "Cancel the task that accepts and await it, then close the socket: closing it alone wakes nobody.",
        _PENDING,
        on=("sock_accept",),
    ),
    "sock_recv": Row(
        "Cancel the task that reads and await it, then close the socket: closing it alone wakes nobody.",
        _PENDING,
        on=("sock_recv",),
    ),
    "sock_sendall": Row(
        "Read at the other end; or cancel the task that sends and await it, then close the socket.",
        _PENDING,
        on=("sock_sendall",),
    ),
    "connect": Row(
        "Put a timeout around the connect (`asyncio.timeout`), or cancel the task that connects, and await it.",
        _PENDING,
        on=("connect",),
    ),
    "Server.serve_forever": Row(
        "Keep the task, and in the end `cancel()` it and await it: leaving `serve_forever` closes the server.",
        _PENDING,
        on=("Server.serve_forever",),
    ),
    "Server.wait_closed": Row(
        "Close each connection (`writer.close()` in its handler; `server.close_clients()` on 3.13+): it waits for all.",
        _PENDING,
        on=("Server.wait_closed",),
    ),
    "Process.wait": Row(
        "End the process (`process.terminate()`), then await the task: it waits until the process has ended.",
        _PENDING,
        on=("Process.wait",),
    ),
    "Process.communicate": Row(
        "End the process (`process.terminate()`), then await the task: it reads until the process has ended.",
        _PENDING,
        on=("Process.communicate",),
    ),
    # Which call made it.
    "made by gather": Row(
        _GATHER,
        _PENDING,
        package="asyncio",
        made=("gather",),
    ),
    "made by shield": Row(
        _SHIELD,
        _PENDING,
        package="asyncio",
        made=("shield",),
    ),
    "made by as_completed": Row(
        _AS_COMPLETED,
        _PENDING,
        package="asyncio",
        made=("as_completed", "_AsCompletedIterator.__init__"),
    ),
    "made by TaskGroup": Row(
        "Leave the group's `async with`, or cancel the task that runs it, and await that: a group awaits its tasks.",
        _PENDING,
        package="asyncio",
        made=("TaskGroup.create_task",),
    ),
    "made by run_coroutine_threadsafe": Row(
        "Keep the future that `run_coroutine_threadsafe` returns: `cancel()` it, or wait for its `result()`.",
        _PENDING,
        package="asyncio",
        made=("run_coroutine_threadsafe.<locals>.callback",),
    ),
    "made for a connection": Row(
        "Close the client's end (`writer.close()`) before the server: a handler reads until the connection ends.",
        _PENDING,
        on=_READING,
        package="asyncio",
        made=("StreamReaderProtocol.connection_made",),
    ),
    "discarded": Row(
        "Keep what `create_task` returns, and await it or `cancel()` it in the end; an `asyncio.TaskGroup` does both.",
        _PENDING,
        on=("task", "ready"),
        made=("discarded",),
    ),
}
