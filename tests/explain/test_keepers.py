"""Who holds a leaked task: a case for each way that people keep one, and objgraph for a second opinion."""

import asyncio
import functools
import gc
import sys
import threading
import types

import objgraph
import pytest
import uvloop

from pytest_taskleak.explain import outlooks

KEPT = {}
TASKS = set()


class Bot:
    last = None

    def __init__(self):
        self.tasks = []
        self.queue = asyncio.Queue()
        self.stop = asyncio.Event()

    async def wait(self):
        await self.stop.wait()

    async def consume(self):
        await self.queue.get()


class Slots:
    __slots__ = ("task",)


async def forever():
    await asyncio.Event().wait()


def start(coroutine):
    return asyncio.create_task(coroutine, name="asked")


@pytest.fixture(autouse=True)
def nothing_kept():
    yield
    KEPT.clear()
    TASKS.clear()
    Bot.last = None


def ask(case, *, own=lambda path: path == __file__, make=asyncio.new_event_loop):
    """Run a case in a loop of its own and say who holds the task that it leaves."""
    loop = make()
    gc.disable()  # it would take the tasks that nobody holds
    try:
        loop.run_until_complete(case())
        loop.run_until_complete(asyncio.sleep(0))
        named = [next(task for task in asyncio.all_tasks(loop) if task.get_name() == "asked")]
        outlook = outlooks(list(asyncio.all_tasks(loop)), 30.0, named=named, own=own)[id(named[0])]
        return outlook.holders.replace(f"{__name__}.", ""), outlook.suspect.replace(f"{__name__}.", "")
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True) if left else asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        gc.enable()


async def in_a_set():
    TASKS.add(start(forever()))


async def in_a_dict():
    KEPT["it"] = start(forever())


async def in_an_attribute():
    KEPT["bot"] = bot = Bot()
    bot.tasks.append(start(forever()))


async def in_a_slot():
    KEPT["it"] = it = Slots()
    it.task = start(forever())


async def in_a_class():
    Bot.last = start(forever())


async def by_what_it_waits_for():
    KEPT["bot"] = bot = Bot()
    start(bot.consume())


async def in_a_closure():
    task = start(forever())

    def stop():
        task.cancel()

    KEPT["stop"] = stop


async def in_a_partial():
    KEPT["stop"] = functools.partial(print, start(forever()))


async def by_a_timer():
    start(asyncio.sleep(498))


async def by_a_callback_to_come():
    task = start(forever())
    asyncio.get_running_loop().call_later(498, print, task)


async def by_the_task_that_waits_for_it():
    async def parent():
        child = start(forever())
        await asyncio.wait([child])

    KEPT["parent"] = asyncio.create_task(parent())


PARENT = "by_the_task_that_waits_for_it.<locals>.parent"


async def by_a_suspended_generator():
    async def generate():
        task = start(forever())
        yield task

    KEPT["generator"] = generator = generate()
    await anext(generator)


async def by_nobody():
    start(forever())


async def by_a_cycle_of_its_own():
    bot = Bot()
    bot.tasks.append(start(bot.wait()))


async def by_another_leaked_task_alone():
    async def parent():
        child = start(forever())
        await asyncio.Event().wait()
        del child

    asyncio.create_task(parent())


@pytest.mark.parametrize(
    ("case", "holders", "suspect"),
    [
        (in_a_set, "TASKS (set)", "TASKS (set)"),
        (in_a_dict, "KEPT (dict)", "KEPT (dict)"),
        (in_an_attribute, "KEPT (dict) -> Bot -> tasks (list)", "tasks (list)"),
        (in_a_slot, "KEPT (dict) -> Slots", "KEPT (dict)"),
        (in_a_class, "Bot.last (Task)", "Bot.last (Task)"),
        (by_what_it_waits_for, "KEPT (dict) -> Bot -> queue (Queue) -> _getters (deque) -> Future", "queue (Queue)"),
        (
            in_a_closure,
            "KEPT (dict) -> in_a_closure.<locals>.stop (function) -> closure `task`",
            "closure `task`",
        ),
        (in_a_partial, "KEPT (dict) -> partial", "KEPT (dict)"),
        (by_a_timer, "a timer of the loop -> Future", ""),
        (by_a_callback_to_come, "a timer of the loop", ""),
        (
            by_the_task_that_waits_for_it,
            f"KEPT (dict) -> task of `{PARENT}` -> local `child` of `{PARENT}`",
            f"local `child` of `{PARENT}`",
        ),
        (
            by_a_suspended_generator,
            "KEPT (dict) -> local `task` of `by_a_suspended_generator.<locals>.generate`",
            "local `task` of `by_a_suspended_generator.<locals>.generate`",
        ),
        (by_nobody, "nobody", ""),
        (by_a_cycle_of_its_own, "nobody", ""),
        (by_another_leaked_task_alone, "nobody", ""),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_who_holds_it_is_told_from_something_alive_on(case, holders, suspect):
    assert ask(case) == (holders, suspect)


@pytest.mark.parametrize("case", [in_a_set, by_a_timer, by_a_callback_to_come, by_nobody], ids=lambda it: it.__name__)
def test_the_same_is_told_on_uvloop(case):
    assert ask(case, make=uvloop.new_event_loop) == ask(case)


def test_only_what_the_project_wrote_is_a_suspect():
    assert ask(in_an_attribute, own=lambda _: False) == ("KEPT (dict) -> Bot -> tasks (list)", "")


def test_a_thread_that_runs_with_it_is_told_by_its_name():
    done = threading.Event()

    async def case():
        task = start(forever())
        thread = threading.Thread(target=lambda _: done.wait(), args=(task,), name="worker")
        thread.start()
        KEPT.clear()

    try:
        holders, _ = ask(case)
    finally:
        done.set()
    assert holders.startswith("thread 'worker'") or "out of Python's sight" in holders


def test_what_only_a_running_function_holds_is_said_to_be_out_of_sight():
    held = []

    async def case():
        held.append(start(forever()))

    holders, _ = ask(case)
    # The list is a closure's and a local's of this test: both may be seen, by the interpreter's version.
    assert "held" in holders or "out of Python's sight" in holders


def test_a_module_that_is_not_registered_holds_nobody_by_its_name():
    module = types.ModuleType("apart")

    async def case():
        module.task = start(forever())

    assert "apart" not in ask(case)[0]


def test_pytests_note_of_the_last_failure_is_not_a_holder(monkeypatch):
    async def case():
        monkeypatch.setattr(sys, "last_value", start(forever()), raising=False)

    assert "last_value" not in ask(case)[0]


@pytest.mark.parametrize("case", [in_a_set, in_an_attribute, by_what_it_waits_for, in_a_partial])
def test_objgraph_finds_a_way_of_the_same_length(case):
    """Both are breadth first; objgraph goes on where ours passes over pytest's and the interpreter's own."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(case())
        loop.run_until_complete(asyncio.sleep(0))
        (task,) = asyncio.all_tasks(loop)
        chain = objgraph.find_backref_chain(task, lambda it: it is KEPT or it is TASKS, max_depth=12)
        ours = outlooks([task], 30.0, named=[task])[id(task)].holders.split(" -> ")
        telling = [it for it in chain if type(it) not in (tuple, types.CellType, types.BuiltinMethodType)]
        told = [it for it in telling if not (isinstance(it, dict) and it is not KEPT)][:-1]
        told = [it for it in told if not type(it).__name__.startswith("Task")]
        assert len(ours) == len(told), (ours, [type(it) for it in chain])
    finally:
        task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def test_nobody_holds_the_first_of_more_tasks_than_are_searched_for_at_once():
    async def case():
        for _ in range(700):
            start(forever())

    assert ask(case) == ("nobody", "")


def test_nothing_is_said_once_the_time_is_used_up():
    async def case():
        KEPT["it"] = start(forever())

    loop = asyncio.new_event_loop()
    loop.run_until_complete(case())
    loop.run_until_complete(asyncio.sleep(0))
    (task,) = asyncio.all_tasks(loop)
    assert outlooks([task], -1.0, named=[task])[id(task)].holders == ""
    task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_what_a_thread_s_running_function_holds_is_said_to_be_out_of_sight():
    done = threading.Event()

    async def case():
        start(asyncio.to_thread(done.wait))
        for _ in range(3):
            await asyncio.sleep(0)

    try:
        holders, suspect = ask(case)
    finally:
        done.set()
    assert "out of Python's sight" in holders
    assert suspect == ""


def test_of_a_loop_that_runs_in_another_thread_nothing_is_said():
    """It changes while it is looked at."""
    loop, known = asyncio.new_event_loop(), []
    ready = threading.Event()

    async def case():
        known.append(start(forever()))
        await asyncio.sleep(0)
        ready.set()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(case(), loop)
        assert ready.wait(60)
        assert outlooks(known, 30.0, named=known)[id(known[0])] == ("may wake", "", "")
    finally:
        loop.call_soon_threadsafe(known.pop().cancel)
        loop.call_soon_threadsafe(loop.call_soon, loop.stop)
        thread.join()
        loop.close()
