"""The monitor of blocked loops, looked through by hand and with a clock that stands still between two looks."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest
import uvloop

from pytest_taskleak.model import Owner
from pytest_taskleak.watch import Watcher
from pytest_taskleak.watch.blocked import THREAD, Monitor

LIMIT = 1.0
"""Seconds of the clock below; nothing here waits for any."""

LOOPS = pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uv"])


class Listener:
    def __init__(self):
        self.stalls = []
        self.defects = []
        self.heard = threading.Event()

    def stalled(self, stall):
        self.stalls.append(stall)
        self.heard.set()

    def failed(self, error):
        self.defects.append(error)
        self.heard.set()

    def closing(self, loop):
        """Of no interest here."""

    def complained(self, loop, context):
        """Of no interest here."""


class Gate:
    """Where the loop's thread stands until it is let on."""

    def __init__(self):
        self.reached = threading.Event()
        self._open = threading.Event()

    def stand(self):
        self.reached.set()
        assert self._open.wait(60)

    def let_on(self):
        self._open.set()


class Bench:
    """A loop in a thread of its own, and a monitor that looks when it is told to."""

    def __init__(self):
        self.listener = Listener()
        self.now = 0.0
        watcher = Watcher(self.listener, carriers=frozenset(), carries=lambda _: False, own=lambda _: True)
        self.monitor = Monitor(self.listener, watcher, clock=lambda: self.now)
        self.monitor._threshold = LIMIT  # `watch` would start the thread that looks by itself
        self.thread = None
        self.loop = None

    def run(self, main, loop_factory=asyncio.new_event_loop):
        def work():
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                self.loop = runner.get_loop()
                self.monitor.follow(self.loop, threading.get_ident())
                runner.run(main())

        self.thread = threading.Thread(target=work)
        self.thread.start()

    def look(self, times, *, every=0.4):
        for _ in range(times):
            self.monitor.look()
            self.now += every

    def end(self):
        self.thread.join(60)
        self.monitor.look()
        return self.listener.stalls


@pytest.fixture
def bench():
    return Bench()


@LOOPS
def test_a_step_that_takes_longer_is_told_once_when_it_is_over(bench, loop_factory):
    gate = Gate()

    async def main():
        asyncio.current_task().set_name("worker")
        gate.stand()
        await asyncio.sleep(0)

    bench.run(main, loop_factory)
    gate.reached.wait(60)
    bench.look(6)
    assert bench.listener.stalls == []
    gate.let_on()
    (stall,) = bench.end()
    assert (stall.seconds, stall.threshold) == (pytest.approx(2.0), LIMIT)
    assert (stall.task, stall.runs, stall.is_task) == ("worker", main.__qualname__, True)
    assert stall.calls[-1][0] is main.__code__
    assert Gate.stand.__code__ in [code for code, _ in stall.calls]


@LOOPS
def test_a_step_that_takes_no_longer_is_not_told(bench, loop_factory):
    gate = Gate()

    async def main():
        gate.stand()

    bench.run(main, loop_factory)
    gate.reached.wait(60)
    bench.look(3)
    gate.let_on()
    assert bench.end() == []


@LOOPS
def test_steps_of_the_same_task_are_not_added_up(bench, loop_factory):
    gates = [Gate() for _ in range(4)]

    async def main():
        for gate in gates:
            gate.stand()
            await asyncio.sleep(0)

    bench.run(main, loop_factory)
    for gate in gates:
        gate.reached.wait(60)
        bench.look(3)
        gate.let_on()
    assert bench.end() == []


@LOOPS
def test_tasks_that_are_ready_in_the_same_turn_are_not_added_up(bench, loop_factory):
    gates = [Gate() for _ in range(4)]

    async def stand(gate):
        gate.stand()

    async def main():
        await asyncio.gather(*map(stand, gates))

    bench.run(main, loop_factory)
    for gate in gates:
        gate.reached.wait(60)
        bench.look(3)
        gate.let_on()
    assert bench.end() == []


def test_calls_of_the_same_function_in_the_same_turn_are_not_added_up(bench):
    gates = [Gate() for _ in range(4)]

    async def main():
        for gate in gates:
            asyncio.get_running_loop().call_soon(gate.stand)
        await asyncio.sleep(0)

    bench.run(main)
    for gate in gates:
        gate.reached.wait(60)
        bench.look(3)
        gate.let_on()
    assert bench.end() == []


def test_a_callback_is_told_by_its_function(bench):
    gate = Gate()

    async def main():
        asyncio.get_running_loop().call_soon(gate.stand)
        await asyncio.sleep(0)

    bench.run(main)
    gate.reached.wait(60)
    bench.look(6)
    gate.let_on()
    (stall,) = bench.end()
    assert (stall.task, stall.runs, stall.is_task) == ("", "Gate.stand", False)


def test_a_step_is_whose_it_was_for_most_of_its_time(bench):
    """A block may begin after the first look at the step it is in."""
    gate = Gate()
    test, block = Owner("test", "test_it.py::test_it", "test_it"), Owner("block", "", "the block")

    async def main():
        gate.stand()

    bench.run(main)
    gate.reached.wait(60)
    watcher = bench.monitor._watcher
    watcher.owner_of_step = lambda *_: owner
    owner = test
    bench.look(1)
    owner = block
    bench.look(5)
    gate.let_on()
    (stall,) = bench.end()
    assert stall.owner is block


def test_a_machine_that_stood_still_is_nobodys_fault(bench):
    gate = Gate()

    async def main():
        gate.stand()

    bench.run(main)
    gate.reached.wait(60)
    bench.look(2, every=3600.0)
    gate.let_on()
    assert bench.end() == []


def test_a_loop_that_waits_is_sent_nothing(bench):
    waits = threading.Event()

    async def main():
        over = asyncio.Event()
        bench.over = over.set
        waits.set()
        await over.wait()

    bench.run(main)
    waits.wait(60)
    while bench.monitor._see(bench.loop, bench.thread.ident) is not None:
        pass  # it is about to wait
    bench.look(6)
    (run,) = bench.monitor._runs.values()
    assert run.beat is None
    bench.loop.call_soon_threadsafe(bench.over)
    assert bench.end() == []


def test_a_person_at_a_debuggers_prompt_blocks_nothing(bench):
    gate = Gate()
    scope = {}
    exec(compile("def interaction(stand):\n    stand()\n", "/usr/lib/python3/pdb.py", "exec"), scope)  # noqa: S102 - a frame of pdb's

    async def main():
        scope["interaction"](gate.stand)

    bench.run(main)
    gate.reached.wait(60)
    bench.look(6)
    gate.let_on()
    assert bench.end() == []


def test_nothing_of_the_users_is_kept(bench):
    gate = Gate()
    kept = []

    class Thing:
        pass

    async def main():
        thing = Thing()
        kept.extend([weakref.ref(thing), weakref.ref(asyncio.current_task()), weakref.ref(asyncio.get_running_loop())])
        gate.stand()

    bench.run(main)
    gate.reached.wait(60)
    bench.look(6)
    gate.let_on()
    assert len(bench.end()) == 1
    bench.loop = None
    gc.collect()
    assert [ref() for ref in kept] == [None, None, None]


# -- the thread


def monitors():
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


def test_the_thread_is_there_from_the_first_threshold_to_the_end(bench):
    monitor = Monitor(bench.listener, bench.monitor._watcher)
    monitor.watch(0)
    assert monitors() == []
    monitor.watch(1)
    (thread,) = monitors()
    assert thread.daemon
    monitor.watch(0)
    monitor.stop()
    monitor.stop()
    assert monitors() == []


def test_a_defect_is_told_and_ends_the_looks(bench):
    gate = Gate()

    def no_clock():
        raise RuntimeError("no clock")

    async def main():
        gate.stand()

    monitor = bench.monitor = Monitor(bench.listener, bench.monitor._watcher, clock=no_clock)
    bench.run(main)
    gate.reached.wait(60)
    monitor.watch(0.01)
    assert bench.listener.heard.wait(60)
    gate.let_on()
    bench.thread.join(60)
    monitor.stop()
    assert [str(defect) for defect in bench.listener.defects] == ["no clock"]
    assert bench.listener.stalls == []


@LOOPS
def test_loops_that_run_later_are_found_and_what_is_wrapped_is_put_back(bench, loop_factory):
    """The step lasts until the monitor has seen it for longer than the threshold, however long that takes."""
    before = asyncio.BaseEventLoop.run_forever, uvloop.Loop.run_forever
    monitor = Monitor(bench.listener, bench.monitor._watcher)
    monitor.follow_all()
    monitor.watch(0.01)

    async def main():
        while not any(run.step is not None and run.step.counted > 0.01 for run in list(monitor._runs.values())):
            pass

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    monitor.stop()
    assert [stall.runs for stall in bench.listener.stalls] == [main.__qualname__]
    assert (asyncio.BaseEventLoop.run_forever, uvloop.Loop.run_forever) == before
