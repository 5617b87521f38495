"""What is alive in a loop: every kind of task, whatever asyncio's own list leaves out."""

import asyncio
import sys

import pytest

from pytest_taskleak.judge import pending_tasks

KINDS = [asyncio.Task, asyncio.tasks._PyTask]
WAYS = {"scheduled": {}, "eager": {"eager_start": True}}
if sys.version_info < (3, 12):
    del WAYS["eager"]  # tasks cannot be eager there


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("kind", KINDS, ids=["in C", "in Python"])
@pytest.mark.parametrize("own", [False, True], ids=["asyncio's", "a subclass"])
async def test_a_task_is_seen_until_it_is_done(own, kind, how):
    cls = type("Own", (kind,), {}) if own else kind
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    before = pending_tasks(loop)
    task = cls(over.wait(), loop=loop, **how)
    assert [it for it in pending_tasks(loop) if it not in before] == [task]
    await asyncio.sleep(0)
    assert [it for it in pending_tasks(loop) if it not in before] == [task]
    over.set()
    await task
    assert task not in pending_tasks(loop)


def test_a_task_of_another_loop_is_not_seen():
    with asyncio.Runner() as runner, asyncio.Runner() as other:
        tasks = [kind(asyncio.sleep(0), loop=other.get_loop()) for kind in KINDS]
        assert pending_tasks(runner.get_loop()) == []
        assert set(pending_tasks(other.get_loop())) == set(tasks)
        other.get_loop().run_until_complete(asyncio.wait(tasks))
