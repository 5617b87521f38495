"""Who hears of the collector of garbage, and of which of its work."""

import gc

import pytest

from pytest_taskleak.watch.collector import Collector


@pytest.fixture
def alone():
    """Nobody else in the list of those who hear, and no collection but those that are asked for."""
    others, enabled = gc.callbacks[:], gc.isenabled()
    gc.disable()
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = others
    if enabled:
        gc.enable()


@pytest.fixture
def heard(alone):
    return []


@pytest.fixture
def collector(heard):
    collector = Collector()
    collector.hear(lambda phase, generation: heard.append((phase, generation)))
    yield collector
    collector.stop()


def test_a_collection_of_somebody_elses_is_heard_of(collector, heard):
    gc.collect(1)
    assert heard == [("start", 1), ("stop", 1)]


def test_an_own_collection_is_not_where_nobody_else_hears_of_it(collector, heard):
    class Cycle:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            heard.append("freed")

    Cycle()
    before = gc.callbacks[:]
    collector.collect(1)
    assert heard == ["freed"]
    assert gc.callbacks == before


def test_others_hear_of_an_own_collection(collector, heard):
    theirs = []
    gc.callbacks.append(lambda phase, _info: theirs.append(phase))
    collector.collect(0)
    assert theirs == ["start", "stop"]
    assert heard == [("start", 0), ("stop", 0)]


def test_who_begins_to_hear_while_garbage_is_freed_stays(collector, heard):
    theirs = []

    class Cycle:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            gc.callbacks.append(lambda phase, _info: theirs.append(phase))

    Cycle()
    collector.collect(1)
    gc.collect(0)
    assert theirs[-2:] == ["start", "stop"]
    assert heard == [("start", 0), ("stop", 0)]


def test_several_hear_by_one_entry_and_none_when_it_is_over(collector, heard):
    more = []
    for _ in range(2):
        collector.hear(lambda phase, _generation: more.append(phase))
    assert len(gc.callbacks) == 1
    collector.stop()
    collector.stop()
    gc.collect(0)
    assert (gc.callbacks, heard, more) == ([], [], [])
