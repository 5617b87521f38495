"""Work that a wider fixture keeps, and work that piles up with it."""

import asyncio
import gc
import weakref
from collections import deque

import pytest

from pytest_taskleak.judge import Adoptions, holders
from pytest_taskleak.model import Origin, Owner


def origin():
    return Origin(Origin.of(None, None, phase="call", name="forever"))


@pytest.fixture
async def task():
    task = asyncio.create_task(asyncio.Event().wait())
    yield task
    task.cancel()
    await asyncio.wait([task])


class Pool:
    """A live fixture that keeps a list of things."""

    def __init__(self, *roots):
        self.owner = Owner("fixture", "test", "pool", "module")
        self.roots = lambda: list(roots)

    def can_clean_up(self):
        return True


class Slotted:
    __slots__ = ("empty", "task")

    def __init__(self, task):
        self.task = task


class Plain:
    def __init__(self, value):
        self.value = value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda task: task,
        Plain,
        Slotted,
        lambda task: Plain({"reader": [task]}),
        lambda task: Plain(deque([(Plain({task}),)])),
    ],
    ids=["the value itself", "an attribute", "a slot", "a list in a dict", "a set in a tuple in a deque"],
)
async def test_a_task_in_a_fixtures_plain_data_is_held(task, wrap):
    assert holders([task], [pool := Pool(wrap(task))]) == {id(task): pool}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda task: lambda: task,
        lambda task: Plain(task).__init__,
        lambda _: asyncio.get_running_loop(),
        lambda task: type("Holder", (), {"task": task}),
        weakref.ref,
    ],
    ids=["a function", "a method", "the loop", "a class", "a weak reference"],
)
async def test_what_is_reached_only_through_code_a_loop_or_a_weak_reference_is_not_held(task, wrap):
    assert holders([task], [Pool(wrap(task))]) == {}


async def test_a_callback_that_looks_at_attributes_of_the_users_is_never_called(task):
    class Trap:
        @property
        def task(self):
            raise AssertionError("looked")

        def __getattr__(self, name):
            raise AssertionError(f"asked for {name}")

        def __iter__(self):
            raise AssertionError("iterated")

    assert holders([task], [Pool(Trap())]) == {}


async def test_the_second_test_that_leaves_one_more_is_a_pile_and_the_first_is_none(task):
    pool, adoptions = Owner("fixture", "a", "pool", "module"), Adoptions()
    another = asyncio.create_task(asyncio.Event().wait())
    assert adoptions.leave(pool, "first", task, origin()) == ["first"]
    assert adoptions.leave(pool, "second", another, origin()) == ["first", "second"]
    another.cancel()
    await asyncio.wait([another])


async def test_what_ended_meanwhile_does_not_count(task):
    pool, adoptions = Owner("fixture", "a", "pool", "module"), Adoptions()
    slow = asyncio.create_task(asyncio.Event().wait())
    adoptions.leave(pool, "first", slow, origin())
    slow.cancel()
    await asyncio.wait([slow])
    assert adoptions.leave(pool, "second", task, origin()) == ["second"]


async def test_two_in_one_test_are_no_pile(task):
    pool, adoptions = Owner("fixture", "a", "pool", "module"), Adoptions()
    another = asyncio.create_task(asyncio.Event().wait())
    adoptions.leave(pool, "first", task, origin())
    assert adoptions.leave(pool, "first", another, origin()) == ["first"]
    another.cancel()
    await asyncio.wait([another])


async def test_nothing_is_kept_alive():
    pool, adoptions = Owner("fixture", "a", "pool", "module"), Adoptions()
    gone = asyncio.create_task(asyncio.sleep(0))
    adoptions.leave(pool, "first", gone, origin())
    await gone
    await asyncio.sleep(0)  # the step that `gone` woke up refers to it
    ref = weakref.ref(gone)
    del gone
    gc.collect()
    assert ref() is None


@pytest.fixture
async def sleepers():
    tasks = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(3)]
    yield tasks
    for each in tasks:
        each.cancel()
    await asyncio.wait(tasks)


async def test_a_short_sleep_is_given_its_time_before_it_counts(sleepers, monkeypatch):
    """A handler that is merely slow ends with its sleep; one that sleeps again and again is alive when that is over."""
    pool, adoptions = Owner("fixture", "a", "pool", "module"), Adoptions()
    loop = asyncio.get_running_loop()
    now = loop.time()
    assert adoptions.leave(pool, "first", sleepers[0], origin(), wakes=now + 1) == ["first"]
    assert adoptions.leave(pool, "second", sleepers[1], origin(), wakes=now + 3) == ["second"]
    monkeypatch.setattr(loop, "time", lambda: now + 2)
    assert adoptions.leave(pool, "third", sleepers[2], origin(), wakes=now + 3) == ["first", "third"]


async def test_a_long_sleep_counts_at_once(sleepers):
    pool, adoptions = Owner("fixture", "a", "pool", "module"), Adoptions()
    later = asyncio.get_running_loop().time() + 3600
    adoptions.leave(pool, "first", sleepers[0], origin(), wakes=later)
    assert adoptions.leave(pool, "second", sleepers[1], origin(), wakes=later) == ["first", "second"]
