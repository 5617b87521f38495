"""The loop of a test's own runner, which is entered among the open ones only when somebody looks."""

import _thread
import asyncio
import gc
import threading
import warnings

import pytest

from pytest_taskleak.detector import Detector
from pytest_taskleak.gate import Gate
from pytest_taskleak.model import KINDS, Owner
from pytest_taskleak.places import Places

OWNER = Owner("test", "test_it.py::test_it", "test_it")


def runner():
    """Stands for the fixture of a runner."""


def make_and_drop():
    """Make a loop that nobody closes."""
    asyncio.new_event_loop()
    gc.collect()


@pytest.fixture
def gate(tmp_path):
    """One that records the setup of a test by a runner."""
    places = Places(tmp_path)
    gate = Gate(places, kinds=KINDS, make=lambda gate: Detector(gate, places, print))
    gate.start()
    token = gate.watcher.enter(OWNER, "setup")
    gate.watcher.workers.runner = runner.__code__
    yield gate
    gate.watcher.leave(token, None, "")
    gate.stop()


@pytest.fixture
def loops():
    """Makes loops, and closes them."""
    made = []

    def make():
        made.append(asyncio.new_event_loop())
        return made[-1]

    yield make
    for loop in made:
        loop.close()


def test_a_runners_loop_that_is_closed_in_time_leaves_nothing_to_look_at(gate, loops):
    loop = loops()
    assert not gate.quiet
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert gate.quiet
    assert not any(gate.watcher.workers.entries)


def test_a_runners_loop_that_stays_open_is_found_with_its_owner(gate, loops):
    loop = loops()
    assert gate.watcher.began_in(loop) is OWNER
    assert [it.loop for it in gate.watcher.loops()] == [loop]
    [(found, made)] = gate.watcher.workers.loops()
    assert (found, made.owner, made.calls) == (loop, OWNER, ((runner.__code__, -1),))
    assert not gate.settles()


def test_two_loops_of_a_runner_that_are_open_at_once_are_both_found(gate, loops):
    first, second = loops(), loops()
    assert {it.loop for it in gate.watcher.loops()} == {first, second}


def test_a_runners_loop_that_is_freed_open_is_told(gate):
    with warnings.catch_warnings(record=True) as told:  # its sockets may be finalized before it, and warn too
        warnings.simplefilter("always")
        make_and_drop()
    assert any("unclosed event loop" in str(it.message) for it in told)
    assert [made.owner for made in gate.watcher.workers.dropped] == [OWNER]


def test_a_loop_that_is_made_in_another_phase_is_not_the_runners(gate, loops):
    gate.watcher.phase = "call"
    loops()
    [(_, made)] = gate.watcher.workers.loops()
    assert made.calls[0][0] is not runner.__code__


def test_a_thread_may_begin_with_a_runner(gate):
    """Nothing lies below `Runner.run` then: no frame of a test's runner."""
    here = threading.local()
    over = threading.Event()

    class Sentinel:
        def __del__(self):
            over.set()

    async def main():
        here.until_the_thread_ends = Sentinel()

    gate.watcher.phase = "call"
    with asyncio.Runner() as runner:
        runner.get_loop()
        _thread.start_new_thread(runner.run, (main(),))
        assert over.wait(10)
    assert gate.take_defects() == []
