"""What each scenario must give: whose leak it is, and that nobody else's outcome changes."""

from __future__ import annotations

import re
import subprocess
import sys
import threading

import pytest

ONE = "1 cause, 1 leaked task in 1 test"
QUIET = "outlived"
"""The word that every report of a leak has, and that a clean run never shows."""


# Nobody keeps most of the tasks below: the collector may find one before the detector does, which says then that it
# was destroyed while pending. What a task waits on is asserted where the test keeps it.


def flat(text):
    """The output as one line, whatever its width."""
    return " ".join(text.split())


# -- a task that outlives its test


def test_a_task_left_on_a_function_loop_fails_its_test(judged):
    words, text = judged("""
        async def test_leaks():
            asyncio.create_task(forever(), name="poller")

        async def test_is_clean():
            await asyncio.sleep(0)
    """)
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert ONE in text


def test_keeping_a_reference_to_a_task_does_not_excuse_it(judged):
    words, text = judged("""
        KEPT = []

        async def test_leaks():
            KEPT.append(asyncio.create_task(forever(), name="poller"))

        async def test_is_clean():
            await asyncio.sleep(0)
    """)
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_a_task_left_in_a_wider_loop_fails_the_first_test_only(judged, project, scope):
    project.write("__init__.py", prelude="")
    words, text = judged(f"""
        KEPT = []

        @pytest.mark.asyncio(loop_scope="{scope}")
        class TestIt:
            async def test_leaks(self):
                KEPT.append(asyncio.create_task(forever(), name="poller"))

            async def test_comes_after(self):
                assert KEPT[0] in asyncio.all_tasks()

            async def test_comes_last(self):
                await asyncio.sleep(0)
    """)
    assert words == {
        "TestIt::test_leaks": "FAILED",
        "TestIt::test_comes_after": "PASSED",
        "TestIt::test_comes_last": "PASSED",
    }
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert ONE in text


def test_a_task_that_a_test_keeps_on_its_class_is_not_adopted_by_the_runners_own_fixture(judged):
    words, text = judged("""
        @pytest.mark.asyncio(loop_scope="class")
        class TestIt:
            kept = []

            async def test_leaks(self):
                self.kept.append(asyncio.create_task(forever(), name="poller"))

            async def test_comes_after(self):
                assert self.kept[0] in asyncio.all_tasks()
    """)
    assert words == {"TestIt::test_leaks": "FAILED", "TestIt::test_comes_after": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert ONE in text


# -- a task that outlives its fixture


def test_a_task_started_in_the_setup_of_an_async_fixture_is_blamed_on_the_fixture(judged):
    words, text = judged("""
        @pytest_asyncio.fixture
        async def server():
            asyncio.create_task(forever(), name="acceptor")
            yield

        async def test_uses_it(server):
            pass

        async def test_does_without():
            pass
    """)
    assert words == {"test_uses_it": "FAILED", "test_does_without": "PASSED"}
    assert "1 task outlived fixture `server`: task 'acceptor', forever" in text
    assert ONE in text


def test_a_task_started_in_the_teardown_of_an_async_fixture_is_blamed_on_the_fixture(judged):
    words, text = judged("""
        @pytest_asyncio.fixture
        async def server():
            yield
            asyncio.create_task(forever(), name="goodbye")

        async def test_uses_it(server):
            pass

        async def test_does_without():
            pass
    """)
    assert words == {"test_uses_it": "FAILED", "test_does_without": "PASSED"}
    assert "1 task outlived fixture `server`: task 'goodbye', forever" in text
    assert ONE in text


def test_a_task_of_an_async_fixture_without_a_teardown_is_blamed_on_the_fixture(judged):
    words, text = judged("""
        @pytest_asyncio.fixture
        async def server():
            return asyncio.create_task(forever(), name="acceptor")

        async def test_uses_it(server):
            assert not server.done()
    """)
    assert words == {"test_uses_it": "FAILED"}
    assert "1 task outlived fixture `server`: task 'acceptor', forever" in text
    assert ONE in text


@pytest.mark.parametrize("awaited", ["await asyncio.wait([task])", "pass"], ids=["awaited", "not awaited"])
def test_an_async_fixture_may_cancel_its_task_in_its_teardown(judged, awaited):
    words, text = judged(f"""
        @pytest_asyncio.fixture
        async def server():
            task = asyncio.create_task(forever())
            yield task
            task.cancel()
            {awaited}

        async def test_uses_it(server):
            assert not server.done()
    """)
    assert words == {"test_uses_it": "PASSED"}
    assert QUIET not in text


def test_a_sync_fixture_may_cancel_its_task_in_its_teardown(judged):
    """It runs after the loop was closed, and closing the loop had cancelled the task already."""
    words, text = judged("""
        @pytest.fixture
        def server():
            tasks = []
            yield tasks
            for task in tasks:
                task.cancel()

        async def test_uses_it(server):
            server.append(asyncio.create_task(forever()))
    """)
    assert words == {"test_uses_it": "PASSED"}
    assert QUIET not in text


def test_a_sync_fixture_may_own_a_loop_and_cancel_its_task_there(judged):
    words, text = judged("""
        @pytest.fixture
        def server():
            loop = asyncio.new_event_loop()
            task = loop.create_task(forever())
            yield loop
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
            loop.close()

        def test_uses_it(server):
            server.run_until_complete(asyncio.sleep(0))
    """)
    assert words == {"test_uses_it": "PASSED"}
    assert QUIET not in text


BOT = """
        class Bot:
            task = None

            def start(self):
                self.task = asyncio.create_task(self.poll(), name="poll")

            async def poll(self):
                while True:
                    await asyncio.sleep(3600)

            def stop(self):
                self.task.cancel()

"""


def test_a_sync_fixture_may_stop_its_object_after_the_loop_was_closed(judged):
    words, text = judged(
        BOT
        + """
        @pytest.fixture
        def bot():
            bot = Bot()
            yield bot
            bot.stop()

        async def test_uses_it(bot):
            bot.start()
    """
    )
    assert words == {"test_uses_it": "PASSED"}
    assert QUIET not in text


@pytest.mark.parametrize("gives", ["yield", "return"])
def test_a_sync_fixture_that_only_gives_its_object_does_not_excuse_the_test(judged, gives):
    words, text = judged(
        BOT
        + f"""
        @pytest.fixture
        def bot():
            {gives} Bot()

        async def test_uses_it(bot):
            bot.start()

        async def test_does_not(bot):
            assert bot.task is None
    """
    )
    assert words == {"test_uses_it": "FAILED", "test_does_not": "PASSED"}
    # A busy machine may take half a second until it asks.
    assert re.search(r"1 task outlived `test_uses_it`: task 'poll', Bot\.poll, sleeps until \+3(600|599) s", text)
    assert ONE in text


def test_a_sync_fixture_that_stops_something_else_does_not_excuse_the_test(judged):
    words, text = judged(
        BOT
        + """
        @pytest.fixture
        def bot():
            bot = Bot()
            yield bot
            print("goodbye")

        async def test_uses_it(bot):
            bot.start()
    """
    )
    assert words == {"test_uses_it": "FAILED"}
    assert "1 task outlived `test_uses_it`: task 'poll', Bot.poll" in text
    assert ONE in text


def test_a_fixture_may_cancel_and_await_a_task_that_the_test_made(judged):
    words, text = judged("""
        @pytest_asyncio.fixture
        async def jobs():
            jobs = []
            yield jobs
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

        async def test_uses_it(jobs):
            jobs.append(asyncio.create_task(forever()))
    """)
    assert words == {"test_uses_it": "PASSED"}
    assert QUIET not in text


# -- wider fixtures


WIDE = """
        pytestmark = pytest.mark.asyncio(loop_scope="module")

"""


def test_a_module_fixture_may_own_a_task_for_its_life(judged):
    words, text = judged(
        WIDE
        + """
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def server():
            task = asyncio.create_task(forever())
            yield task
            task.cancel()
            await asyncio.wait([task])

        async def test_first(server):
            assert not server.done()

        async def test_second(server):
            assert not server.done()
    """
    )
    assert words == {"test_first": "PASSED", "test_second": "PASSED"}
    assert QUIET not in text


def test_a_task_that_outlives_its_module_fixture_is_blamed_on_the_fixture(judged):
    words, text = judged(
        WIDE
        + """
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def server():
            task = asyncio.create_task(forever(), name="acceptor")
            yield task

        async def test_first(server):
            assert not server.done()

        async def test_second(server):
            assert not server.done()
    """
    )
    assert words == {"test_first": "PASSED", "test_second": "PASSED+ERROR"}
    assert "1 task outlived fixture `server` (module scope): task 'acceptor', forever" in text
    assert ONE in text


POOL = """
        class Pool:
            reader = None

            def ask(self):
                if self.reader is None:
                    self.reader = asyncio.create_task(forever(), name="reader")

"""


def test_a_task_that_a_module_fixture_keeps_is_adopted(judged):
    words, text = judged(
        WIDE
        + POOL
        + """
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def pool():
            pool = Pool()
            yield pool
            pool.reader.cancel()
            await asyncio.wait([pool.reader])

        async def test_first(pool):
            pool.ask()

        async def test_second(pool):
            pool.ask()
            assert not pool.reader.done()
    """
    )
    assert words == {"test_first": "PASSED", "test_second": "PASSED"}
    assert QUIET not in text


def test_an_adopted_task_is_judged_when_its_fixture_ends(judged):
    words, text = judged(
        WIDE
        + POOL
        + """
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def pool():
            yield Pool()

        async def test_first(pool):
            pool.ask()

        async def test_second(pool):
            pool.ask()
    """
    )
    assert words == {"test_first": "PASSED", "test_second": "PASSED+ERROR"}
    assert "1 task outlived fixture `pool` (module scope): task 'reader', forever" in text
    assert ONE in text


def test_a_task_that_no_fixture_keeps_is_not_adopted(judged):
    words, text = judged(
        WIDE
        + POOL
        + """
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def pool():
            yield Pool()

        async def test_first(pool):
            asyncio.create_task(forever(), name="astray")

        async def test_second(pool):
            pass
    """
    )
    assert words == {"test_first": "FAILED", "test_second": "PASSED"}
    assert "1 task outlived `test_first`: task 'astray', forever" in text
    assert ONE in text


HUB = """
        class Hub:
            def __init__(self):
                self.tasks = []

            async def stop(self):
                for task in self.tasks:
                    task.cancel()
                await asyncio.gather(*self.tasks, return_exceptions=True)

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def hub():
            hub = Hub()
            yield hub
            await hub.stop()

"""


def test_a_helper_that_leaves_one_more_task_per_test_accumulates(judged):
    words, text = judged(
        WIDE
        + HUB
        + """
        def subscribe(hub):
            hub.tasks.append(asyncio.create_task(forever()))

        async def test_first(hub):
            subscribe(hub)

        async def test_second(hub):
            subscribe(hub)

        async def test_adds_nothing(hub):
            assert len(hub.tasks) == 2
    """
    )
    assert words == {"test_first": "PASSED", "test_second": "FAILED", "test_adds_nothing": "PASSED"}
    assert "1 task outlived `test_second`: task forever, accumulates" in text
    assert "2 tests each left one more with the fixture `hub`" in flat(text)
    assert ONE in text


def test_a_server_that_gathers_one_more_task_per_test_accumulates(judged):
    words, text = judged(
        WIDE
        + """
        class Server:
            def __init__(self):
                self.requests = asyncio.Queue()
                self.handlers = []
                self.task = asyncio.create_task(self.serve())

            async def serve(self):
                while True:
                    answer = await self.requests.get()
                    self.handlers.append(asyncio.create_task(forever()))
                    answer.set_result(None)

            async def ask(self):
                answer = asyncio.get_running_loop().create_future()
                await self.requests.put(answer)
                await answer

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def server():
            server = Server()
            yield server
            for task in (server.task, *server.handlers):
                task.cancel()
            await asyncio.wait([server.task, *server.handlers])

        async def test_first(server):
            await server.ask()

        async def test_second(server):
            await server.ask()

        async def test_third(server):
            await server.ask()

        async def test_asks_nothing(server):
            assert len(server.handlers) == 3
    """
    )
    assert words["test_third"] == "FAILED"
    assert words["test_first"] == words["test_asks_nothing"] == "PASSED"
    assert "outlived `test_third`: task forever, accumulates" in text
    assert "3 tests each left one more with the fixture `server`" in flat(text)


def test_a_task_that_is_replaced_in_its_fixture_does_not_accumulate(judged):
    words, text = judged(
        WIDE
        + HUB
        + """
        async def renew(hub):
            await hub.stop()
            hub.tasks[:] = [asyncio.create_task(forever())]

        @pytest.mark.parametrize("turn", range(4))
        async def test_it(hub, turn):
            await renew(hub)
    """
    )
    assert words == {f"test_it[{turn}]": "PASSED" for turn in range(4)}
    assert QUIET not in text


# -- how a task leaks


def test_a_task_that_swallows_cancellation_fails_the_test_that_cancelled_it_in_vain(judged):
    words, text = judged(
        WIDE
        + """
        MULES = []

        async def stubborn():
            while len(MULES) < 2:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    pass

        async def test_leaks():
            MULES.append(asyncio.create_task(stubborn(), name="mule"))
            await asyncio.sleep(0)
            MULES[0].cancel()
            await asyncio.sleep(0)

        async def test_comes_after():
            MULES.append(None)
            MULES[0].cancel()
            await asyncio.wait([MULES[0]])
    """
    )
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'mule', stubborn, cancelled but not finished" in text
    assert ONE in text


def test_a_sweep_that_a_task_holds_up_for_ever_says_why_before_it_hangs(project):
    """The run never ends by itself, so its words must be out while it hangs."""
    project.write(
        source="""
        async def stubborn():
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    pass

        MULES = []

        async def test_leaks():
            MULES.append(asyncio.create_task(stubborn(), name="mule"))
            await asyncio.sleep(0)
    """
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:randomly"],
        cwd=project.pytester.path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    give_up = threading.Timer(60, process.kill)
    give_up.start()
    try:
        said = []
        for line in process.stderr:
            said.append(line.rstrip())
            if line.startswith("fix: "):
                break
    finally:
        give_up.cancel()
        process.kill()
        process.communicate()
    assert "taskleak: closing the loop of test_it.py::test_leaks waits for this, perhaps for ever" in said
    assert "1 task outlived `test_leaks`" in flat("\n".join(said))
    assert "task 'mule', stubborn: swallows cancellation, waits on `Event.wait`" in flat("\n".join(said))
    assert said[-1].startswith("fix: Let `CancelledError` through")


def test_a_task_that_swallows_cancellation_for_a_while_fails_its_test(judged):
    words, text = judged(
        """
        async def stubborn():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(2.5)

        MULES = []

        async def test_leaks():
            MULES.append(asyncio.create_task(stubborn(), name="mule"))
            await asyncio.sleep(0)

        async def test_comes_after():
            pass
    """,
        apart=True,
    )
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'mule', stubborn, swallows cancellation" in text
    assert ONE in text


def test_a_task_collected_while_pending_in_the_test_is_blamed_on_it(judged):
    words, text = judged(
        """
        import gc

        async def test_leaks():
            asyncio.create_task(forever(), name="lost")
            await asyncio.sleep(0)
            gc.collect()
            assert len(asyncio.all_tasks()) == 1

        async def test_comes_after():
            gc.collect()
    """,
        apart=True,
    )
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'lost', forever, destroyed while pending" in text
    assert ONE in text


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_what_asyncio_makes_for_a_collected_generator_is_no_leak_when_its_loop_is_closed_by_hand(project, turns):
    """It is destroyed with its loop, or not even made: asyncio complains of its own task, as without the plugin."""
    project.write(
        source=f"""
        async def numbers():
            while True:
                yield 1

        async def take_one():
            async for number in numbers():
                break
            for _ in range({turns}):
                await asyncio.sleep(0)

        def test_takes_one():
            loop = asyncio.new_event_loop()
            try:
                loop.run_until_complete(take_one())
            finally:
                loop.close()
    """
    )
    project.run_apart().assert_outcomes(passed=1)
    assert "taskleak" not in project.run_apart("-q").stdout.str()


def test_a_task_collected_while_a_later_test_runs_is_blamed_on_the_one_that_made_it(judged):
    words, text = judged(
        WIDE
        + """
        import gc

        async def test_leaks():
            asyncio.create_task(forever(), name="lost")
            await asyncio.sleep(0)

        async def test_collects():
            gc.collect()
            assert len(asyncio.all_tasks()) == 1
    """,
        apart=True,
    )
    assert words == {"test_leaks": "FAILED", "test_collects": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'lost', forever" in text
    assert ONE in text


def test_asyncio_run_that_ends_with_tasks_left_fails_its_sync_test(judged):
    words, text = judged("""
        async def main():
            asyncio.create_task(forever(), name="poller")
            await asyncio.sleep(0)

        def test_leaks():
            asyncio.run(main())

        def test_is_clean():
            asyncio.run(asyncio.sleep(0))
    """)
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert ONE in text


def test_a_hand_made_loop_closed_over_a_task_fails_its_test(judged):
    words, text = judged("""
        def run(*, clean):
            loop = asyncio.new_event_loop()
            task = loop.create_task(forever(), name="poller")
            loop.run_until_complete(asyncio.sleep(0))
            if clean:
                task.cancel()
                loop.run_until_complete(asyncio.wait([task]))
            loop.close()

        def test_leaks():
            run(clean=False)

        def test_is_clean():
            run(clean=True)
    """)
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert ONE in text


def test_a_task_on_a_hand_made_loop_left_open_fails_its_test(judged):
    words, text = judged("""
        LOOPS = []

        def test_leaks():
            loop = asyncio.new_event_loop()
            LOOPS.append(loop)
            loop.create_task(forever(), name="poller")
            loop.run_until_complete(asyncio.sleep(0))

        def test_comes_after():
            LOOPS[0].run_until_complete(asyncio.sleep(0))

        def test_closes_it():
            LOOPS[0].close()
    """)
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED", "test_closes_it": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert ONE in text


def test_a_loop_that_ends_in_a_thread_with_tasks_left_fails_the_test_that_started_the_thread(judged):
    words, text = judged("""
        import threading

        async def main():
            asyncio.create_task(forever(), name="poller")
            await asyncio.sleep(0)

        def test_leaks():
            thread = threading.Thread(target=asyncio.run, args=(main(),))
            thread.start()
            thread.join()

        def test_is_clean():
            thread = threading.Thread(target=asyncio.run, args=(asyncio.sleep(0),))
            thread.start()
            thread.join()
    """)
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert ONE in text


THREAD = """
        import threading

        def start_loop():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="background", daemon=True)
            thread.start()
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(10)
            return loop, thread

        def stop_loop(loop, thread):
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

"""


def test_a_loop_that_runs_on_in_a_thread_fails_the_test_that_started_it(judged):
    words, text = judged(
        THREAD
        + """
        def test_leaks():
            start_loop()

        def test_is_clean():
            stop_loop(*start_loop())
    """,
        apart=True,
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "outlived `test_leaks`: an event loop in thread 'background', runs on in its thread" in text


def test_a_loop_that_still_runs_at_the_end_of_the_session_is_blamed_on_its_session_fixture(judged):
    words, text = judged(
        THREAD
        + """
        @pytest.fixture(scope="session")
        def background():
            return start_loop()

        def test_first(background):
            pass

        def test_second(background):
            pass
    """,
        apart=True,
    )
    assert words == {"test_first": "PASSED", "test_second": "PASSED+ERROR"}
    assert "outlived fixture `background` (session scope): an event loop in thread 'background'" in text


def test_a_session_fixture_may_run_a_loop_in_a_thread(judged):
    words, text = judged(
        THREAD
        + """
        @pytest.fixture(scope="session")
        def background():
            loop, thread = start_loop()
            yield loop
            stop_loop(loop, thread)

        def test_first(background):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), background).result(10)

        def test_second(background):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), background).result(10)
    """
    )
    assert words == {"test_first": "PASSED", "test_second": "PASSED"}
    assert QUIET not in text


def test_a_task_left_in_a_fixtures_thread_is_blamed_on_the_test_that_sent_it_there(judged):
    words, text = judged(
        THREAD
        + """
        @pytest.fixture(scope="session")
        def background():
            loop, thread = start_loop()
            yield loop
            stop_loop(loop, thread)

        def test_leaks(background):
            async def start():
                asyncio.create_task(forever(), name="poller")

            asyncio.run_coroutine_threadsafe(start(), background).result(10)

        def test_comes_after(background):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), background).result(10)
    """
    )
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert ONE in text


# -- the usual causes


def test_consumers_that_wait_on_a_queue_for_ever_are_leaks(judged):
    words, text = judged("""
        async def consume(queue):
            while True:
                await queue.get()

        KEPT = []

        async def test_leaks():
            queue = asyncio.Queue()
            KEPT.extend(asyncio.create_task(consume(queue)) for _ in range(3))
            await asyncio.sleep(0)

        async def test_is_clean():
            queue = asyncio.Queue()
            consumer = asyncio.create_task(consume(queue))
            await asyncio.sleep(0)
            consumer.cancel()
            await asyncio.wait([consumer])
    """)
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "3 tasks outlived `test_leaks`: task consume, waits on `Queue.get`" in text
    assert "the queue is empty" in text
    assert "1 cause, 3 leaked tasks in 1 test" in text


def test_what_a_gather_leaves_behind_when_one_of_it_fails_is_a_leak(judged):
    words, text = judged("""
        async def fails():
            raise ValueError("one of them")

        async def polls():  # a timer holds it: asyncio says no word of a gather's task that is collected
            await asyncio.sleep(3600)

        async def test_leaks():
            with pytest.raises(ValueError):
                await asyncio.gather(fails(), polls())

        async def test_is_clean():
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(fails())
                    group.create_task(forever())
    """)
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task polls" in text
    assert ONE in text


def test_a_gather_that_nobody_awaits_is_one_cause(judged):
    words, text = judged("""
        async def all_of_them():
            await asyncio.gather(forever(), forever())

        KEPT = []

        async def test_leaks():
            KEPT.append(asyncio.create_task(all_of_them(), name="root"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    """)
    assert words == {"test_leaks": "FAILED"}
    assert "1 task outlived `test_leaks`: task 'root', all_of_them, waits on `gather`" in text
    assert text.count("   with it: forever, waits on `Event.wait`") == 2
    assert ONE in text


def test_the_inner_task_of_a_shield_outlives_the_timeout_around_it(judged):
    words, text = judged("""
        async def test_leaks():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(forever()), 0.001)

        async def test_is_clean():
            inner = asyncio.create_task(forever())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(inner), 0.001)
            inner.cancel()
            await asyncio.wait([inner])
    """)
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task forever" in text
    assert ONE in text


def test_an_exception_that_nobody_retrieves_is_blamed_on_the_test_that_made_the_task(judged):
    words, text = judged("""
        async def fails():
            raise ValueError("lost")

        async def test_loses_it():
            asyncio.create_task(fails(), name="job")
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        async def test_retrieves_it():
            task = asyncio.create_task(fails())
            await asyncio.wait([task])
            assert str(task.exception()) == "lost"
    """)
    assert words == {"test_loses_it": "FAILED", "test_retrieves_it": "PASSED"}
    assert "outlived `test_loses_it`: task 'job', fails, its exception was never retrieved" in text
    assert "ValueError: lost" in text


def test_an_exception_that_comes_within_the_grace_fails_its_test(judged):
    words, text = judged("""
        async def fails():
            await asyncio.sleep(0.01)
            raise ValueError("lost")

        async def test_loses_it():
            asyncio.create_task(fails(), name="job")

        async def test_comes_later():
            pass
    """)
    assert words == {"test_loses_it": "FAILED", "test_comes_later": "PASSED"}
    assert "outlived `test_loses_it`: task 'job', fails, its exception was never retrieved" in text
    assert "ValueError: lost" in text
    assert "Task exception was never retrieved" not in text.split("taskleak ===")[-1]


def test_an_exception_that_a_fixture_still_retrieves_is_no_leak(judged):
    words, text = judged("""
        class Bot:
            async def fails(self):
                await asyncio.sleep(0.01)
                raise ValueError("awaited")

            def start(self):
                self.task = asyncio.create_task(self.fails())

        @pytest.fixture
        def bot():
            bot = Bot()
            yield bot
            assert str(bot.task.exception()) == "awaited"

        async def test_starts_it(bot):
            bot.start()
    """)
    assert words == {"test_starts_it": "PASSED"}
    assert QUIET not in text


def test_an_exception_lost_in_a_fixture_is_blamed_on_the_fixture(judged):
    words, text = judged("""
        async def fails():
            raise ValueError("lost")

        @pytest_asyncio.fixture
        async def server():
            asyncio.create_task(fails(), name="job")
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        async def test_uses_it(server):
            pass

        async def test_does_without():
            pass
    """)
    assert words == {"test_uses_it": "FAILED", "test_does_without": "PASSED"}
    assert "outlived fixture `server`: task 'job', fails, its exception was never retrieved" in text


# -- grace


@pytest.mark.parametrize("milliseconds", [5, 15, 30])
@pytest.mark.parametrize("scope", ["function", "module"])
def test_a_task_that_ends_within_the_grace_is_no_leak(judged, scope, milliseconds):
    source = f"""
        @pytest.mark.asyncio(loop_scope="{scope}")
        async def test_it():
            asyncio.create_task(asyncio.sleep({milliseconds / 1000}), name="brief")
    """
    words, text = judged(source)
    assert words == {"test_it": "PASSED"}
    assert QUIET not in text


@pytest.mark.parametrize("scope", ["function", "module"])
def test_the_grace_is_what_was_asked_for(judged, scope):
    source = f"""
        @pytest.mark.asyncio(loop_scope="{scope}")
        async def test_it():
            asyncio.create_task(asyncio.sleep(0.5), name="brief")
    """
    words, text = judged(source, "--taskleak-grace=60")
    assert words == {"test_it": "PASSED"}
    assert QUIET not in text
    words, text = judged(source, "--taskleak-grace=0")
    assert words == {"test_it": "FAILED"}
    assert "1 task outlived `test_it`: task 'brief', sleep" in text


CLEANS_UP = """
        async def cleans_up():
            try:
                await forever()
            finally:
                await asyncio.sleep(0)
                await asyncio.sleep(0)

"""
"""A cancelled task that ends in one turn is over before anybody can look: the loop's last turn takes it along."""


@pytest.mark.parametrize("coroutine", ["forever", "cleans_up"])
@pytest.mark.parametrize("scope", ["function", "module"])
def test_a_task_cancelled_as_the_last_statement_is_no_leak(judged, scope, coroutine):
    words, text = judged(
        CLEANS_UP
        + f"""
        @pytest.mark.asyncio(loop_scope="{scope}")
        async def test_it():
            task = asyncio.create_task({coroutine}())
            await asyncio.sleep(0)
            task.cancel()
    """
    )
    assert words == {"test_it": "PASSED"}
    assert QUIET not in text


@pytest.mark.parametrize("scope", ["function", "module"])
def test_a_task_cancelled_as_the_last_statement_is_reported_in_strict_mode(judged, scope):
    words, text = judged(
        CLEANS_UP
        + f"""
        @pytest.mark.asyncio(loop_scope="{scope}")
        async def test_leaks():
            task = asyncio.create_task(cleans_up(), name="poller")
            await asyncio.sleep(0)
            task.cancel()

        @pytest.mark.asyncio(loop_scope="{scope}")
        async def test_awaits_it():
            task = asyncio.create_task(cleans_up())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
    """,
        "--taskleak-strict",
    )
    assert words == {"test_leaks": "FAILED", "test_awaits_it": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', cleans_up, cancelled, not awaited" in text
    assert ONE in text


# -- a test's own outcome


def test_a_failing_test_keeps_its_failure_and_shows_the_leak_below_it(judged):
    words, text = judged("""
        KEPT = []

        async def test_fails():
            KEPT.append(asyncio.create_task(forever(), name="poller"))
            assert 1 == 2

        async def test_is_clean():
            pass
    """)
    assert words == {"test_fails": "FAILED", "test_is_clean": "PASSED"}
    assert "E       assert 1 == 2" in text
    assert "task 'poller', forever: waits on `Event.wait`" in flat(text)
    assert "1 failed, 1 passed" in text
    assert ONE in text


def test_a_test_that_skips_itself_stays_skipped_and_its_leak_fails_the_run(project):
    project.write(
        source="""
        async def test_skips():
            asyncio.create_task(forever(), name="poller")
            pytest.skip("not here")

        async def test_is_clean():
            pass
    """
    )
    result = project.run("-rA")
    result.assert_outcomes(skipped=1, errors=1, passed=1)
    result.stdout.fnmatch_lines(["*1 task outlived `test_skips`: task 'poller', forever*", f"*{ONE}*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_an_expected_failure_stays_expected_and_its_leak_fails_the_run(project):
    project.write(
        source="""
        @pytest.mark.xfail(reason="known")
        async def test_xfails():
            asyncio.create_task(forever(), name="poller")
            assert False

        async def test_is_clean():
            pass
    """
    )
    result = project.run("-rA")
    result.assert_outcomes(xfailed=1, errors=1, passed=1)
    result.stdout.fnmatch_lines(["*1 task outlived `test_xfails`: task 'poller', forever*", f"*{ONE}*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_an_unexpected_pass_stays_one_and_its_leak_fails_the_run(project):
    project.write(
        source="""
        @pytest.mark.xfail(reason="known", strict=False)
        async def test_xpasses():
            asyncio.create_task(forever(), name="poller")

        async def test_is_clean():
            pass
    """
    )
    result = project.run("-rA")
    result.assert_outcomes(xpassed=1, errors=1, passed=1)
    result.stdout.fnmatch_lines(["*1 task outlived `test_xpasses`: task 'poller', forever*", f"*{ONE}*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_test_whose_setup_fails_shows_what_the_setup_left(project):
    project.write(
        source="""
        @pytest_asyncio.fixture
        async def server():
            asyncio.create_task(forever(), name="acceptor")
            raise RuntimeError("no port")

        async def test_uses_it(server):
            pass

        async def test_is_clean():
            pass
    """
    )
    result = project.run("-rA")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*RuntimeError: no port", "task 'acceptor', forever: *", f"*{ONE}*"])
    result.stdout.fnmatch_lines(["*outlived fixture `server`*"])


# -- used properly


def test_a_task_group_used_properly_is_clean(judged):
    words, text = judged("""
        async def test_it():
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(asyncio.sleep(0))
    """)
    assert words == {"test_it": "PASSED"}
    assert QUIET not in text


def test_an_executor_used_properly_is_clean(judged):
    words, text = judged("""
        from concurrent.futures import ThreadPoolExecutor

        async def test_it():
            with ThreadPoolExecutor(2) as executor:
                assert await asyncio.get_running_loop().run_in_executor(executor, int, "5") == 5
    """)
    assert words == {"test_it": "PASSED"}
    assert QUIET not in text


@pytest.mark.parametrize("scope", ["function", "session"])
def test_an_idle_thread_of_the_default_executor_is_clean(judged, scope):
    words, text = judged(f"""
        import threading

        @pytest.mark.asyncio(loop_scope="{scope}")
        async def test_it():
            before = threading.active_count()
            assert await asyncio.to_thread(int, "5") == 5
            assert threading.active_count() > before
    """)
    assert words == {"test_it": "PASSED"}
    assert QUIET not in text


def test_a_server_and_its_client_closed_properly_are_clean(judged):
    words, text = judged("""
        async def echo(reader, writer):
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async def test_it():
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            async with server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"hello\\n")
                assert await reader.readline() == b"hello\\n"
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()
    """)
    assert words == {"test_it": "PASSED"}
    assert QUIET not in text


def test_a_subprocess_awaited_to_its_end_is_clean(judged):
    words, text = judged("""
        import sys

        async def test_it():
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
            assert await process.wait() == 0
    """)
    assert words == {"test_it": "PASSED"}
    assert QUIET not in text


def test_a_leak_under_a_clock_that_stands_still_is_reported(judged):
    """Settling waited by the loop's own clock, and for ever."""
    words, output = judged(
        """
        async def test_leaks():
            loop = asyncio.get_running_loop()
            now = loop.time()
            loop.time = lambda: now
            asyncio.create_task(forever(), name="left")
            await asyncio.sleep(0)
        """,
        apart=True,
    )
    assert words == {"test_leaks": "FAILED"}
    assert "task 'left'" in output
