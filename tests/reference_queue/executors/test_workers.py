"""Workers of every kind: what they give back, how long they are kept, what cannot cross to them."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import weakref

import blocking
import pytest
from blocking import VARIABLE, Unloadable, give, visit

from reference_queue import (
    ExecutorClosed,
    HandlerTimeout,
    InterpretersUnavailable,
    MessageQueue,
    NotSendable,
    WorkerDied,
    WorkerNotStarted,
    WrongLoop,
)
from reference_queue.executors import in_interpreters, in_processes, in_threads


async def test_messages_of_a_chat_are_handled_in_order_and_chats_side_by_side(kind, make, gate):
    async with MessageQueue(make(kind, workers=2)) as queue:
        results = [gate.enqueue(queue, name) for name in ("a1", "a2", "b1")]
        visits = [await gate.begun("a1"), await gate.begun("b1")]
        assert "a2" not in gate.names
        for each in visits:
            each.order("return")
        (await gate.begun("a2")).order("return")
        assert await asyncio.gather(*results) == ["A1", "A2", "B1"]


async def test_what_the_handler_raises_is_what_the_caller_gets(kind, make):
    async with MessageQueue(make(kind, give)) as queue:
        with pytest.raises(ValueError, match=r"^it was bad") as caught:
            await queue.enqueue("a", "value error")
        if kind != "threads":
            (note,) = caught.value.__notes__
            assert note.startswith("In the worker:\nTraceback")
            assert "blocking.py" in note
        with pytest.raises(RuntimeError, match="StopIteration"):
            await queue.enqueue("a", "stop")


async def test_a_worker_is_used_again_and_idle_ones_end_with_the_queue(kind, make):
    executor = make(kind, give, workers=2)
    async with MessageQueue(executor) as queue:
        first, second = [await queue.enqueue("a", "where") for _ in range(2)]
        assert first[0] == second[0]
        assert len(multiprocessing.active_children()) == (kind == "processes")
        assert "idle=1 " in repr(executor)
    assert "idle=0 " in repr(executor)


async def test_workers_of_a_block_serve_several_queues_and_end_with_it(make):
    async with make("processes", give) as executor:
        pids = []
        for _ in range(2):
            async with MessageQueue(executor) as queue:
                pids.append((await queue.enqueue("a", "where"))[0])
        assert pids[0] == pids[1] != os.getpid()
    with pytest.raises(ExecutorClosed):
        await executor("where")
    with pytest.raises(ExecutorClosed):
        await executor.__aenter__()


async def test_an_executor_that_was_let_go_works_for_the_next_queue(kind, make):
    executor = make(kind, give)
    for _ in range(2):
        async with MessageQueue(executor) as queue:
            assert await queue.enqueue("a", "variable") == "unset"


async def test_only_threads_know_the_context_variables_of_the_sender(kind, make):
    async with MessageQueue(make(kind, give)) as queue:
        VARIABLE.set("the sender's")
        assert await queue.enqueue("a", "variable") == ("the sender's" if kind == "threads" else "unset")


async def test_an_error_that_is_kept_does_not_keep_the_message(make):
    class Body:
        pass

    def fail(_message):
        raise KeyError

    async with MessageQueue(make("threads", fail)) as queue:
        body = Body()
        reference = weakref.ref(body)
        result = queue.enqueue("a", body)
        del body
        with pytest.raises(KeyError) as caught:
            await result
        frames = [frame.name for frame in caught.traceback]
        assert frames[-1] == "fail"
        error = caught.value.with_traceback(_without_the_last(caught.value.__traceback__))
        del caught
        gc.collect()
        assert reference() is None
        assert isinstance(error, KeyError)


def _without_the_last(trace):
    """The traceback without the handler's own frame, which has the message as its argument."""
    first = trace
    while trace.tb_next.tb_next is not None:
        trace = trace.tb_next
    trace.tb_next = None
    return first


# -- processes that die while idle


async def test_a_process_that_dies_while_idle_fails_nothing(make, gate):
    async with MessageQueue(make("processes")) as queue:
        first = gate.enqueue(queue, "a1")
        visit = await gate.begun("a1")
        await visit.obeyed("keep")
        visit.order("return")
        await first
        os.kill(visit.pid, 9)
        await visit.gone()
        second = gate.enqueue(queue, "a2")
        (await gate.begun("a2")).order("return")
        assert await second == "A2"
    assert gate.names == ["a1", "a2"]


@pytest.mark.skipif(sys.platform == "win32", reason="stops a process with a signal that Windows lacks")
async def test_a_message_whose_process_dies_before_looking_into_it_goes_to_another_one(make, gate, caplog, ticks):
    executor = make("processes")
    async with MessageQueue(executor) as queue:
        first = gate.enqueue(queue, "a1")
        visit = await gate.begun("a1")
        visit.order("return")
        await first
        os.kill(visit.pid, signal.SIGSTOP)
        second = gate.enqueue(queue, "a2")
        await ticks()
        assert "busy=1 " in repr(executor)
        os.kill(visit.pid, 9)
        (await gate.begun("a2")).order("return")
        assert await second == "A2"
    assert gate.names == ["a1", "a2"]
    assert "ended by itself: killed by SIGKILL" in caplog.text


async def test_a_worker_that_is_stopped_just_after_its_message_is_replaced(make, gate):
    executor = make("processes")
    async with MessageQueue(executor) as queue:
        for name in ("a1", "a2"):
            result = gate.enqueue(queue, name)
            (await gate.begun(name)).order("return")
            assert await result == name.upper()
            for worker in executor._idle:
                worker.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal that Windows lacks")
async def test_a_process_ignores_the_interrupt_that_is_meant_for_its_parent(make, gate):
    async with MessageQueue(make("processes")) as queue:
        result = gate.enqueue(queue, "a1")
        visit = await gate.begun("a1")
        await visit.obeyed("die SIGINT")
        visit.order("return")
        assert await result == "A1"


# -- what cannot cross


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("lambda", r"^The result, of type function, could not be sent back from the worker: .*lambda.* was handled"),
        ("unloadable", r"^The result came back from the worker and could not be loaded here: LookupError: not in here"),
        ("demanding", r"^The handler raised DemandingError: 404: gone, and .* TypeError: .*reason.*hand them all"),
        ("unpicklable", r"^The handler raised UnpicklableError: holds a lock, and .* could not be sent back .*lock"),
        (threading.Lock(), r"^The message, of type lock, could not be sent to a worker: .*lock.* was not handled"),
        (
            Unloadable(),
            r"^The message could not be loaded in the worker: LookupError: not in here\. It was not handled",
        ),
    ],
    ids=["result", "result here", "exception here", "exception", "message", "message there"],
)
async def test_what_cannot_cross_is_named_and_its_worker_goes_on(make, apart, what, told):
    async with MessageQueue(make(apart, give)) as queue:
        with pytest.raises(NotSendable, match=told):
            await queue.enqueue("a", what)
        assert await queue.enqueue("a", "variable") == "unset"


def test_a_handler_that_cannot_be_pickled_is_refused_at_once():
    def local(_message):
        pass

    for handler in (local, lambda _message: None, threading.Lock().acquire):
        with pytest.raises(NotSendable, match=r"^The handler .* cannot be sent to a worker: .*top of a module"):
            in_processes(handler)


async def test_a_handler_that_is_not_there_in_the_worker_is_told(make, monkeypatch):
    def made_up(_message):
        pass

    made_up.__qualname__ = "made_up"
    made_up.__module__ = "blocking"
    monkeypatch.setattr(blocking, "made_up", made_up, raising=False)
    async with MessageQueue(make("processes", made_up)) as queue:
        with pytest.raises(
            NotSendable, match=r"^The handler could not be loaded in the worker: AttributeError: .*made_up"
        ):
            await queue.enqueue("a", "a1")


async def test_a_worker_that_dies_at_its_start_is_no_message_that_died(make, monkeypatch, capfd):
    """Its handler's module ends the process when it is imported there."""
    import blocking_import  # noqa: PLC0415 - here it does nothing

    monkeypatch.setenv("BLOCKING_IMPORT", "exit")
    async with MessageQueue(make("processes", blocking_import.handle)) as queue:
        with pytest.raises(WorkerNotStarted, match="before it could take a message: exit code 7"):
            await queue.enqueue("a", "a1")
        monkeypatch.delenv("BLOCKING_IMPORT")
        assert await queue.enqueue("a", "a2") == "a2"


async def test_a_worker_that_hangs_at_its_start_is_stopped(make, gate, clock, monkeypatch):
    import blocking_import  # noqa: PLC0415 - as above

    monkeypatch.setenv("BLOCKING_IMPORT", str(gate.port))
    async with MessageQueue(make("processes", blocking_import.handle, timeout=1)) as queue:
        result = queue.enqueue("a", "a1")
        visit = await gate.begun("import")
        await clock.advance(59)
        assert not result.done()
        await clock.advance(2)
        with pytest.raises(WorkerNotStarted, match="not ready within 60 s"):
            await result
        await visit.gone()


@pytest.mark.skipif(sys.platform != "linux", reason="sets a limit of memory in Linux's way")
async def test_a_message_that_no_worker_can_take_is_tried_twice_and_no_more(make, monkeypatch, capfd):
    """It is too large for the memory that they may have."""
    import blocking_import  # noqa: PLC0415 - as above

    monkeypatch.setenv("BLOCKING_IMPORT", "limit")
    async with MessageQueue(make("processes", blocking_import.handle)) as queue:
        with pytest.raises(WorkerNotStarted, match="Two workers in a row ended before they began the message"):
            await queue.enqueue("a", b"x" * 64_000_000)
        assert await queue.enqueue("a", "a2") == "a2"
    assert capfd.readouterr().err.count("MemoryError") == 2


# -- use


@pytest.mark.parametrize("make_executor", [in_threads, in_processes])
def test_arguments_that_make_no_sense_are_refused(make_executor):
    async def handler(_message):
        pass

    with pytest.raises(TypeError, match="Give it to MessageQueue as it is"):
        make_executor(handler)
    with pytest.raises(TypeError, match="cannot be called"):
        make_executor(None)
    with pytest.raises(ValueError, match="workers=0 is too small"):
        make_executor(visit, workers=0)
    with pytest.raises(ValueError, match="timeout=-1"):
        in_processes(visit, timeout=-1)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python has them")
def test_interpreters_need_a_newer_python_and_say_which():
    with pytest.raises(InterpretersUnavailable, match=r"needs Python 3\.14 or newer, and this is Python 3\.1"):
        in_interpreters(visit)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="Python offers interpreters to programs since 3.14")
def test_a_handler_of_the_main_module_is_refused_for_interpreters(monkeypatch):
    monkeypatch.setattr(give, "__module__", "__main__")
    with pytest.raises(NotSendable, match="it is defined in `__main__`"):
        in_interpreters(give)


async def test_an_executor_at_work_is_refused_to_another_loop(make, gate):
    executor = make("threads")
    async with MessageQueue(executor) as queue:
        result = gate.enqueue(queue, "a1")
        visit = await gate.begun("a1")
        with pytest.raises(WrongLoop, match="Make an executor for each event loop"):
            await asyncio.to_thread(asyncio.run, executor("b1"))
        visit.order("return")
        assert await result == "A1"


def test_errors_of_workers_can_be_sent_on():
    for error in (WorkerDied("it died", -9), HandlerTimeout("late"), NotSendable("lock")):
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
