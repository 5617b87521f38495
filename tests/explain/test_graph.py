"""What awaits what around a task, in words."""

import asyncio
import contextlib
import threading
from pathlib import Path

import anyio
import pytest

from pytest_taskleak.explain.awaiting import frames_of
from pytest_taskleak.explain.graph import await_graph
from pytest_taskleak.places import Places

PLACES = Places(Path(__file__).parents[2])
FUTURE = "a future that nobody has settled"


async def never():
    await asyncio.get_running_loop().create_future()


async def call(awaitable):
    return await awaitable


async def grouped():
    async with asyncio.TaskGroup() as group:
        group.create_task(never(), name="inside")


async def grouped_by_anyio():
    async with anyio.create_task_group() as group:
        group.start_soon(never, name="inside")


async def generates():
    await never()
    yield


async def iterates():
    async for _ in generates():
        pass


async def takes_the_next():
    await anext(generates())


async def takes_the_next_or_another():
    await anext(generates(), (number for number in ()))


@contextlib.asynccontextmanager
async def graph_of(coroutine):
    """The graph of a task that runs `coroutine`, as (depth, text) without local variables and library frames."""
    task = asyncio.create_task(coroutine, name="top")
    for _ in range(4):
        await asyncio.sleep(0)
    try:
        yield lines(task)
    finally:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        await asyncio.wait(others)


def lines(task):
    return [
        (link.depth, link.text)
        for link in await_graph(task, PLACES)
        if " = " not in link.text and (link.place is None or link.place.own)
    ]


@pytest.mark.parametrize(
    ("coroutine", "below"),
    [
        (never, [(1, "never"), (1, FUTURE)]),
        (
            lambda: call(asyncio.create_task(never(), name="inside")),
            [(1, "call"), (1, "task 'inside', never"), (2, "never"), (2, FUTURE)],
        ),
        (
            lambda: call(asyncio.gather(asyncio.sleep(0), never())),
            [(1, "call"), (1, "gather: 1 of 2 go on"), (2, "task never"), (3, "never"), (3, FUTURE)],
        ),
        (
            lambda: call(asyncio.gather(asyncio.gather(never()))),
            [
                *((1, "call"), (1, "gather: 1 of 1 go on"), (2, "gather: 1 of 1 go on")),
                *((3, "task never"), (4, "never"), (4, FUTURE)),
            ],
        ),
        (
            lambda: call(asyncio.shield(never())),
            [(1, "call"), (1, "shield"), (2, "task never"), (3, "never"), (3, FUTURE)],
        ),
        (
            lambda: call(asyncio.wait_for(asyncio.create_task(never(), name="inside"), 3600)),
            [(1, "call"), (1, "task 'inside', never"), (2, "never"), (2, FUTURE)],
        ),
        (
            lambda: call(asyncio.wait([asyncio.create_task(never(), name="inside")])),
            [(1, "call"), (1, "task 'inside', never"), (2, "never"), (2, FUTURE)],
        ),
        (grouped, [(1, "grouped"), (1, "task 'inside', never"), (2, "never"), (2, FUTURE)]),
        (
            grouped_by_anyio,
            [(1, "grouped_by_anyio"), (1, "task 'inside', TaskHandle._run_coro"), (2, "never"), (2, FUTURE)],
        ),
        (iterates, [(1, "iterates"), (1, "generates"), (1, "never"), (1, FUTURE)]),
        (takes_the_next, [(1, "takes_the_next"), (1, "generates"), (1, "never"), (1, FUTURE)]),
        (takes_the_next_or_another, [(1, "takes_the_next_or_another"), (1, "generates"), (1, "never"), (1, FUTURE)]),
    ],
)
async def test_what_a_task_awaits_is_followed_to_its_end(coroutine, below):
    async with graph_of(coroutine()) as told:
        assert told[0][0] == 0
        assert told[0][1].startswith("task 'top', ")
        assert told[1:] == below


@pytest.mark.parametrize(
    "around",
    [
        call,
        lambda inner: call(asyncio.gather(inner, asyncio.sleep(0))),
        lambda inner: call(asyncio.shield(inner)),
        lambda inner: call(asyncio.shield(asyncio.gather(inner))),
        lambda inner: call(asyncio.wait_for(inner, 3600)),
        lambda inner: call(asyncio.wait([inner])),
    ],
    ids=["await", "gather", "shield", "both", "wait_for", "wait"],
)
async def test_who_awaits_a_task_is_told(around):
    inner = asyncio.create_task(never())
    async with graph_of(around(inner)):
        assert lines(inner)[-3:] == [(0, "awaited by"), (1, "task 'top', call"), (2, "call")]


@pytest.mark.parametrize("group", [grouped, grouped_by_anyio])
async def test_the_block_of_a_task_group_awaits_its_tasks(group):
    async with graph_of(group()):
        (inner,) = (task for task in asyncio.all_tasks() if task.get_name() == "inside")
        assert lines(inner)[-3:] == [(0, "awaited by"), (1, f"task 'top', {group.__name__}"), (2, group.__name__)]


async def test_who_awaits_the_task_that_awaits_it_is_told_below():
    inner = asyncio.create_task(never())
    middle = asyncio.create_task(call(inner), name="middle")
    async with graph_of(call(middle)):
        assert lines(inner)[-6:] == [
            *((0, "awaited by"), (1, "task 'middle', call"), (2, "call")),
            *((2, "awaited by"), (3, "task 'top', call"), (4, "call")),
        ]


async def test_what_was_gathered_or_shielded_and_not_awaited_is_awaited_by_nobody():
    inner = asyncio.create_task(never())
    gathered, shielded = asyncio.gather(inner), asyncio.shield(inner)
    assert all(text != "awaited by" for _, text in lines(inner))
    inner.cancel()
    await asyncio.wait([inner, gathered, shielded])


async def test_what_waits_for_itself_is_cut_and_named():
    tasks = []

    async def waits_for(number):
        await asyncio.wait([tasks[number]])

    tasks += [asyncio.create_task(waits_for(1), name="first"), asyncio.create_task(waits_for(0), name="second")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    name = waits_for.__qualname__
    assert lines(tasks[0]) == [
        *((0, f"task 'first', {name}"), (1, name)),
        *((1, f"task 'second', {name}"), (2, name)),
        (2, f"task 'first', {name}: a circle, it is above"),
        *((0, "awaited by"), (1, f"task 'second', {name}"), (2, name)),
    ]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_two_wait_for_is_told_once():
    inner = asyncio.create_task(never(), name="inner")
    async with graph_of(call(asyncio.gather(call(inner), call(inner)))) as told:
        assert [text for _, text in told if "inner" in text] == [
            "task 'inner', never",
            "task 'inner', never: told above",
        ]


async def test_a_thread_is_told_from_a_future():
    release = threading.Event()
    async with graph_of(call(asyncio.to_thread(release.wait, 10))) as told:
        assert told[-1] == (1, "the result of a thread")
        release.set()


async def test_a_long_chain_and_a_wide_one_end_somewhere():
    tasks = [asyncio.create_task(never())]
    for _ in range(60):
        tasks.append(asyncio.create_task(call(tasks[-1])))
    await asyncio.sleep(0)
    told = lines(tasks[-1])
    assert told[-1][1].endswith(": … and so on")
    async with graph_of(call(asyncio.gather(*(never() for _ in range(300))))):
        (top,) = (task for task in asyncio.all_tasks() if task.get_name() == "top")
        links = await_graph(top, PLACES)
        assert len(links) == 201
        assert links[-1].text == "… and more"
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def variables_of(coroutine):
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)
    told = [link.text for link in await_graph(task, PLACES) if link.place is None and link.depth == 2]
    task.cancel()
    await asyncio.wait([task])
    return told


class Hostile:
    def __init__(self, error):
        self.error = error

    def __repr__(self):
        raise self.error


async def test_local_variables_are_told_in_short_and_without_addresses():
    async def works(bot, text):
        many = list(range(1000))  # noqa: F841 - it is what is looked at
        await never()

    told = await variables_of(works(object(), "\x1b[2J" + "x" * 5_000_000))
    assert told[0] == "bot = <object object>"
    assert told[1].startswith("text = '\\x1b[2Jxxx")
    assert told[2] == "many = [0, 1, 2, 3, 4, 5, ...]"
    assert max(map(len, told)) < 120


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError, SystemExit])
async def test_what_a_repr_raises_is_named_in_its_place(error):
    async def works(bad, holds):
        await never()

    said = f"<Hostile, whose `repr()` raised {error.__name__}>"
    assert await variables_of(works(Hostile(error()), [Hostile(error())])) == [f"bad = {said}", f"holds = [{said}]"]


async def test_a_class_that_only_bears_the_name_of_a_container_is_none():
    async def works(it):
        await never()

    told = await variables_of(works(type("dict", (), {})()))
    # reprlib goes by names before 3.12, and by types from then on
    assert told in (["it = <dict, whose `repr()` raised TypeError>"], ["it = <test_graph.dict object>"])


async def test_only_so_many_variables_are_told():
    async def works(a, b, c, d, e, f, g, h, i, j, k, m):  # noqa: PLR0913, PLR0917 - as above
        await never()

    told = await variables_of(works(*range(12)))
    assert told[-2:] == ["j = 9", "and 2 more variables"]


@pytest.mark.skipif(not hasattr(asyncio, "capture_call_graph"), reason="asyncio tells its call graph since 3.14")
@pytest.mark.parametrize(
    "make",
    [
        never,
        lambda: call(call(never())),
        grouped,
        iterates,
        takes_the_next,
        lambda: call(asyncio.wait_for(never(), 60)),
    ],
    ids=["a coroutine", "three deep", "a task group", "an async generator", "anext", "wait_for"],
)
async def test_the_stack_is_the_one_that_asyncio_itself_captures(make):
    """A second opinion, where there is one; it ends at an async generator, behind which ours goes on."""
    async with graph_of(make()):
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "top")
        captured = [entry.frame for entry in asyncio.capture_call_graph(task).call_stack][::-1]
        frames = list(frames_of(task))
        assert frames[: len(captured)] == captured
        beyond = {frame.f_code.co_name for frame in frames[len(captured) :]}
        assert beyond == ({"generates", "never"} if "generates" in beyond else set())
