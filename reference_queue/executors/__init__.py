"""Handlers that block: in threads, in processes, in interpreters of their own.

A `MessageQueue` awaits its handler. One that blocks (computes, or calls what does not await) would stop the event
loop; here it runs elsewhere, and the queue is given an async callable that waits for it:

    async with MessageQueue(in_threads(handle, workers=8)) as queue: ...
    async with MessageQueue(in_processes(handle, workers=2, timeout=30)) as queue: ...
    async with MessageQueue(in_interpreters(handle)) as queue: ...

Which one? Threads for what waits: they gain no processor under the interpreter's lock, and cost next to nothing. For
what computes, processes or (Python 3.14 and newer) interpreters: each works on a processor of its own, from a few
milliseconds of work for each message on, for messages and results are pickled. For what may hang or crash,
processes: nothing else can be stopped.

Workers are started when messages need them. They end with the queue; in `async with in_processes(handle) as handler:`
they end with the block, and serve several queues meanwhile. The queue has to be given the executor itself for that: a
function around it does not tell it that the queue is closed. As long as all workers of an executor are at work,
messages that the queue has begun wait for one, in order; give both the same number of ``workers`` to have them wait
in the queue, where their callers can withdraw them.

What becomes of a message's future, of the work, and of its chat:

============================  ================================  ======================================
what happens                  in threads and interpreters       in processes
============================  ================================  ======================================
caller cancels before the     future cancelled; never handled; the chat goes on with its next message
handling begins

caller cancels afterwards     future cancelled; the work goes on to its end, the chat is busy until then; what
                              it returns is dropped, what it raises is reported to the loop's exception handler

a deadline or a close meets   the future is settled as below; the message is never handled, and its chat is free
it waiting for a worker       at once (the cancellation of its caller alone leaves it in line)

deadline of the queue         `DeadlineExceeded` at once; the   `DeadlineExceeded` at once; the process
                              work goes on, the chat is busy    is stopped, the chat is free when it is
                              until it ends                     dead

``aclose("cancel")``          `QueueClosed` at once; the work   `QueueClosed` at once; the process is
                              goes on and is waited for, up     stopped and waited for
                              to the timeout: `CloseTimeout`
                              names its chat

executor closed before its    result of the work, which goes    `ExecutorClosed`; the process is stopped
queue                         on and is waited for

worker dies (`os._exit`, a    the whole program ends with it    `WorkerDied` with the exit code, for the
signal, a crash)                                                message at work and for no other one; the
                                                                chat goes on with a new process

worker hangs                  a deadline settles the future;    `HandlerTimeout` after ``timeout``, or the
                              the chat stays busy, and a        deadline; the process is stopped, the
                              thread is lost, until it ends     chat goes on with a new one

loop ends with the work       future cancelled; `asyncio.run`   future cancelled; the process is stopped
unfinished                    returns when the work ends

Python ends although its      waits for the work, as for        the process is killed
loop was left unfinished      every thread of an executor

parent is killed              ends with it                      ends within moments
============================  ================================  ======================================

To stop a process is to send it SIGTERM and, a second later, SIGKILL. No message is ever handled twice: one whose
worker died is not given to another one, unless the worker had died before it looked into it.

Processes are started with ``spawn``, which imports the program's main module in each: it needs
``if __name__ == "__main__":``. They ignore Ctrl+C, which is for the parent to act on. What they have started themselves
is not stopped with them. After closing, `multiprocessing.active_children` is empty; one process of Python's own stays
to the end of the program, the *resource tracker* that ``spawn`` starts with its first process.

Handlers in threads run in a copy of the context variables of their message. To other processes and interpreters go
the handler, by name, and pickles of the messages, nothing else; what cannot be pickled is a `NotSendable` that says
what it was. An exception comes back with its traceback as a note.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from reference_queue._check import check_count, check_seconds
from reference_queue.executors._crossing import is_async, pack_handler
from reference_queue.executors._executor import Executor
from reference_queue.executors._interpreters import InterpreterWorker, check_python, refuse_main
from reference_queue.executors._processes import ProcessWorker
from reference_queue.executors._worker import ThreadWorker

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Executor", "in_interpreters", "in_processes", "in_threads"]

M = TypeVar("M")
R = TypeVar("R")


def in_threads(handler: Callable[[M], R], *, workers: int = 8) -> Executor[M, R]:
    """Return an async callable that runs the handler in threads.

    Args:
        handler: a function that takes one message.
        workers: the most threads at work, over all queues that use it.

    Raises:
        TypeError, ValueError: an argument is not of the kind described.
    """
    _check_handler("in_threads", handler)
    check_count("workers", workers)
    return Executor(_name("in_threads", handler), workers, lambda: ThreadWorker(handler))


def in_processes(
    handler: Callable[[M], R], *, workers: int | None = None, timeout: float | None = None
) -> Executor[M, R]:
    """Return an async callable that runs the handler in worker processes, one message at a time in each.

    Args:
        handler: a function that takes one message, defined at the top of a module, as pickle requires.
        workers: the most processes; None for as many as there are processors.
        timeout: seconds in which a message is to be handled from the moment its process has it. When they are over,
            the process is stopped and the message fails with `HandlerTimeout`. None for no limit.

    Raises:
        NotSendable: the handler cannot be pickled.
        TypeError, ValueError: an argument is not of the kind described.
    """
    _check_handler("in_processes", handler)
    workers = _one_for_each_processor(workers)
    check_seconds("timeout", timeout)
    packed = pack_handler(handler)
    name = _name("in_processes", handler)
    return Executor(name, workers, lambda: ProcessWorker(packed), timeout=timeout, outlived=True)


def in_interpreters(handler: Callable[[M], R], *, workers: int | None = None) -> Executor[M, R]:
    """Return an async callable that runs the handler in interpreters, one message at a time in each.

    Each is a thread with modules and an interpreter's lock of its own. What the handler imports has to be fit for that.

    Args:
        handler: a function that takes one message, defined at the top of a module other than ``__main__``.
        workers: the most interpreters; None for as many as there are processors.

    Raises:
        InterpretersUnavailable: this Python is older than 3.14.
        NotSendable: the handler cannot be pickled.
        TypeError, ValueError: an argument is not of the kind described.
    """
    check_python()
    _check_handler("in_interpreters", handler)
    workers = _one_for_each_processor(workers)
    refuse_main(handler)
    packed = pack_handler(handler)
    return Executor(_name("in_interpreters", handler), workers, lambda: InterpreterWorker(packed))


def _check_handler(kind: str, handler: object) -> None:
    if not callable(handler):
        raise TypeError(f"handler={handler!r} cannot be called. Pass a function that takes one message.")
    if is_async(handler):
        raise TypeError(
            f"handler={handler!r} is async, and {kind}() is for functions that block. Give it to MessageQueue as it is."
        )


def _one_for_each_processor(workers: int | None) -> int:
    if workers is None:
        return os.cpu_count() or 1
    check_count("workers", workers)
    return workers


def _name(kind: str, handler: object) -> str:
    return f"{kind}({getattr(handler, '__qualname__', None) or type(handler).__qualname__})"
