"""What is never a leak, each with its reason."""

import asyncio

import pytest

from pytest_taskleak.judge import BUILT_IN, Rule, carries, ignored_by


async def watch():
    await asyncio.Event().wait()


async def other():
    await asyncio.Event().wait()


@pytest.fixture
async def tasks():
    tasks = [asyncio.create_task(coroutine) for coroutine in (watch(), watch(), other())]
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def test_every_built_in_rule_has_a_name_of_its_own_and_a_reason():
    assert len({rule.name for rule in BUILT_IN}) == len(BUILT_IN)
    assert all(len(rule.reason.split()) > 3 for rule in BUILT_IN)


async def test_a_rule_speaks_for_tasks_of_its_coroutine(tasks):
    rule = Rule("watcher", "it is the library's", "watch")
    assert set(ignored_by(tasks, [rule])) == set(tasks[:2])


async def test_a_rule_may_allow_only_so_many_in_a_loop(tasks):
    rule = Rule("watcher", "one is infrastructure, two are a leak", "watch", at_most=1)
    assert set(ignored_by(tasks, [rule])) == {tasks[0]}


async def test_a_rule_may_name_the_file(tasks):
    assert not ignored_by(tasks, [Rule("watcher", "it is the library's", "watch", file="anyio/")])
    assert ignored_by(tasks, [Rule("watcher", "it is the library's", "watch", file="tests/judge/")])


def test_the_users_own_coroutine_of_a_runners_name_carries_nobodys_work():
    class TestRunner:
        async def _run_tests_and_fixtures(self):
            pass

    coroutine = TestRunner()._run_tests_and_fixtures()
    coroutine.__qualname__ = "TestRunner._run_tests_and_fixtures"
    assert not carries(coroutine)
    coroutine.close()


async def test_what_asyncio_makes_to_finish_a_collected_generator_is_spoken_for():
    async def generator():
        yield 1
        yield 2

    suspended = generator()
    await anext(suspended)
    closing = asyncio.create_task(suspended.athrow(GeneratorExit))
    assert closing in ignored_by([closing])
    with pytest.raises(GeneratorExit):
        await closing
