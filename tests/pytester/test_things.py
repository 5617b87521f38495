"""Futures, timers and async generators that outlive their test: whose they are, and which of them are none."""

from __future__ import annotations

import re

import pytest

QUIET = "outlived"
"""The word that every report of a leak has, and that a clean run never shows."""

LOOPS = """
import uvloop

@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request):
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()
"""
"""Each test of a project on both kinds of loop."""


def of_both_loops(name, word):
    return {f"{name}[{loop}]": word for loop in ("asyncio", "uvloop")}


def flat(text):
    """The output as one line, whatever its width."""
    return " ".join(text.split())


@pytest.fixture
def on_both_loops(judged):
    """Run a project's tests on asyncio's own loop and on uvloop's, in a process of its own."""

    def on_both_loops(source, *args):
        return judged(LOOPS + source, *args, "-Wignore::DeprecationWarning", apart=True)

    return on_both_loops


# -- futures


def test_futures_in_a_dict_that_nobody_settles_are_a_leak_with_their_maker_and_holder(judged):
    words, text = judged("""
        WAITING = {}

        async def test_leaks():
            for n in range(50):
                WAITING[n] = asyncio.get_running_loop().create_future()

        async def test_is_clean():
            await asyncio.sleep(0)
    """)
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "50 futures outlived `test_leaks`: future made in test_leaks, held by `test_it.WAITING`" in text
    assert "WAITING[n] = asyncio.get_running_loop().create_future()" in text
    assert "1 cause, 50 leaked futures in 1 test" in text


def test_futures_are_found_on_uvloop_too(on_both_loops):
    words, _ = on_both_loops("""
WAITING = []

async def test_leaks():
    WAITING.append(asyncio.get_running_loop().create_future())
""")
    assert words == of_both_loops("test_leaks", "FAILED")


def test_a_future_that_is_settled_or_dies_with_its_test_is_none(judged):
    words, text = judged("""
        KEPT = []

        class Connection:
            def __init__(self):
                self.closed = asyncio.get_running_loop().create_future()
                self.myself = self  # only the collector can free it

        async def test_settles():
            KEPT.append(asyncio.get_running_loop().create_future())
            KEPT[0].set_result(None)

        async def test_cancels():
            KEPT.append(asyncio.get_running_loop().create_future())
            KEPT[1].cancel()

        async def test_drops():
            waiting = {n: asyncio.get_running_loop().create_future() for n in range(50)}

        async def test_drops_a_circle():
            Connection()
    """)
    assert set(words.values()) == {"PASSED"}
    assert QUIET not in text


def test_what_the_arguments_of_a_test_hold_dies_with_them(judged):
    words, text = judged("""
        class Client:
            def __init__(self):
                self.closed = asyncio.get_running_loop().create_future()

        @pytest.fixture
        async def client():
            return Client()

        async def test_uses(client):
            client.lost = asyncio.get_running_loop().create_future()

        class TestClass:
            async def test_method(self):
                self.future = asyncio.get_running_loop().create_future()

            async def test_another(self):
                self.future = asyncio.get_running_loop().create_future()

        async def test_after_them():
            pass
    """)
    assert set(words.values()) == {"PASSED"}
    assert QUIET not in text


def test_a_future_that_a_failure_still_shows_is_no_second_fault(judged):
    words, text = judged("""
        async def test_fails():
            answer = asyncio.get_running_loop().create_future()
            assert answer.done()

        async def test_is_clean():
            await asyncio.sleep(0)
    """)
    assert words == {"test_fails": "FAILED", "test_is_clean": "PASSED"}
    assert QUIET not in text


def test_a_future_that_a_task_awaits_is_told_with_the_task(judged):
    words, text = judged("""
        KEPT = []

        async def test_leaks():
            answer = asyncio.get_running_loop().create_future()

            async def ask():
                await answer

            KEPT[:] = [answer, asyncio.create_task(ask())]
            await asyncio.sleep(0)
    """)
    assert words == {"test_leaks": "FAILED"}
    assert "1 cause, 1 leaked task in 1 test" in text


def test_futures_that_asyncio_makes_for_itself_are_not_looked_at(judged):
    words, text = judged("""
        KEPT = []

        async def test_is_clean():
            queue, lock, event = asyncio.Queue(), asyncio.Lock(), asyncio.Event()
            KEPT[:] = [queue, lock, event]
            for wait in (queue.get, event.wait):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(wait(), 0.001)
            await asyncio.to_thread(sum, [1])
    """)
    assert set(words.values()) == {"PASSED"}
    assert QUIET not in text


def test_futures_that_pile_up_with_a_wider_fixture_are_laid_at_the_third_test(judged):
    """Pools grow to their size, so that two tests are no pile."""
    words, text = judged("""
        class Bot:
            def __init__(self):
                self.waiting = []

            def ask(self):
                self.waiting.append(asyncio.get_running_loop().create_future())

        @pytest.fixture(scope="module")
        def bot():
            return Bot()

        async def test_one(bot):
            bot.ask()

        async def test_two(bot):
            bot.ask()

        async def test_three(bot):
            bot.ask()
    """)
    assert words == {"test_one": "PASSED", "test_two": "PASSED", "test_three": "FAILED"}
    assert "future made in Bot.ask: accumulates, held by `Bot.waiting` (3 tests each left more)" in flat(text)


def test_a_fixture_that_is_kept_alive_with_its_futures_is_named(judged):
    words, text = judged("""
        KEPT = []

        class Bot:
            def __init__(self):
                KEPT.append(self)
                self.closed = asyncio.get_running_loop().create_future()

        @pytest.fixture
        async def bot():
            return Bot()

        async def test_it(bot):
            pass
    """)
    assert words == {"test_it": "PASSED+ERROR"}  # known only when pytest has let go of the test's arguments
    assert "1 future outlived fixture `bot`: future made in Bot.__init__, held by `Bot.closed`" in text


def test_the_broken_queue_of_the_incident_leaves_its_promises_pending(judged):
    """The incident to the letter: a handler fails, the processor ends, and nobody will ever answer."""
    words, text = judged("""
        from reference_queue.incident import BrokenMessageQueue

        async def answer(instance, message):
            raise ConnectionError("the browser is gone")

        QUEUE = BrokenMessageQueue(answer)

        async def test_answers():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
            for n in range(30):
                QUEUE.enqueue("instance", "chat 1", f"message {n}")
            await asyncio.sleep(0)
    """)
    assert words == {"test_answers": "FAILED"}
    assert "29 futures outlived `test_answers`" in text  # the first message died with its handler
    assert "held by `BrokenMessageQueue._queues`" in text
    assert "future: asyncio.Future[R] = asyncio.get_running_loop().create_future()" in text


def test_the_promises_of_a_leaked_processor_are_told_with_it(judged):
    words, text = judged("""
        from reference_queue.incident import BrokenMessageQueue

        async def answer(instance, message):
            await forever()

        async def test_answers():
            queue = BrokenMessageQueue(answer)
            for n in range(30):
                queue.enqueue("instance", "chat 1", f"message {n}")
            await asyncio.sleep(0)
    """)
    assert words == {"test_answers": "FAILED"}
    assert "1 cause, 1 leaked task in 1 test" in text
    assert "with it: 30 futures made in BrokenMessageQueue.enqueue, which nobody will settle" in text


def test_the_reference_queue_settles_its_promises(judged):
    words, text = judged("""
        from reference_queue import MessageQueue

        KEPT = []

        async def answer(message):
            raise ConnectionError("the browser is gone")

        async def test_answers():
            async with MessageQueue(answer) as queue:
                KEPT.append(queue)
                KEPT.extend([queue.enqueue("chat 1", f"message {n}") for n in range(30)])
                await asyncio.wait(KEPT[1:])
            assert {type(answer.exception()) for answer in KEPT[1:]} == {ConnectionError}
    """)
    assert words == {"test_answers": "PASSED"}
    assert QUIET not in text


# -- timers


def test_a_timer_an_hour_ahead_is_a_leak_on_every_loop(on_both_loops):
    words, text = on_both_loops("""
def ring(): ...

async def test_later():
    asyncio.get_running_loop().call_later(3600, ring)

async def test_at():
    loop = asyncio.get_running_loop()
    loop.call_at(loop.time() + 3600, ring)

async def test_cancels():
    asyncio.get_running_loop().call_later(3600, ring).cancel()
""")
    assert words == {
        **of_both_loops("test_later", "FAILED"),
        **of_both_loops("test_at", "FAILED"),
        **of_both_loops("test_cancels", "PASSED"),
    }
    # A busy machine may take half a second until it asks.
    assert re.search(r"1 timer outlived `test_later\[asyncio\]`: timer for ring, fires in \+3(600|599) s", text)
    assert "asyncio.get_running_loop().call_later(3600, ring)" in text


def test_a_timer_left_in_a_module_loop_fails_its_test_only(judged):
    words, text = judged("""
        pytestmark = pytest.mark.asyncio(loop_scope="module")

        async def test_leaks():
            asyncio.get_running_loop().call_later(3600, print)

        async def test_comes_after():
            await asyncio.sleep(0)
    """)
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 cause, 1 leaked timer in 1 test" in text


def test_timers_that_serve_a_future_a_task_or_a_weak_target_are_none(on_both_loops):
    words, text = on_both_loops("""
import functools, weakref

class Pool:
    def clean(self): ...

KEPT = Pool()

async def test_serves():
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    loop.call_later(3600, answer.cancel)
    loop.call_later(3600, lambda: answer.cancel())
    loop.call_later(3600, functools.partial(answer.set_result, 1))
    answer.set_result(1)
    loop.call_later(3600, asyncio.current_task().cancel)
    loop.call_later(3600, weakref.WeakMethod(KEPT.clean))
    loop.call_later(3600, lambda ref: ref(), weakref.ref(KEPT))
    loop.call_later(0.5, print)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.sleep(3600)
""")
    assert set(words.values()) == {"PASSED"}, text
    assert QUIET not in text


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_timer_that_a_fixture_cancels_is_none(judged, kind):
    prefix = "async " if kind == "async" else ""
    words, text = judged(f"""
        @pytest.fixture
        {prefix}def timers():
            timers = []
            yield timers
            for timer in timers:
                timer.cancel()

        async def test_it(timers):
            timers.append(asyncio.get_running_loop().call_later(3600, print))
    """)
    assert words == {"test_it": "PASSED"}
    assert QUIET not in text


def test_a_timer_that_a_live_fixture_keeps_is_the_fixtures(judged):
    words, text = judged("""
        pytestmark = pytest.mark.asyncio(loop_scope="module")

        class Pool:
            def renew(self):
                self.timer = asyncio.get_running_loop().call_later(3600, self.renew)

        @pytest.fixture(scope="module")
        def pool():
            return Pool()

        async def test_renews(pool):
            pool.renew()

        async def test_comes_after(pool):
            pass
    """)
    assert words == {"test_renews": "PASSED", "test_comes_after": "PASSED+ERROR"}
    assert "1 timer outlived fixture `pool` (module scope)" in text


def test_a_timer_left_by_asyncio_run_in_a_sync_test_is_a_leak(judged):
    words, text = judged("""
        async def main():
            asyncio.get_running_loop().call_later(3600, print)

        def test_leaks():
            asyncio.run(main())
    """)
    assert words == {"test_leaks": "FAILED"}
    assert re.search(r"timer for print, fires in \+3(600|599) s", text)


def test_a_timer_on_a_loop_that_is_closed_by_hand_ends_with_it(judged):
    words, text = judged("""
        def test_is_clean():
            loop = asyncio.new_event_loop()
            loop.call_later(3600, print)
            loop.close()
    """)
    assert words == {"test_is_clean": "PASSED"}
    assert QUIET not in text


# -- async generators

NUMBERS = """
KEPT = []

async def numbers():
    for n in range(10):
        yield n
"""


def test_an_async_generator_left_suspended_is_a_leak_on_every_loop(on_both_loops):
    words, text = on_both_loops(
        NUMBERS
        + """
async def test_leaks():
    generator = numbers()
    KEPT.append(generator)
    async for n in generator:
        break
"""
    )
    assert words == of_both_loops("test_leaks", "FAILED")
    assert "1 async generator outlived `test_leaks[asyncio]`: async generator numbers, left suspended" in text
    assert "async for n in generator:" in text
    assert "yield n" in text


def test_async_generators_that_end_are_closed_or_die_with_their_test_are_none(on_both_loops):
    words, text = on_both_loops(
        NUMBERS
        + """
from contextlib import aclosing

async def test_iterates_to_the_end():
    KEPT.append(numbers())
    assert [n async for n in KEPT[-1]] == list(range(10))

async def test_closes():
    async with aclosing(numbers()) as generator:
        KEPT.append(generator)
        await anext(generator)

async def test_breaks_off():
    async for n in numbers():
        break

async def test_keeps_it_in_a_local():
    generator = numbers()
    await anext(generator)

@pytest.fixture
async def generator():
    generator = numbers()
    yield generator
    await generator.aclose()

async def test_uses_a_fixture(generator):
    await anext(generator)

async def test_fails():
    generator = numbers()
    await anext(generator)
    assert not generator
"""
    )
    assert {word for name, word in words.items() if not name.startswith("test_fails")} == {"PASSED"}
    assert QUIET not in text


def test_an_async_generator_inside_asyncio_run_is_closed_by_it(judged):
    words, text = judged(
        NUMBERS
        + """
async def main():
    KEPT.append(numbers())
    await anext(KEPT[0])

def test_is_clean():
    asyncio.run(main())
""",
        prelude="import asyncio\nimport pytest\n",
    )
    assert words == {"test_is_clean": "PASSED"}
    assert QUIET not in text


# -- which kinds


KINDS = """
    KEPT = []

    async def test_future():
        KEPT.append(asyncio.get_running_loop().create_future())

    async def test_timer():
        asyncio.get_running_loop().call_later(3600, print)

    async def test_task():
        KEPT.append(asyncio.create_task(forever()))
"""


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        ("futures", {"test_future"}),
        ("timers,tasks", {"test_timer", "test_task"}),
        ("all", {"test_future", "test_timer", "test_task"}),
    ],
)
@pytest.mark.parametrize("where", ["line", "ini"])
@pytest.mark.taskleak("off", reason="runs that are told not to look leak on purpose, in this process")
def test_kinds_are_chosen_on_the_command_line_or_in_the_ini_file(judged, project, where, kinds, found):
    if where == "ini":
        project.ini(f"taskleak_kinds = {kinds.replace(',', ' ')}\n")
    words, _ = judged(KINDS, *([f"--taskleak-kinds={kinds}"] if where == "line" else []))
    assert {name for name, word in words.items() if word == "FAILED"} == found


@pytest.mark.parametrize("given", ["--taskleak-kinds=tasks,promises", "ini"])
def test_an_unknown_kind_is_an_error_that_says_what_is_valid(project, given):
    if given == "ini":
        project.ini("taskleak_kinds = tasks promises\n")
    project.write(source=KINDS)
    result = project.run(*([] if given == "ini" else [given]))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'promises' is not a kind; valid are tasks, futures, timers, *, or all"])


def test_a_future_that_only_a_leaked_timer_holds_is_no_cause_of_its_own(judged):
    words, text = judged("""
        class Scheduler:
            def __init__(self):
                loop = asyncio.get_running_loop()
                self.closed = loop.create_future()
                loop.call_later(3600, self.tick)

            def tick(self): ...

        async def test_leaks():
            Scheduler()
    """)
    assert words == {"test_leaks": "FAILED"}
    assert "1 cause, 1 leaked timer in 1 test" in text


def test_what_is_not_chosen_is_not_wrapped(project):
    project.write(
        source="""
        def test_it():
            for name in ("create_future", "call_later", "call_at"):
                assert not hasattr(getattr(asyncio.BaseEventLoop, name), "__wrapped__"), name
            assert hasattr(asyncio.BaseEventLoop.create_task, "__wrapped__")
    """
    )
    project.run_apart("--taskleak-kinds=tasks").assert_outcomes(passed=1)


def test_nothing_is_kept_alive_after_the_verdict(judged):
    words, _ = judged("""
        import gc, weakref

        KEPT = []
        REFS = []

        class Thing:
            def ring(self): ...

        async def test_leaks():
            loop, thing = asyncio.get_running_loop(), Thing()
            future = loop.create_future()
            future.thing = thing
            loop.call_later(3600, thing.ring)
            KEPT.append(future)
            REFS.append(weakref.ref(thing))

        def test_comes_after():
            KEPT.clear()
            gc.collect()
            assert REFS[0]() is None
    """)
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}


def test_a_leaking_fixture_and_test_are_told_apart(judged):
    words, text = judged("""
        KEPT = []

        @pytest.fixture
        async def started():
            asyncio.get_running_loop().call_later(3600, print)

        async def test_it(started):
            KEPT.append(asyncio.get_running_loop().create_future())
    """)
    assert words == {"test_it": "FAILED"}
    assert "1 timer outlived fixture `started`" in text
    assert "1 future outlived `test_it`" in text


# -- what is counted


COUNTED = """
    pytestmark = pytest.mark.asyncio(loop_scope="module")
    KEPT = []

    async def test_leaves_some():
        loop = asyncio.get_running_loop()
        KEPT.extend(loop.create_future() for _ in range(50))
        KEPT.append(asyncio.create_task(forever()))
        await asyncio.sleep(0)

    async def test_leaves_one_more():
        KEPT.append(asyncio.get_running_loop().create_future())
        KEPT[0].set_result(None)

    async def test_comes_last():  # and ends the module's loop with it
        pass
"""


def test_counts_around_a_leaking_test_are_shown_with_v(judged):
    _, text = judged(COUNTED, "-v")
    assert "around the test: tasks 0→1, futures 0→50" in text
    assert "around the test: tasks 1→1, futures 50→50" in text
    _, text = judged(COUNTED)
    assert "around the test" not in text


def test_counts_travel_in_the_data_of_each_report(project):
    project.write(source=COUNTED)
    project.write(
        "conftest.py",
        """
        def pytest_runtest_logreport(report):
            if report.when == "teardown":
                print(report.nodeid.split("::")[1], getattr(report, "taskleak", {}).get("counts"))
    """,
        prelude="",
    )
    result = project.run("-s")
    result.stdout.fnmatch_lines(
        [
            "*test_leaves_some {'tasks': [[]0, 1], 'futures': [[]0, 50], 'loops': [[]0, 1]}*",
            "*test_leaves_one_more {'tasks': [[]1, 1], 'futures': [[]50, 50], 'loops': [[]1, 1]}*",
        ]
    )
