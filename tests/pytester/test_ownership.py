"""Whose leak it is: blamed once, on the owner, whatever runs when it is found."""

from __future__ import annotations

import re

import pytest

ONE = "1 cause, 1 leaked task in 1 test"
QUIET = "outlived"
"""The word that every report of a leak has, and that a clean run never shows."""

WIDE = """
        KEPT = []

        def keep(coroutine, name):
            KEPT.append(asyncio.create_task(coroutine, name=name))

"""
"""A task that is kept cannot be collected before anybody looks, so that its report has one form only."""

MODULE = (
    WIDE
    + """
        pytestmark = pytest.mark.asyncio(loop_scope="module")

"""
)


def words_of(result):
    """Each test's final word, as `-rA` shows it."""
    found: dict[str, list[str]] = {}
    for line in result.outlines:
        match = re.match(r"(PASSED|FAILED|ERROR) \S+?::(\S+)", line)
        if match:
            found.setdefault(match[2], []).append(match[1])
    return {name: "+".join(sorted(words, reverse=True)) for name, words in found.items()}


def blame(text):
    """Who is blamed, and for which task, as each failure's error line says it; twice where it is said twice."""
    error = r"^E\s+\S*TaskLeakError: \d+ tasks?(?: from \d+ causes)? outlived (.+?): task '([^']+)'"
    return sorted(re.findall(error, text, re.MULTILINE))


def flat(text):
    """The output as one line, whatever its width."""
    return " ".join(text.split())


# -- random order and several processes


MIXED = """
        KEPT = []

        def keep(coroutine, name):
            KEPT.append(asyncio.create_task(coroutine, name=name))

        @pytest_asyncio.fixture
        async def leaky():
            keep(forever(), "of leaky")
            yield

        @pytest_asyncio.fixture
        async def tidy():
            task = asyncio.create_task(forever())
            yield
            task.cancel()
            await asyncio.wait([task])

        async def test_clean_one():
            await asyncio.sleep(0)

        async def test_leaks_one():
            keep(forever(), "one")

        async def test_clean_two(tidy):
            await asyncio.create_task(asyncio.sleep(0))

        async def test_uses_leaky(leaky):
            pass

        def test_sync_leaks():
            asyncio.run(leave())

        async def leave():
            keep(forever(), "sync")
            await asyncio.sleep(0)

        def test_sync_clean():
            pass

        @pytest.mark.asyncio(loop_scope="module")
        class TestModuleLoop:
            async def test_clean_three(self, tidy_module):
                assert not tidy_module.done()

            async def test_leaks_three(self):
                keep(forever(), "three")

            async def test_clean_four(self, tidy_module):
                assert not tidy_module.done()

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def tidy_module():
            task = asyncio.create_task(forever())
            yield task
            task.cancel()
            await asyncio.wait([task])

        @pytest.mark.asyncio(loop_scope="session")
        class TestSessionLoop:
            async def test_clean_five(self):
                pass

            async def test_leaks_five(self):
                keep(forever(), "five")

            async def test_clean_six(self):
                await asyncio.sleep(0)
"""

MIXED_WORDS = {
    "test_clean_one": "PASSED",
    "test_leaks_one": "FAILED",
    "test_clean_two": "PASSED",
    "test_uses_leaky": "FAILED",
    "test_sync_leaks": "FAILED",
    "test_sync_clean": "PASSED",
    "TestModuleLoop::test_clean_three": "PASSED",
    "TestModuleLoop::test_leaks_three": "FAILED",
    "TestModuleLoop::test_clean_four": "PASSED",
    "TestSessionLoop::test_clean_five": "PASSED",
    "TestSessionLoop::test_leaks_five": "FAILED",
    "TestSessionLoop::test_clean_six": "PASSED",
}

MIXED_BLAME = [
    ("`test_leaks_five`", "five"),
    ("`test_leaks_one`", "one"),
    ("`test_leaks_three`", "three"),
    ("`test_sync_leaks`", "sync"),
    ("fixture `leaky`", "of leaky"),
]


def test_the_same_tests_are_blamed_in_the_order_written(judged):
    words, text = judged(MIXED)
    assert words == MIXED_WORDS
    assert blame(text) == MIXED_BLAME
    assert "5 leaked tasks in 5 tests" in text


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_the_same_tests_are_blamed_in_any_order(project, seed):
    pytest.importorskip("pytest_randomly", reason="pytest-randomly has no release for this interpreter")
    project.write(source=MIXED)
    result = project.pytester.runpytest_inprocess(f"--randomly-seed={seed}", "-rA", "-v")
    text = result.stdout.str()
    order = re.findall(r"^test_it\.py::(\S+) (?:PASSED|FAILED)", text, re.MULTILINE)
    assert sorted(order) == sorted(MIXED_WORDS)
    assert order != list(MIXED_WORDS), "the seed gave the order written, and shows nothing"
    assert words_of(result) == MIXED_WORDS
    assert blame(text) == MIXED_BLAME
    assert "5 leaked tasks in 5 tests" in text


@pytest.mark.parametrize("dist", ["load", "loadfile"])
def test_the_same_tests_are_blamed_in_workers(project, dist):
    project.write(source=MIXED)
    result = project.run_apart("-n", "2", "--dist", dist, "-rA")
    text = result.stdout.str()
    assert words_of(result) == MIXED_WORDS
    assert blame(text) == MIXED_BLAME
    assert "5 leaked tasks in 5 tests" in text
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_module_fixture_that_leaks_in_a_worker_is_named(project):
    project.write(
        source=MODULE
        + """
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def server():
            keep(forever(), "acceptor")
            yield

        async def test_first(server):
            pass

        async def test_second(server):
            pass
    """
    )
    result = project.run_apart("-n", "2", "--dist", "loadfile", "-rA")
    assert words_of(result) == {"test_first": "PASSED", "test_second": "PASSED+ERROR"}
    assert blame(result.stdout.str()) == [("fixture `server` (module scope)", "acceptor")]
    assert ONE in result.stdout.str()
    assert result.ret == pytest.ExitCode.TESTS_FAILED


# -- wide loops


@pytest.mark.parametrize("scope", ["module", "session"])
def test_each_test_that_leaks_into_a_wide_loop_is_blamed_for_its_own_task(judged, scope):
    words, text = judged(
        WIDE
        + f"""
        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        async def test_clean_one():
            pass

        async def test_leaks_one():
            keep(forever(), "one")

        async def test_clean_two():
            await asyncio.create_task(asyncio.sleep(0))

        async def test_leaks_two():
            keep(forever(), "two")
            keep(forever(), "two")

        async def test_clean_three():
            assert sum(not task.done() for task in KEPT) == 3
    """
    )
    assert words == {
        "test_clean_one": "PASSED",
        "test_leaks_one": "FAILED",
        "test_clean_two": "PASSED",
        "test_leaks_two": "FAILED",
        "test_clean_three": "PASSED",
    }
    assert "1 task outlived `test_leaks_one`: task 'one', forever" in text
    assert "2 tasks outlived `test_leaks_two`: task 'two', forever" in text
    assert "1 cause, 3 leaked tasks in 2 tests" in text


def test_a_session_loop_over_two_modules(project):
    for name in ("one", "two"):
        project.write(
            f"test_{name}.py",
            WIDE
            + f"""
            pytestmark = pytest.mark.asyncio(loop_scope="session")

            async def test_clean_before():
                pass

            async def test_leaks_{name}():
                keep(forever(), "{name}")

            async def test_clean_after():
                assert not KEPT[0].done()
    """.replace("            ", "        "),
        )
    result = project.run("-rA")
    result.assert_outcomes(passed=4, failed=2)
    assert blame(result.stdout.str()) == [("`test_leaks_one`", "one"), ("`test_leaks_two`", "two")]
    assert "2 leaked tasks in 2 tests" in result.stdout.str()


SERVER = """
        pytestmark = pytest.mark.asyncio(loop_scope="session")

        class Server:
            def __init__(self):
                self.over = asyncio.Event()
                self.handling = 0

            async def start(self):
                self.server = await asyncio.start_server(self.handle, "127.0.0.1", 0)
                self.address = self.server.sockets[0].getsockname()

            async def handle(self, reader, writer):
                self.handling += 1
                writer.write(b"hello")
                await writer.drain()
                await self.over.wait()
                writer.close()
                self.handling -= 1

            async def stop(self):
                self.server.close()
                self.over.set()
                while self.handling:
                    await asyncio.sleep(0)

            async def ask(self):
                reader, writer = await asyncio.open_connection(*self.address)
                assert await reader.readexactly(5) == b"hello"
                writer.close()
                await writer.wait_closed()

"""


def test_the_handlers_of_a_session_wide_server_are_not_blamed_on_the_tests_that_ask(judged):
    words, text = judged(
        SERVER
        + """
        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def server():
            server = Server()
            await server.start()
            yield server
            await server.stop()

        async def test_first(server):
            await server.ask()
            assert server.handling == 1

        async def test_second(server):
            await server.ask()
            assert server.handling == 2
    """
    )
    assert words == {"test_first": "PASSED", "test_second": "PASSED"}
    assert QUIET not in text


def test_the_handlers_that_outlive_their_server_are_blamed_on_its_fixture(judged):
    words, text = judged(
        SERVER
        + """
        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def server():
            server = Server()
            await server.start()
            yield server
            server.server.close()

        async def test_first(server):
            await server.ask()

        async def test_second(server):
            await server.ask()
    """,
        apart=True,
    )
    assert words == {"test_first": "PASSED", "test_second": "PASSED+ERROR"}
    assert "2 tasks outlived fixture `server` (session scope): task Server.handle, waits on" in text
    assert "1 cause, 2 leaked tasks in 1 test" in text


def test_a_test_that_leaks_beside_a_session_wide_server_is_blamed_alone(judged):
    words, text = judged(
        SERVER
        + """
        KEPT = []

        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def server():
            server = Server()
            await server.start()
            yield server
            await server.stop()

        async def test_first(server):
            await server.ask()

        async def test_leaks(server):
            await server.ask()
            KEPT.append(asyncio.create_task(forever(), name="poller"))

        async def test_last(server):
            pass
    """
    )
    assert words == {"test_first": "PASSED", "test_leaks": "FAILED", "test_last": "PASSED"}
    assert blame(text) == [("`test_leaks`", "poller")]
    assert ONE in text


def test_a_server_in_a_thread_of_a_session_fixture_owns_its_handlers(judged):
    words, text = judged(
        SERVER.replace("pytestmark", "in_a_thread")
        + """
        import threading

        @pytest.fixture(scope="session")
        def server():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever)
            thread.start()

            def do(coroutine):
                asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

            async def make():
                servers.append(Server())
                await servers[0].start()

            servers = []
            do(make())
            yield servers[0]
            do(servers[0].stop())
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

        async def test_first(server):
            await server.ask()
            assert server.handling == 1

        async def test_second(server):
            await server.ask()
            assert server.handling == 2
    """
    )
    assert words == {"test_first": "PASSED", "test_second": "PASSED"}
    assert QUIET not in text


# -- the owner travels


def test_a_timer_of_a_test_that_fires_in_a_later_one_works_for_the_test_that_set_it(judged):
    words, text = judged(
        MODULE
        + """
        FIRED = asyncio.Event()

        def fire():
            keep(forever(), "late")
            FIRED.set()

        async def test_sets_it():
            asyncio.get_running_loop().call_later(0.01, fire)

        async def test_is_running():
            await FIRED.wait()

        async def test_comes_last():
            pass
    """
    )
    assert words == {"test_sets_it": "PASSED+ERROR", "test_is_running": "PASSED", "test_comes_last": "PASSED"}
    assert blame(text) == [("`test_sets_it`", "late")]
    assert ONE in text


@pytest.mark.parametrize("call", ["call_soon(fire)", "call_later(0.001, fire)", "call_soon_threadsafe(fire)"])
def test_a_callback_of_a_fixture_that_runs_in_the_test_works_for_the_fixture(judged, call):
    words, text = judged(
        WIDE
        + f"""
        def fire():
            keep(forever(), "late")
            FIRED.set()

        FIRED = asyncio.Event()

        @pytest_asyncio.fixture
        async def sets_it():
            asyncio.get_running_loop().{call}

        async def test_is_running(sets_it):
            await FIRED.wait()

        async def test_does_without():
            pass
    """
    )
    assert words == {"test_is_running": "FAILED", "test_does_without": "PASSED"}
    assert blame(text) == [("fixture `sets_it`", "late")]
    assert ONE in text


def test_a_loop_that_a_fixtures_thread_runs_while_a_test_runs_is_the_fixtures(judged):
    """Its loop was closed over it, so nothing can end it any more: it is told at once, for the fixture."""
    words, text = judged(
        MODULE
        + """
        import threading

        async def leave():
            keep(forever(), "late")
            await asyncio.sleep(0)

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def worker():
            go = threading.Event()

            def work():
                go.wait(10)
                asyncio.run(leave())

            task = asyncio.create_task(asyncio.to_thread(work))
            await asyncio.sleep(0)
            yield go, task
            await task

        async def test_is_clean(worker):
            pass

        async def test_tells_it(worker):
            go, task = worker
            go.set()
            await asyncio.wait([task])

        async def test_comes_last(worker):
            pass
    """
    )
    assert words == {
        "test_is_clean": "PASSED+ERROR",
        "test_tells_it": "PASSED",
        "test_comes_last": "PASSED",
    }
    assert blame(text) == [("fixture `worker` (module scope)", "late")]
    assert "outlived fixture `worker` (module scope) of test_it.py::test_is_clean" in flat(text)
    assert ONE in text


def test_what_to_thread_submits_back_to_the_loop_is_the_fixtures(judged):
    words, text = judged(
        MODULE
        + """
        import threading

        async def leave():
            keep(forever(), "late")

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def worker():
            go = threading.Event()
            loop = asyncio.get_running_loop()

            def work():
                go.wait(10)
                asyncio.run_coroutine_threadsafe(leave(), loop).result(10)

            task = asyncio.create_task(asyncio.to_thread(work))
            await asyncio.sleep(0)
            yield go, task
            await task

        async def test_tells_it(worker):
            go, task = worker
            go.set()
            await asyncio.wait([task])

        async def test_comes_last(worker):
            pass
    """
    )
    assert words == {"test_tells_it": "PASSED", "test_comes_last": "PASSED+ERROR"}
    assert blame(text) == [("fixture `worker` (module scope)", "late")]
    assert ONE in text


def test_what_a_plain_thread_submits_to_a_loop_is_its_who_started_the_thread(judged):
    words, text = judged(
        MODULE
        + """
        import threading

        async def leave():
            keep(forever(), "late")

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def worker():
            go, done = threading.Event(), asyncio.Event()
            loop = asyncio.get_running_loop()

            def work():
                go.wait(10)
                asyncio.run_coroutine_threadsafe(leave(), loop).result(10)
                loop.call_soon_threadsafe(done.set)

            thread = threading.Thread(target=work)
            thread.start()
            yield go, done
            thread.join(10)

        async def test_tells_it(worker):
            go, done = worker
            go.set()
            await done.wait()

        async def test_comes_last(worker):
            pass
    """
    )
    assert words == {"test_tells_it": "PASSED", "test_comes_last": "PASSED+ERROR"}
    assert blame(text) == [("fixture `worker` (module scope)", "late")]
    assert ONE in text


def test_what_a_test_submits_to_the_loop_of_a_fixtures_thread_is_the_tests(judged):
    words, text = judged(
        WIDE
        + """
        import threading

        @pytest.fixture(scope="session")
        def background():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            yield loop
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

        async def leave():
            keep(forever(), "sent")

        def test_first(background):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), background).result(10)

        def test_sends_it(background):
            asyncio.run_coroutine_threadsafe(leave(), background).result(10)

        async def test_sends_it_from_a_loop(background):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(leave(), background))

        def test_last(background):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), background).result(10)
    """
    )
    assert words == {
        "test_first": "PASSED",
        "test_sends_it": "FAILED",
        "test_sends_it_from_a_loop": "FAILED",
        "test_last": "PASSED",
    }
    assert blame(text) == [("`test_sends_it_from_a_loop`", "sent"), ("`test_sends_it`", "sent")]
    assert "2 leaked tasks in 2 tests" in text


# -- parents and children


CHAIN = """
        async def grandchild():
            keep(forever(), "deepest")

        async def child():
            await asyncio.create_task(grandchild())

        async def parent():
            await asyncio.create_task(child())

"""


def test_the_children_of_children_of_a_test_are_the_tests(judged):
    words, text = judged(
        MODULE
        + CHAIN
        + """
        async def test_leaks():
            await asyncio.create_task(parent())

        async def test_comes_last():
            assert not KEPT[0].done()
    """
    )
    assert words == {"test_leaks": "FAILED", "test_comes_last": "PASSED"}
    assert blame(text) == [("`test_leaks`", "deepest")]
    assert ONE in text


def test_the_chain_of_creating_tasks_is_told_from_the_nearest_on(judged):
    words, text = judged(
        WIDE
        + CHAIN
        + """
        async def test_leaks():
            await asyncio.create_task(parent())
    """
    )
    assert words == {"test_leaks": "FAILED"}
    assert re.findall(r"by the task (\w+), created at test_it\.py:\d+", text) == [
        "grandchild",
        "child",
        "parent",
    ]


def test_what_a_fixtures_task_starts_while_a_test_runs_is_the_fixtures(judged):
    words, text = judged(
        MODULE
        + """
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def server():
            requests, answers = asyncio.Queue(), asyncio.Queue()

            async def serve():
                while await requests.get():
                    keep(forever(), "handler")
                    await answers.put(None)

            task = asyncio.create_task(serve())
            yield requests, answers
            await requests.put(False)
            await task

        async def test_asks(server):
            requests, answers = server
            await requests.put(True)
            await answers.get()

        async def test_comes_last(server):
            pass
    """
    )
    assert words == {"test_asks": "PASSED", "test_comes_last": "PASSED+ERROR"}
    assert blame(text) == [("fixture `server` (module scope)", "handler")]
    assert ONE in text


def test_a_child_that_a_tests_task_starts_in_a_later_test_is_the_first_tests_and_no_news(judged):
    """The root was reported: what it goes on to start is not told again."""
    words, text = judged(
        MODULE
        + """
        GO = asyncio.Event()
        WENT = asyncio.Event()

        async def breeds():
            await GO.wait()
            keep(forever(), "child")
            WENT.set()
            await forever()

        async def test_leaks():
            keep(breeds(), "root")
            await asyncio.sleep(0)

        async def test_is_running():
            GO.set()
            await WENT.wait()

        async def test_comes_last():
            assert len(KEPT) == 2
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_running": "PASSED", "test_comes_last": "PASSED"}
    assert blame(text) == [("`test_leaks`", "root")]
    assert ONE in text


# -- fixtures


def test_a_fixture_requested_by_another_is_named_itself(judged):
    words, text = judged(
        WIDE
        + """
        @pytest_asyncio.fixture
        async def inner():
            keep(forever(), "of inner")
            yield

        @pytest_asyncio.fixture
        async def outer(inner):
            task = asyncio.create_task(forever())
            yield
            task.cancel()
            await asyncio.wait([task])

        async def test_uses_outer(outer):
            pass

        async def test_does_without():
            pass
    """
    )
    assert words == {"test_uses_outer": "FAILED", "test_does_without": "PASSED"}
    assert blame(text) == [("fixture `inner`", "of inner")]
    assert ONE in text


def test_a_fixture_that_requests_another_is_named_itself(judged):
    words, text = judged(
        WIDE
        + """
        @pytest_asyncio.fixture
        async def inner():
            task = asyncio.create_task(forever())
            yield
            task.cancel()
            await asyncio.wait([task])

        @pytest_asyncio.fixture
        async def outer(inner):
            keep(forever(), "of outer")
            yield

        async def test_uses_outer(outer):
            pass

        async def test_uses_inner(inner):
            pass
    """
    )
    assert words == {"test_uses_outer": "FAILED", "test_uses_inner": "PASSED"}
    assert blame(text) == [("fixture `outer`", "of outer")]
    assert ONE in text


def test_a_fixture_requested_while_the_test_runs_is_named_itself(judged):
    words, text = judged(
        WIDE
        + """
        @pytest.fixture
        def on_demand():
            loop = asyncio.new_event_loop()
            KEPT.append(loop.create_task(forever(), name="of on_demand"))
            yield
            loop.close()

        def test_asks(request):
            request.getfixturevalue("on_demand")

        def test_does_not(request):
            pass
    """
    )
    assert words == {"test_asks": "FAILED", "test_does_not": "PASSED"}
    assert blame(text) == [("fixture `on_demand`", "of on_demand")]
    assert ONE in text


def test_a_function_fixture_on_a_module_fixture_each_named_for_its_own(judged):
    words, text = judged(
        MODULE
        + """
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def wide():
            keep(forever(), "of wide")
            yield

        @pytest_asyncio.fixture(loop_scope="module")
        async def narrow(wide):
            KEPT.append(asyncio.create_task(forever(), name="of narrow"))
            yield

        async def test_leaks(narrow):
            KEPT.append(asyncio.create_task(forever(), name="of test"))

        async def test_is_clean(wide):
            pass
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED+ERROR"}
    assert ("fixture `wide` (module scope)", "of wide") in blame(text)
    assert "2 tasks from 2 causes outlived" in text
    assert "1 task outlived fixture `narrow` of test_it.py::test_leaks" in flat(text)
    assert "1 task outlived `test_leaks`" in flat(text)
    assert "3 leaked tasks in 2 tests" in text


def test_two_owners_that_leak_by_the_same_line_are_both_named(judged):
    words, text = judged(
        MODULE
        + """
        @pytest_asyncio.fixture(loop_scope="module")
        async def narrow():
            keep(forever(), "same")
            yield

        async def test_leaks(narrow):
            keep(forever(), "same")

        async def test_is_clean():
            pass
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived fixture `narrow` of test_it.py::test_leaks" in flat(text)
    assert "1 task outlived `test_leaks`" in flat(text)
    assert "2 leaked tasks in 1 test" in text


@pytest.mark.parametrize("scope", ["class", "module", "session"])
def test_a_wide_fixture_that_leaks_at_its_end_is_an_error_of_the_last_test_that_used_it(judged, scope):
    words, text = judged(
        WIDE
        + f"""
        @pytest_asyncio.fixture(scope="{scope}", loop_scope="session")
        async def server():
            yield
            keep(forever(), "goodbye")

        @pytest.mark.asyncio(loop_scope="session")
        class TestIt:
            async def test_first(self, server):
                pass

            async def test_last(self, server):
                pass
    """
    )
    assert words == {"TestIt::test_first": "PASSED", "TestIt::test_last": "PASSED+ERROR"}
    assert blame(text) == [(f"fixture `server` ({scope} scope)", "goodbye")]
    assert ONE in text


def test_setup_module_and_setup_class_are_named_by_their_functions(judged):
    words, text = judged(
        """
        KEPT = []

        def leave(name):
            loop = asyncio.new_event_loop()
            KEPT.append((loop, loop.create_task(forever(), name=name)))

        def setup_module():
            leave("of module")

        def teardown_module():
            pass

        class TestIt:
            def setup_method(self):
                leave("of method")

            def teardown_method(self):
                KEPT.pop()[0].close()

            def test_it(self):
                pass
    """,
        apart=True,
    )
    assert words == {"TestIt::test_it": "ERROR+FAILED"}
    assert blame(text) == [
        ("setup_method/teardown_method of TestIt", "of method"),
        ("setup_module/teardown_module", "of module"),
    ]


# -- late findings


LATE = (
    MODULE
    + """
        async def fails():
            raise ValueError("lost")

        async def test_loses_it():
            keep(fails(), "job")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert KEPT[0].done()

        async def test_drops_it():
            KEPT.clear()

        async def test_comes_last():
            pass
"""
)


def test_what_is_found_late_is_reported_for_its_owner_and_fails_the_run(project):
    project.write(source=LATE)
    result = project.run("-rA")
    assert words_of(result) == {
        "test_loses_it": "PASSED+ERROR",
        "test_drops_it": "PASSED",
        "test_comes_last": "PASSED",
    }
    result.assert_outcomes(passed=3, errors=1)
    assert "outlived `test_loses_it`: task 'job', fails, its exception was never" in result.stdout.str()
    assert ONE in result.stdout.str()
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("marker", ['"off"', 'expect="job", reason="the server logs it"'], ids=["off", "expected"])
def test_what_a_marker_accepts_is_accepted_also_when_it_is_found_late(project, marker):
    loses = "async def test_loses_it():"
    project.write(source=LATE.replace(loses, f"@pytest.mark.taskleak({marker})\n        {loses}"))
    result = project.run("-rA")
    result.assert_outcomes(passed=3)
    assert "taskleak ===" not in result.stdout.str()
    assert result.ret == pytest.ExitCode.OK


def test_what_is_found_late_in_a_worker_is_reported_for_its_owner_and_fails_the_run(project):
    project.write(source=LATE)
    result = project.run_apart("-n", "2", "--dist", "loadfile", "-rA")
    assert words_of(result) == {
        "test_loses_it": "PASSED+ERROR",
        "test_drops_it": "PASSED",
        "test_comes_last": "PASSED",
    }
    assert blame(result.stdout.str()) == [("`test_loses_it`", "job")]
    assert ONE in result.stdout.str()
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadfile")], ids=["alone", "workers"])
def test_what_is_found_while_a_failing_test_runs_is_not_shown_with_its_failure(project, workers):
    project.write(
        source=LATE.replace("KEPT.clear()", "KEPT.clear()\n            assert 1 == 2").replace(
            "test_drops_it", "test_fails"
        )
    )
    result = project.run_apart(*workers, "-rA")
    assert words_of(result) == {
        "test_loses_it": "PASSED+ERROR",
        "test_fails": "FAILED",
        "test_comes_last": "PASSED",
    }
    assert blame(result.stdout.str()) == [("`test_loses_it`", "job")]


def test_what_is_found_while_a_test_skips_leaves_it_skipped(project):
    project.write(source=LATE.replace("KEPT.clear()", "KEPT.clear()\n            pytest.skip('not here')"))
    result = project.run("-rA")
    result.assert_outcomes(passed=2, skipped=1, errors=1)
    assert blame(result.stdout.str()) == [("`test_loses_it`", "job")]
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_what_is_found_in_another_module_is_reported_with_its_own(project):
    project.write("kept.py", "KEPT = []\n", prelude="")
    project.write(
        "test_a.py",
        """
        from kept import KEPT

        async def fails():
            raise ValueError("lost")

        async def test_loses_it():
            KEPT.append(asyncio.create_task(fails(), name="job"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        """,
    )
    project.write(
        "test_b.py",
        """
        from kept import KEPT

        def test_drops_it():
            assert KEPT
            KEPT.clear()
        """,
    )
    result = project.run("-rA")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["ERROR test_a.py::test_loses_it - *1 task outlived `test_loses_it`*"])
    assert ONE in result.stdout.str()
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("apart", [(), ("-n", "1")], ids=["alone", "worker"])
def test_what_is_found_when_all_tests_are_over_still_fails_the_run(project, apart):
    project.write(
        "conftest.py",
        """
        KEPT = []

        def pytest_sessionfinish():
            KEPT.clear()
        """,
    )
    project.write(
        source="""
        from conftest import KEPT

        async def fails():
            raise ValueError("lost")

        async def test_loses_it():
            KEPT.append(asyncio.create_task(fails(), name="job"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        async def test_comes_last():
            pass
        """
    )
    result = project.run_apart(*apart, "-rA")
    assert words_of(result) == {"test_loses_it": "PASSED+ERROR", "test_comes_last": "PASSED"}
    assert blame(result.stdout.str()) == [("`test_loses_it`", "job")]
    assert result.ret == pytest.ExitCode.TESTS_FAILED


# -- once


@pytest.mark.parametrize("scope", ["function", "module", "session"])
def test_a_leak_seen_at_every_moment_is_reported_once(judged, scope):
    """Seen when its test ends, when later tests end, when it is collected and when its loop is closed."""
    words, text = judged(
        WIDE
        + f"""
        import gc

        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        async def test_leaks():
            keep(forever(), "poller")
            asyncio.create_task(forever(), name="forgotten")

        async def test_second():
            await asyncio.sleep(0)

        async def test_collects():
            KEPT.clear()
            gc.collect()

        async def test_last():
            gc.collect()
    """,
        apart=True,
    )
    assert words == {
        "test_leaks": "FAILED",
        "test_second": "PASSED",
        "test_collects": "PASSED",
        "test_last": "PASSED",
    }
    assert "2 leaked tasks in 1 test" in text
    assert len(blame(text)) == 1


def test_a_leak_on_a_loop_left_open_is_not_reported_again_when_it_is_closed(judged):
    words, text = judged("""
        LOOPS = []

        @pytest.fixture(scope="session", autouse=True)
        def closes():
            yield
            LOOPS[0].close()

        def test_leaks():
            LOOPS.append(asyncio.new_event_loop())
            LOOPS[0].kept = LOOPS[0].create_task(forever(), name="poller")
            LOOPS[0].run_until_complete(asyncio.sleep(0))

        def test_runs_it():
            LOOPS[0].run_until_complete(asyncio.sleep(0))

        def test_last():
            pass
    """)
    assert words == {"test_leaks": "FAILED", "test_runs_it": "PASSED", "test_last": "PASSED"}
    assert blame(text) == [("`test_leaks`", "poller")]
    assert ONE in text


def test_a_task_that_a_later_test_ends_was_still_the_first_ones_leak(judged):
    words, text = judged(
        MODULE
        + """
        async def test_leaks():
            keep(forever(), "poller")

        async def test_ends_it():
            KEPT[0].cancel()
            await asyncio.wait(KEPT)

        async def test_last():
            pass
    """
    )
    assert words == {"test_leaks": "FAILED", "test_ends_it": "PASSED", "test_last": "PASSED"}
    assert blame(text) == [("`test_leaks`", "poller")]
    assert ONE in text
