"""Threads, executors and event loops that outlive the test or fixture that started or made them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading

import pytest
import uvloop

QUIET = "outlived"
"""The word that every report of a leak has, and that a clean run never shows."""

THREADS = """\
import asyncio
import gc
import threading
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

END = threading.Event()
KEPT = []


def work():
    END.wait(60)


def start(name="worker", target=work):
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def stop(thread):
    END.set()
    thread.join()
    END.clear()


def end_all():
    END.set()
    for it in KEPT:
        if isinstance(it, (ThreadPoolExecutor, ProcessPoolExecutor)):
            it.shutdown()
        elif isinstance(it, asyncio.AbstractEventLoop):
            it.close()


"""


ENDS = """\
import sys


def pytest_unconfigure():
    sys.modules["test_it"].end_all()


"""


@pytest.fixture
def threads(judged, project):
    """The words and the output of a test file; what it leaves ends when its run is over."""
    before = set(threading.enumerate())
    project.write("conftest.py", prelude=ENDS)

    def threads(source, *args, apart=False):
        return judged(source, *args, apart=apart, prelude=THREADS)

    yield threads
    for thread in set(threading.enumerate()) - before:
        if "run_server" in thread.name:
            continue  # pytest-rerunfailures' own, which it never ends
        thread.join(30)
        assert not thread.is_alive(), thread


def has_no_leak(words, text):
    return set(words.values()) == {"PASSED"} and QUIET not in text


# -- a thread


def test_a_thread_that_still_runs_fails_its_test(threads):
    words, text = threads("""
        def test_leaks():
            start()

        def test_comes_after():
            pass
    """)
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 thread outlived `test_leaks`: thread 'worker', work, still running" in text
    assert "1 cause, 1 leaked thread in 1 test" in text


def test_where_a_thread_stands_and_what_mends_it_is_told(threads):
    _, text = threads("""
        def test_leaks():
            start()
    """)
    assert "thread 'worker', work: still running (in `Event.wait`)\ntest_it.py:14: in work\n    END.wait(60)\n" in text
    assert "`join()` it" in text
    assert "created at\ntest_it.py:19: in start\n    thread.start()\n" in text


@pytest.mark.parametrize("daemon", [False, True])
@pytest.mark.parametrize("kind", ["", "async "])
def test_every_kind_of_test_and_of_thread_counts(threads, kind, daemon):
    words, text = threads(f"""
        {kind}def test_leaks():
            threading.Thread(target=work, daemon={daemon}).start()

        {kind}def test_joins():
            stop(start())
    """)
    assert words == {"test_leaks": "FAILED", "test_joins": "PASSED"}
    assert "1 thread outlived `test_leaks`: thread work, still running" in text


def test_a_class_of_threads_is_named_by_its_run_and_nothing_of_it_is_called(threads):
    words, text = threads("""
        class Poller(threading.Thread):
            def run(self):
                work()

            def join(self, timeout=None):
                END.set()
                super().join(timeout)

            def is_alive(self):
                return False

        def test_leaks():
            Poller(name="poller", daemon=True).start()

        def test_joins():
            thread = Poller()
            thread.start()
            thread.join()
    """)
    assert words == {"test_leaks": "FAILED", "test_joins": "PASSED"}
    assert "1 thread outlived `test_leaks`: thread 'poller', Poller.run, still running" in text


def test_a_thread_that_a_thread_started_is_its_tests(threads):
    words, text = threads("""
        def outer():
            start("inner")

        def test_leaks():
            start("outer", outer).join()

        def test_comes_after():
            pass
    """)
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 thread outlived `test_leaks`: thread 'inner', work, still running" in text


def test_a_thread_that_ends_within_the_grace_is_no_leak(threads):
    words, text = threads(
        """
        def test_ends_soon():
            thread = start()
            threading.Timer(0.02, END.set).start()
    """,
        "--taskleak-grace=30",
    )
    assert has_no_leak(words, text)


def test_a_timer_in_a_thread_fails_its_test_unless_it_is_cancelled(threads):
    words, text = threads("""
        def ring():
            pass

        def test_leaks():
            timer = threading.Timer(3600, ring)
            KEPT.append(timer)
            timer.daemon = True
            timer.start()

        def test_cancels():
            timer = threading.Timer(3600, ring)
            timer.start()
            timer.cancel()

        def test_ends_the_other():
            KEPT[0].cancel()
    """)
    assert words == {"test_leaks": "FAILED", "test_cancels": "PASSED", "test_ends_the_other": "PASSED"}
    assert "1 thread outlived `test_leaks`: thread ring, waits to be called, 3600 s after its start" in text
    assert "`cancel()` on the timer" in text


def test_a_library_s_thread_is_its_own_affair(threads, project):
    """It may be one for the life of the process; strict mode reports it."""
    library = "import threading\n\ndef serve(target):\n    threading.Thread(target=target, name='lib').start()\n"
    project.write("site-packages/library.py", prelude=library)
    source = """
        import sys
        sys.path.insert(0, "site-packages")
        import library

        def test_uses_it():
            library.serve(work)
    """
    words, text = threads(source)
    assert has_no_leak(words, text)
    words, text = threads(source, "--taskleak-strict")
    assert words == {"test_uses_it": "FAILED"}
    assert "thread 'lib', work, still running" in text


def test_a_library_s_thread_is_its_own_affair_though_the_project_wraps_starting(threads, project):
    library = "import threading\n\ndef serve(end):\n    threading.Thread(target=run, args=(end,)).start()\n"
    project.write("site-packages/library.py", prelude=library + "\n\ndef run(end):\n    end.wait(60)\n")
    words, text = threads("""
        import sys
        sys.path.insert(0, "site-packages")
        import library

        @pytest.fixture(autouse=True)
        def wraps(monkeypatch):
            start = threading.Thread.start
            monkeypatch.setattr(threading.Thread, "start", lambda thread: start(thread))

        def test_uses_it():
            library.serve(END)

        def test_leaks():
            threading.Thread(target=work).start()
    """)
    assert words == {"test_uses_it": "PASSED", "test_leaks": "FAILED"}
    assert "1 leaked thread in 1 test" in text


def test_a_thread_that_a_fixture_leaves_is_blamed_on_the_fixture(threads):
    words, text = threads("""
        @pytest.fixture
        def poller():
            return start()

        @pytest.fixture
        def tidy():
            thread = start()
            yield thread
            stop(thread)

        def test_uses_it(poller):
            pass

        def test_uses_a_tidy_one(tidy):
            pass
    """)
    assert words == {"test_uses_it": "FAILED", "test_uses_a_tidy_one": "PASSED"}
    assert "1 thread outlived fixture `poller`: thread 'worker', work, still running" in text
    assert "1 leaked thread in 1 test" in text


def test_a_thread_of_a_module_fixture_is_judged_when_that_has_ended(threads, project):
    project.write("test_other.py", "def test_of_another_module(): pass", prelude="")
    words, text = threads("""
        @pytest.fixture(scope="module")
        def poller():
            return start()

        def test_first(poller):
            pass

        def test_second(poller):
            pass
    """)
    assert words == {"test_first": "PASSED", "test_second": "PASSED+ERROR", "test_of_another_module": "PASSED"}
    assert "1 thread outlived fixture `poller` (module scope): thread 'worker', work, still running" in text


POOLED = """
        class Pool:
            thread = None

            def use(self):
                self.thread = self.thread or start()

        @pytest.fixture(scope="module")
        def pool():
            pool = Pool()
            yield pool
            {end}

        def test_starts_it(pool):
            pool.use()

        def test_uses_it(pool):
            pool.use()
"""


def test_a_thread_that_a_module_fixture_keeps_is_the_fixtures(threads):
    words, text = threads(POOLED.format(end="stop(pool.thread)"))
    assert has_no_leak(words, text)


def test_a_thread_that_a_module_fixture_keeps_is_judged_when_that_ends(threads):
    words, text = threads(POOLED.format(end="pass"))
    assert words == {"test_starts_it": "PASSED", "test_uses_it": "PASSED+ERROR"}
    assert "1 thread outlived fixture `pool` (module scope): thread 'worker', work, still running" in text


LOOP_IN_A_THREAD = """
        def run(tasks):
            loop = asyncio.new_event_loop()
            running = threading.Event()
            loop.call_soon(running.set)
            thread = threading.Thread(target=loop.run_forever, name="background", daemon=True)
            thread.start()
            assert running.wait(10)
            if tasks:
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(10)
            KEPT.append((loop, thread))
            return loop, thread

        def test_leaks():
            run({tasks})

        def test_stops_it():
            loop, thread = run({tasks})
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

        def test_stops_the_other():
            loop, thread = KEPT[0]
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
"""


@pytest.mark.parametrize("tasks", [False, True])
def test_a_thread_whose_loop_still_runs_is_told_as_a_running_loop_and_once(threads, tasks):
    words, text = threads(LOOP_IN_A_THREAD.format(tasks=tasks))
    assert words == {"test_leaks": "FAILED", "test_stops_it": "PASSED", "test_stops_the_other": "PASSED"}
    assert "outlived `test_leaks`: an event loop in thread 'background', runs on in its thread" in text
    assert "1 cause, 1 leaked running loop in 1 test" in text


def test_a_thread_that_runs_a_leaked_task_is_not_told_beside_it(threads):
    words, text = threads("""
        import contextlib

        async def forever():
            KEPT.append((asyncio.get_running_loop(), asyncio.current_task()))
            END.set()
            await asyncio.Event().wait()

        def run():
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(forever())

        def test_leaks():
            start("background", run)
            assert END.wait(10)

        def test_ends_it():
            loop, task = KEPT[0]
            loop.call_soon_threadsafe(task.cancel)
            for thread in threading.enumerate():
                if thread.name == "background":
                    thread.join()
    """)
    assert words == {"test_leaks": "FAILED", "test_ends_it": "PASSED"}
    assert "1 cause, 1 leaked task in 1 test" in text


def test_two_threads_of_one_line_are_one_cause(threads):
    words, text = threads("""
        def test_leaks():
            for _ in range(2):
                start()
    """)
    assert words == {"test_leaks": "FAILED"}
    assert "1 cause, 2 leaked threads in 1 test" in text


def test_an_interrupted_test_is_not_judged(threads, project):
    words, text = threads("""
        def test_cut():
            start()
            pytest.exit("enough")
    """)
    assert QUIET not in text
    assert not words


# -- an executor


def test_an_executor_that_is_never_shut_down_fails_its_test(threads):
    words, text = threads("""
        def test_leaks():
            pool = ThreadPoolExecutor(2)
            KEPT.append(pool)
            assert pool.submit(int, "5").result() == 5

        def test_comes_after():
            assert KEPT[0].submit(int, "6").result() == 6

        def test_shuts_it_down():
            KEPT.pop().shutdown()
    """)
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED", "test_shuts_it_down": "PASSED"}
    assert "1 executor outlived `test_leaks`: executor ThreadPoolExecutor, never shut down" in text
    assert "(1 idle thread)" in text
    assert "`with ThreadPoolExecutor() as pool:`" in text
    assert "created at\ntest_it.py:40: in test_leaks\n    pool = ThreadPoolExecutor(2)\n" in text
    assert "1 cause, 1 leaked executor in 1 test" in text


def test_an_executor_that_is_busy_names_the_function_and_where_it_stands(threads):
    words, text = threads("""
        def job():
            work()

        def test_leaks():
            pool = ThreadPoolExecutor(2, thread_name_prefix="io")
            KEPT.append(pool)
            pool.submit(job)
    """)
    assert words == {"test_leaks": "FAILED"}
    assert "1 executor outlived `test_leaks`: executor 'io', ThreadPoolExecutor, never shut down, busy in `job`" in text
    assert "test_it.py:14: in work\n    END.wait(60)\n" in text


@pytest.mark.parametrize("end", ["pool.shutdown(wait=False)", "del pool"])
def test_a_function_that_runs_on_in_an_executor_that_is_shut_down_or_gone_is_named(threads, end):
    words, text = threads(f"""
        def job():
            work()

        def test_leaks():
            pool = ThreadPoolExecutor(2)
            pool.submit(job)
            {end}

        def test_comes_after():
            pass
    """)
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 executor outlived `test_leaks`: executor ThreadPoolExecutor, still busy in `job`" in text
    assert "1 leaked executor in 1 test" in text


@pytest.mark.parametrize(
    "used",
    [
        pytest.param("with ThreadPoolExecutor() as pool: pool.submit(int)", id="as a context"),
        pytest.param("pool = ThreadPoolExecutor(); pool.submit(int); pool.shutdown()", id="shut down"),
        pytest.param("pool = ThreadPoolExecutor(); pool.submit(int); pool.shutdown(wait=False)", id="without waiting"),
        pytest.param("KEPT.append(ThreadPoolExecutor())", id="without any work"),
        pytest.param("ThreadPoolExecutor().submit(int).result()", id="dropped"),
        pytest.param("pool = ThreadPoolExecutor(); pool.me = pool; pool.submit(int)", id="dropped in a cycle"),
    ],
)
def test_an_executor_whose_threads_end_is_no_leak(threads, used):
    words, text = threads(f"""
        class TestIt:
            def test_uses_one(self):
                {used}

            def test_comes_after(self):
                pass
    """)
    assert has_no_leak(words, text)


def test_an_executor_that_pytest_keeps_with_the_tests_instance_is_told_once_the_test_may_have_let_go(threads):
    words, text = threads("""
        class TestIt:
            def setup_method(self):
                self.pool = ThreadPoolExecutor()
                KEPT.append(self.pool)

            def test_leaks(self):
                self.pool.submit(int)

            def test_shuts_it_down(self):
                self.pool.submit(int)
                self.pool.shutdown()
    """)
    assert words == {"TestIt::test_leaks": "PASSED+ERROR", "TestIt::test_shuts_it_down": "PASSED"}
    assert "1 executor outlived setup_method/teardown_method of TestIt" in text
    assert "1 leaked executor in 1 test" in text


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("scope", ["function", "module"])
@pytest.mark.parametrize(
    "used",
    [
        "await asyncio.to_thread(int)",
        "await asyncio.get_running_loop().run_in_executor(None, int)",
        "asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor()); await asyncio.to_thread(int)",
    ],
)
def test_a_loop_s_default_executor_is_the_loop_s(threads, project, loop, scope, used):
    if loop == "uvloop":
        project.write("conftest.py", prelude=ENDS + UVLOOP_EVERYWHERE)
    words, text = threads(
        f"""
        @pytest.mark.asyncio(loop_scope="{scope}")
        async def test_uses_it():
            {used}

        @pytest.mark.asyncio(loop_scope="{scope}")
        async def test_comes_after():
            assert type(asyncio.get_running_loop()).__module__.startswith("{loop}")
    """,
        "-W",
        "ignore::DeprecationWarning",
    )
    assert has_no_leak(words, text)


UVLOOP_EVERYWHERE = """\
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import uvloop


@pytest.fixture(scope="session")
def event_loop_policy():
    return uvloop.EventLoopPolicy()
"""


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param("global POOL\n    POOL = POOL or ThreadPoolExecutor()\n    return POOL", id="global"),
        pytest.param("Keeps.pool = Keeps.pool or ThreadPoolExecutor()\n    return Keeps.pool", id="class"),
        pytest.param("ONE.pool = ONE.pool or ThreadPoolExecutor()\n    return ONE.pool", id="object"),
        pytest.param("return cached()", id="cache"),
    ],
)
def test_an_executor_that_a_module_keeps_for_the_process_is_told_in_strict_mode_only(threads, project, kept):
    project.write(
        "app.py",
        prelude=f"""\
import functools
from concurrent.futures import ThreadPoolExecutor

POOL = None


class Keeps:
    pool = None


ONE = Keeps()


@functools.cache
def cached():
    return ThreadPoolExecutor()


def pool():
    {kept}
""",
    )
    source = """
        import app

        def test_makes_it():
            app.pool().submit(int).result()

        def test_uses_it():
            app.pool().submit(int).result()

        def test_ends_it():
            app.pool().shutdown()
    """
    words, text = threads(source)
    assert has_no_leak(words, text)
    words, text = threads(source, "--taskleak-strict")
    assert words == {"test_makes_it": "FAILED", "test_uses_it": "PASSED", "test_ends_it": "PASSED"}
    assert "1 leaked executor in 1 test" in text


def test_an_executor_made_outside_of_tests_is_no_leak(threads):
    words, text = threads("""
        POOLS = [ThreadPoolExecutor()]

        def test_uses_it():
            POOLS[0].submit(int).result()

        def test_ends_it():
            POOLS[0].shutdown()
    """)
    assert has_no_leak(words, text)


@pytest.mark.parametrize(("end", "last"), [("pool.shutdown()", "PASSED"), ("KEPT.append(pool)", "PASSED+ERROR")])
def test_an_executor_of_a_module_fixture_is_judged_when_that_has_ended(threads, end, last):
    words, text = threads(f"""
        @pytest.fixture(scope="module")
        def pool():
            pool = ThreadPoolExecutor()
            yield pool.submit
            {end}

        def test_first(pool):
            pool(int).result()

        def test_second(pool):
            pool(int).result()
    """)
    assert words == {"test_first": "PASSED", "test_second": last}
    assert ("1 executor outlived fixture `pool` (module scope)" in text) == (last != "PASSED")


@pytest.mark.parametrize(("end", "last"), [("pool.shutdown()", "PASSED"), ("KEPT.append(pool)", "PASSED+ERROR")])
def test_an_executor_that_a_module_fixture_keeps_is_the_fixtures(threads, end, last):
    words, text = threads(f"""
        class Client:
            pool = None

        @pytest.fixture(scope="module")
        def client():
            client = Client()
            yield client
            pool, client.pool = client.pool, None
            {end}

        def test_makes_it(client):
            client.pool = ThreadPoolExecutor()
            client.pool.submit(int).result()

        def test_uses_it(client):
            client.pool.submit(int).result()
    """)
    assert words == {"test_makes_it": "PASSED", "test_uses_it": last}
    assert ("1 executor outlived fixture `client` (module scope)" in text) == (last != "PASSED")


def test_an_executor_of_processes(threads):
    words, text = threads(
        """
        from multiprocessing import get_context

        def test_leaks():
            pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            KEPT.append(pool)
            assert pool.submit(int, "5").result() == 5

        def test_shuts_it_down():
            KEPT.pop().shutdown()

        def test_is_clean():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                assert pool.submit(int, "5").result() == 5
    """,
        apart=True,
    )
    assert words == {"test_leaks": "FAILED", "test_shuts_it_down": "PASSED", "test_is_clean": "PASSED"}
    assert "1 executor outlived `test_leaks`: executor ProcessPoolExecutor, never shut down" in text
    assert "(1 idle worker process)" in text
    assert "1 cause, 1 leaked executor in 1 test" in text


def test_a_thread_and_a_pool_that_libraries_keep_are_theirs(threads):
    words, text = threads("""
        import anyio.to_thread
        import multiprocessing.pool

        def test_feeds_a_queue_of_processes():
            queue = multiprocessing.Queue()
            KEPT.append(queue)
            queue.put(1)
            assert queue.get(timeout=10) == 1

        def test_ends_it():
            queue = KEPT.pop()
            queue.close()
            queue.join_thread()

        @pytest.mark.asyncio(loop_scope="module")
        async def test_uses_a_worker_thread():
            assert await anyio.to_thread.run_sync(int, "5") == 5

        @pytest.mark.timeout(60, method="thread")
        def test_is_timed():
            pass
    """)
    assert has_no_leak(words, text)


# -- a loop


def test_a_loop_that_is_never_closed_fails_its_test(threads):
    words, text = threads("""
        def test_leaks():
            loop = asyncio.new_event_loop()
            KEPT.append(loop)
            loop.run_until_complete(asyncio.sleep(0))

        def test_comes_after():
            KEPT[0].run_until_complete(asyncio.sleep(0))

        def test_closes_it():
            KEPT.pop().close()
    """)
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED", "test_closes_it": "PASSED"}
    assert "1 open loop outlived `test_leaks`: an event loop, never closed" in text
    assert "`loop.close()`" in text
    assert "created at\ntest_it.py:40: in test_leaks\n    loop = asyncio.new_event_loop()\n" in text
    assert "1 cause, 1 leaked open loop in 1 test" in text


@pytest.mark.parametrize("collected", ["", "gc.collect()"])
@pytest.mark.parametrize("used", ["", "loop.run_until_complete(asyncio.sleep(0))"])
def test_a_loop_that_is_dropped_while_it_is_open_is_told_whenever_the_collector_comes(threads, used, collected):
    words, text = threads(
        f"""
        def leave():
            loop = asyncio.new_event_loop()
            {used}

        def test_leaks():
            leave()
            {collected}

        def test_comes_after():
            gc.collect()
    """,
        "-W",
        "ignore::ResourceWarning",
    )
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 open loop outlived `test_leaks`: an event loop, never closed" in text
    assert "1 leaked open loop in 1 test" in text


@pytest.mark.parametrize("collected", ["", "gc.collect()"])
def test_a_task_of_a_loop_that_is_never_closed_is_told_and_the_loop_is_not(threads, collected):
    words, text = threads(
        f"""
        async def forever():
            await asyncio.Event().wait()

        def leave():
            loop = asyncio.new_event_loop()
            loop.create_task(forever(), name="poller")
            loop.run_until_complete(asyncio.sleep(0))

        def test_leaks():
            leave()
            {collected}

        def test_comes_after():
            gc.collect()
    """,
        "-W",
        "ignore::ResourceWarning",
    )
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert "1 cause, 1 leaked task in 1 test" in text


def test_a_timer_of_a_loop_without_tasks_is_told_and_the_loop_is_not(threads):
    words, text = threads("""
        def ring():
            pass

        def test_leaks():
            loop = asyncio.new_event_loop()
            KEPT.append(loop)
            loop.call_later(3600, ring)

        def test_closes_it():
            KEPT.pop().close()
    """)
    assert words == {"test_leaks": "FAILED", "test_closes_it": "PASSED"}
    assert "1 timer outlived `test_leaks`: timer for ring" in text
    assert "1 cause, 1 leaked timer in 1 test" in text


def test_an_executor_of_a_loop_that_is_never_closed_is_not_told_beside_it(threads):
    words, text = threads("""
        def test_leaks():
            loop = asyncio.new_event_loop()
            loop.set_default_executor(ThreadPoolExecutor())
            KEPT.append(loop)
            loop.run_until_complete(loop.run_in_executor(None, int))

        def test_closes_it():
            KEPT.pop().close()
    """)
    assert words == {"test_leaks": "FAILED", "test_closes_it": "PASSED"}
    assert "1 cause, 1 leaked open loop in 1 test" in text


def test_a_loop_of_uvloop_that_is_never_closed(threads):
    words, text = threads("""
        import uvloop

        def test_leaks():
            KEPT.append(uvloop.new_event_loop())

        def test_closes_it():
            KEPT.pop().close()

        def test_is_clean():
            uvloop.run(asyncio.sleep(0))
            uvloop.new_event_loop().close()
    """)
    assert words == {"test_leaks": "FAILED", "test_closes_it": "PASSED", "test_is_clean": "PASSED"}
    assert "1 open loop outlived `test_leaks`: an event loop, never closed" in text


ON_DEMAND = [pytest.param("KEPT.append(asyncio.events._event_loop_policy.get_event_loop())", id="on demand")]
if sys.version_info >= (3, 14):
    ON_DEMAND.clear()  # there, asking for a loop makes none


@pytest.mark.parametrize(
    "used",
    [
        pytest.param("asyncio.new_event_loop().close()", id="closed"),
        pytest.param("asyncio.run(asyncio.sleep(0))", id="run"),
        pytest.param("runner = asyncio.Runner(); KEPT.append(runner); runner.run(asyncio.sleep(0))", id="runner"),
        *ON_DEMAND,
    ],
)
def test_a_loop_that_somebody_else_has_to_close_is_no_leak(threads, used):
    words, text = threads(
        f"""
        @pytest.fixture(autouse=True, scope="session")
        def policy():
            asyncio.set_event_loop(None)
            yield
            for it in KEPT:
                it.close()
            asyncio.events._event_loop_policy = None

        @pytest.fixture(autouse=True)
        def fresh():
            import sys
            if sys.version_info < (3, 14):
                asyncio.events._event_loop_policy = asyncio.DefaultEventLoopPolicy()

        def test_uses_one():
            {used}

        def test_comes_after():
            pass
    """,
        "-W",
        "ignore::DeprecationWarning",
    )
    assert has_no_leak(words, text)


def test_the_current_loop_is_told_in_strict_mode_only(threads):
    source = """
        def test_makes_it():
            asyncio.set_event_loop(asyncio.new_event_loop())

        def test_uses_it():
            loop = asyncio.get_event_loop()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            asyncio.set_event_loop(None)
    """
    words, text = threads(source)
    assert has_no_leak(words, text)
    words, text = threads(source, "--taskleak-strict")
    assert words == {"test_makes_it": "FAILED", "test_uses_it": "PASSED"}
    assert "1 leaked open loop in 1 test" in text


@pytest.mark.parametrize(("end", "last"), [("loop.close()", "PASSED"), ("KEPT.append(loop)", "PASSED+ERROR")])
def test_a_loop_of_a_module_fixture_is_judged_when_that_has_ended(threads, end, last):
    words, text = threads(f"""
        @pytest.fixture(scope="module")
        def loop():
            loop = asyncio.new_event_loop()
            yield loop
            {end}

        def test_first(loop):
            loop.run_until_complete(asyncio.sleep(0))

        def test_second(loop):
            loop.run_until_complete(asyncio.sleep(0))
    """)
    assert words == {"test_first": "PASSED", "test_second": last}
    assert ("1 open loop outlived fixture `loop` (module scope)" in text) == (last != "PASSED")


@pytest.mark.parametrize(("end", "last"), [("loop.close()", "PASSED"), ("KEPT.append(loop)", "PASSED+ERROR")])
def test_a_loop_that_a_module_fixture_keeps_is_the_fixtures(threads, end, last):
    words, text = threads(f"""
        class Client:
            loop = None

        @pytest.fixture(scope="module")
        def client():
            client = Client()
            yield client
            loop, client.loop = client.loop, None
            {end}

        def test_makes_it(client):
            client.loop = asyncio.new_event_loop()

        def test_uses_it(client):
            client.loop.run_until_complete(asyncio.sleep(0))
    """)
    assert words == {"test_makes_it": "PASSED", "test_uses_it": last}
    assert ("1 open loop outlived fixture `client` (module scope)" in text) == (last != "PASSED")


# -- chosen, restored, nothing kept, no cost


@pytest.mark.parametrize(
    ("kinds", "failed"), [("threads", {"test_thread", "test_executor"}), ("loops", {"test_loop"}), ("tasks", set())]
)
def test_what_was_not_chosen_is_not_told(threads, kinds, failed):
    words, _ = threads(
        """
        def test_thread():
            start()

        def test_executor():
            KEPT.append(ThreadPoolExecutor())
            KEPT[-1].submit(int)

        def test_loop():
            KEPT.append(asyncio.new_event_loop())

        def test_ends():
            KEPT[0].shutdown()
            KEPT[1].close()
    """,
        f"--taskleak-kinds={kinds}",
    )
    assert {name for name, word in words.items() if word == "FAILED"} == failed


CLASSES = (
    threading.Thread,
    concurrent.futures.ThreadPoolExecutor,
    concurrent.futures.ProcessPoolExecutor,
    asyncio.BaseEventLoop,
    uvloop.Loop,
)


def test_what_is_wrapped_is_put_back(threads):
    before = [dict(vars(cls)) for cls in CLASSES]
    words, _ = threads("""
        @pytest.mark.parametrize("cls", [ThreadPoolExecutor, ProcessPoolExecutor, asyncio.BaseEventLoop])
        def test_is_wrapped(cls):
            assert cls.__init__.__wrapped__.__name__ == "__init__"

        def test_starts():
            start()
    """)
    assert sorted(words.values()) == ["FAILED", "PASSED", "PASSED", "PASSED"]
    assert [dict(vars(cls)) for cls in CLASSES] == before


def test_nothing_is_kept_alive_after_the_verdict(threads):
    words, text = threads("""
        REFS = []

        class Thing:
            pass

        def hold(thing, end):
            REFS.append(weakref.ref(thing))
            end.wait(60)

        def test_thread():
            end = threading.Event()
            KEPT.append(end)
            thread = threading.Thread(target=hold, args=(Thing(), end))
            REFS.append(weakref.ref(thread))
            thread.start()

        def test_executor():
            pool = ThreadPoolExecutor()
            REFS.append(weakref.ref(pool))
            KEPT.append(pool)
            pool.submit(int).result()

        def test_loop():
            loop = asyncio.new_event_loop()
            REFS.append(weakref.ref(loop))
            KEPT.append(loop)

        def test_looks():
            end, pool, loop = KEPT
            end.set()
            pool.shutdown()
            loop.close()
            del end, pool, loop
            KEPT.clear()
            for thread in threading.enumerate():
                if thread is not threading.current_thread() and any(ref() is thread for ref in REFS):
                    thread.join()
            del thread
            gc.collect()
            assert [ref() for ref in REFS] == [None] * 4
    """)
    assert words == {
        "test_thread": "FAILED",
        "test_executor": "FAILED",
        "test_loop": "FAILED",
        "test_looks": "PASSED",
    }, text


@pytest.mark.parametrize("looks", [True, False], ids=["one goes on", "none does"])
def test_what_has_ended_is_not_looked_at(threads, project, looks):
    project.write(
        "conftest.py",
        prelude=ENDS.replace("pytest_unconfigure", "end_all")
        + """\
import threading

from pytest_taskleak.workplaces import Workplaces

LOOKS = []
LOOK, ENUMERATE = Workplaces.look, threading.enumerate


def pytest_sessionstart():
    Workplaces.look = lambda self, grace: LOOKS.append(1) or LOOK(self, grace)
    threading.enumerate = lambda: LOOKS.append(2) or ENUMERATE()


def pytest_unconfigure():
    Workplaces.look, threading.enumerate = LOOK, ENUMERATE
    end_all()
    print("looks:", LOOKS)
""",
    )
    _, text = threads(
        """
        def test_is_plain():
            pass

        def test_starts_one():
            stop(start())

        def test_is_plain_too():
            pass
    """
        + looks
        * """
        def test_leaves_one():
            start()
    """
    )
    assert ("looks: []" not in text) == looks


def test_a_defect_is_contained(threads, project):
    project.write(
        "conftest.py",
        prelude=ENDS.replace("pytest_unconfigure", "end_all")
        + """\
from pytest_taskleak import explain

TELL = explain.sketch_thread


def broken(thread, *args):
    if thread.name == "odd":
        raise ZeroDivisionError("made for this test")
    return TELL(thread, *args)


def pytest_sessionstart():
    explain.sketch_thread = broken


def pytest_unconfigure():
    explain.sketch_thread = TELL
    end_all()
""",
    )
    words, text = threads("""
        def test_leaks():
            for name in ("first", "odd", "last"):
                start(name)
    """)
    assert words == {"test_leaks": "FAILED"}
    assert "2 threads" in text
    assert "ZeroDivisionError: made for this test" in text.split("a defect of the plugin itself")[1]
