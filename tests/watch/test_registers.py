"""Where things are kept that were made: what is alive is there, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path

import pytest
import uvloop

from pytest_taskleak.detector import Detector
from pytest_taskleak.gate import Gate
from pytest_taskleak.model import KINDS, Owner
from pytest_taskleak.places import Places
from pytest_taskleak.watch.registers import SPARE, Made, Register

BURST = 20 * SPARE
LOOPS = pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uv"])


class Thing:
    def __init__(self, *, over=False):
        self.over = over


def made(thing, owner=None):
    return Made(weakref.ref(thing), id(thing), owner, "call", ())


@pytest.fixture
def register():
    return Register(lambda thing: thing.over)


@pytest.fixture
def gate():
    places = Places(Path.cwd())
    gate = Gate(places, kinds=KINDS, make=lambda gate: Detector(gate, places, print))
    gate.start()
    gate.watcher.enter(Owner("test", "test_it.py::test_it", "test_it"), "call")
    yield gate
    gate.stop()


def test_what_has_ended_or_is_gone_is_not_alive(register):
    goes_on, ended, gone = Thing(), Thing(over=True), Thing()
    for thing in (goes_on, ended, gone):
        register.append(made(thing))
    del thing, gone
    assert [thing for thing, _ in register.alive()] == [goes_on]
    register.tidy()
    assert len(register.entries) == 1


def test_nothing_is_kept_alive(register):
    thing = Thing()
    register.append(made(thing))
    ref = weakref.ref(thing)
    del thing
    assert ref() is None


def test_what_was_judged_has_no_owner_and_is_counted_on(register):
    owner, other = Owner("test", "a", "a"), Owner("fixture", "a", "pool", "module")
    judged, kept = Thing(), Thing()
    for thing in (judged, kept):
        register.append(made(thing, owner))
    register.settle({id(judged)})
    register.give({id(kept): other})
    assert [entry.owner for _, entry in register.alive()] == [None, other]


def test_a_thing_is_found_while_it_is_being_freed(register):
    """Weak references are cleared by then: it is known by its address."""
    found = []

    class Freed(Thing):
        def __del__(self):
            found.append(register.find(self))

    thing = Freed()
    register.append(made(thing))
    key = id(thing)
    del thing
    assert [entry.key for entry in found] == [key]


def test_what_is_appended_while_it_is_tidied_stays():
    late = Thing()

    def over(thing):
        if thing is not late and not any(entry[0]() is late for entry in register.entries):
            register.append(made(late))
        return thing.over

    register = Register(over)
    ended = Thing(over=True)
    register.append(made(ended))
    register.tidy()
    assert [thing for thing, _ in register.alive()] == [late]


@LOOPS
@pytest.mark.parametrize("kind", ["future", "timer"])
def test_what_is_kept_follows_what_is_alive_also_after_a_burst(gate, kind, loop_factory):
    register = gate.watcher.things.registers[kind]

    async def burst():
        loop = asyncio.get_running_loop()
        if kind == "future":
            things = [loop.create_future() for _ in range(BURST)]
        else:
            things = [loop.call_later(3600, print) for _ in range(BURST)]
        assert len(register.alive()) == BURST
        for thing in things:
            thing.cancel()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(burst())
        gc.collect()
        assert len(register.entries) <= SPARE
        for _ in range(3):
            runner.run(burst())
    gc.collect()
    assert len(register.entries) <= SPARE


@LOOPS
def test_what_is_made_one_after_the_other_is_let_go_of_without_the_collector(gate, loop_factory):
    register = gate.watcher.things.registers["future"]

    async def one_by_one():
        for _ in range(BURST):
            asyncio.get_running_loop().create_future().cancel()
            assert len(register.entries) <= 2 * SPARE

    gc.disable()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(one_by_one())
    finally:
        gc.enable()
