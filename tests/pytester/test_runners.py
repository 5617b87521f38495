"""Every way of running asyncio under pytest: the same verdict and the same blame."""

from __future__ import annotations

import contextlib
import sys

import pytest

with contextlib.suppress(ImportError):
    # pytest forgets what a run inside this process imported, except for the parts of a package that was there before:
    # the next run would get half of it anew, whose classes are others.
    import aiohttp.test_utils as _whole  # noqa: F401

ONE = "1 cause, 1 leaked task in 1 test"
QUIET = "outlived"
"""The word that every report of a leak has, and that a clean run never shows."""

STRICT = ("-o", "asyncio_mode=strict")
ALONE = ("-p", "no:asyncio", "-p", "no:trio", "-W", "ignore::pytest.PytestConfigWarning")
"""Without pytest-asyncio and pytest-trio, whose settings pytest then does not know."""

SCOPES = ["function", "class", "module", "package", "session"]

KEEPER = """
        KEPT = []

        def keep(coroutine, name):
            KEPT.append(asyncio.create_task(coroutine, name=name))

"""
"""A task that is kept cannot be collected before anybody looks, so that its report has one form only."""


# -- pytest-asyncio


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_pytest_asyncio_in_every_mode_and_loop_scope(judged, project, mode, scope):
    project.write("__init__.py", prelude="")
    words, text = judged(
        KEEPER
        + f"""
        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        class TestIt:
            async def test_leaks(self):
                keep(forever(), "poller")

            async def test_awaits(self):
                task = asyncio.create_task(forever())
                task.cancel()
                await asyncio.wait([task])

            async def test_comes_last(self):
                await asyncio.sleep(0)
    """,
        "-o",
        f"asyncio_mode={mode}",
    )
    assert words == {
        "TestIt::test_leaks": "FAILED",
        "TestIt::test_awaits": "PASSED",
        "TestIt::test_comes_last": "PASSED",
    }
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_an_async_fixture_of_every_scope_that_leaks_is_named(judged, project, mode, scope):
    project.write("__init__.py", prelude="")
    words, text = judged(
        KEEPER
        + f"""
        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        @pytest_asyncio.fixture(scope="{scope}", loop_scope="{scope}")
        async def server():
            keep(forever(), "acceptor")
            yield

        class TestIt:
            async def test_before(self):
                pass

            async def test_uses_it(self, server):
                pass
    """,
        "-o",
        f"asyncio_mode={mode}",
    )
    own, label = ("FAILED", "") if scope == "function" else ("PASSED+ERROR", f" ({scope} scope)")
    assert words == {"TestIt::test_before": "PASSED", "TestIt::test_uses_it": own}
    assert f"1 task outlived fixture `server`{label}: task 'acceptor', forever, waits on" in text
    assert ONE in text


@pytest.mark.parametrize("scope", SCOPES)
def test_an_async_fixture_of_every_scope_that_cleans_up_is_clean(judged, project, scope):
    project.write("__init__.py", prelude="")
    words, text = judged(f"""
        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        @pytest_asyncio.fixture(scope="{scope}", loop_scope="{scope}")
        async def server():
            task = asyncio.create_task(forever())
            yield task
            task.cancel()
            await asyncio.wait([task])

        class TestIt:
            async def test_first(self, server):
                assert not server.done()

            async def test_second(self, server):
                assert not server.done()
    """)
    assert words == {"TestIt::test_first": "PASSED", "TestIt::test_second": "PASSED"}
    assert QUIET not in text


@pytest.mark.parametrize("scope", SCOPES)
def test_a_sync_fixture_of_every_scope_that_leaks_is_named(judged, project, scope):
    project.write("__init__.py", prelude="")
    words, text = judged(f"""
        @pytest.fixture(scope="{scope}")
        def loop():
            loop = asyncio.new_event_loop()
            task = loop.create_task(forever(), name="acceptor")
            yield loop
            loop.close()

        class TestIt:
            def test_before(self):
                pass

            def test_uses_it(self, loop):
                loop.run_until_complete(asyncio.sleep(0))
    """)
    own, label = ("FAILED", "") if scope == "function" else ("PASSED+ERROR", f" ({scope} scope)")
    assert words == {"TestIt::test_before": "PASSED", "TestIt::test_uses_it": own}
    assert f"1 task outlived fixture `loop`{label}: task 'acceptor', forever" in text
    assert ONE in text


def test_strict_mode_leaves_other_peoples_coroutines_alone(judged):
    words, text = judged(
        KEEPER
        + """
        @pytest.mark.asyncio
        async def test_leaks():
            keep(forever(), "poller")

        def test_is_sync():
            pass
    """,
        *STRICT,
    )
    assert words == {"test_leaks": "FAILED", "test_is_sync": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


# -- anyio's plugin


ANYIO = (
    KEEPER
    + """
        import anyio

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

"""
)


@pytest.mark.parametrize("how", [ALONE, STRICT], ids=["alone", "beside pytest-asyncio"])
def test_a_test_of_anyios_plugin(judged, how):
    words, text = judged(
        ANYIO
        + """
        async def test_leaks():
            keep(forever(), "poller")

        async def test_is_clean():
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 0)
    """,
        *how,
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


def test_a_fixture_of_anyios_plugin_is_named(judged):
    words, text = judged(
        ANYIO
        + """
        @pytest.fixture
        async def server():
            keep(forever(), "acceptor")
            yield

        @pytest.fixture
        async def tidy():
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                yield
                group.cancel_scope.cancel()

        async def test_uses_it(server):
            pass

        async def test_uses_another(tidy):
            await anyio.sleep(0)
    """,
        *ALONE,
    )
    assert words == {"test_uses_it": "FAILED", "test_uses_another": "PASSED"}
    assert "1 task outlived fixture `server`: task 'acceptor', forever, waits on `Event.wait`" in text
    assert ONE in text


MODULE_ANYIO = (
    KEEPER
    + """
        pytestmark = pytest.mark.anyio

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio"

"""
)


def test_a_test_leaks_into_a_module_wide_loop_of_anyios_plugin(judged):
    words, text = judged(
        MODULE_ANYIO
        + """
        @pytest.fixture(scope="module", autouse=True)
        async def keeps_the_loop():
            yield

        async def test_first():
            pass

        async def test_leaks():
            keep(forever(), "poller")

        async def test_comes_after():
            assert not KEPT[0].done()
    """,
        *ALONE,
    )
    assert words == {"test_first": "PASSED", "test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


def test_a_module_fixture_of_anyios_plugin_owns_its_task_until_it_ends(judged):
    words, text = judged(
        MODULE_ANYIO
        + """
        @pytest.fixture(scope="module")
        async def tidy():
            task = asyncio.create_task(forever())
            yield
            task.cancel()
            await asyncio.wait([task])

        @pytest.fixture(scope="module")
        async def server(tidy):
            keep(forever(), "acceptor")
            yield

        async def test_first(server):
            pass

        async def test_second(server):
            assert not KEPT[0].done()
    """,
        *ALONE,
    )
    assert words == {"test_first": "PASSED", "test_second": "PASSED+ERROR"}
    assert "1 task outlived fixture `server` (module scope): task 'acceptor', forever" in text
    assert ONE in text


def test_anyios_worker_threads_and_processes_are_infrastructure(judged):
    words, text = judged(
        ANYIO
        + """
        import anyio.to_process
        import anyio.to_thread

        async def test_uses_a_thread():
            assert await anyio.to_thread.run_sync(int, "5") == 5

        async def test_uses_a_process():
            assert await anyio.to_process.run_sync(int, "5") == 5
    """,
        *ALONE,
        *("-p", "anyio.pytest_plugin"),
        apart=True,
    )
    assert words == {"test_uses_a_thread": "PASSED", "test_uses_a_process": "PASSED"}
    assert QUIET not in text


# -- aiohttp's own plugin


AIOHTTP = (
    KEEPER
    + """
        from aiohttp import web

        async def hello(request):
            return web.Response(text="hello")

        async def starts_a_task(request):
            keep(forever(), "audit")
            return web.Response(text="hello")

        def app(handler):
            app = web.Application()
            app.router.add_get("/", handler)
            return app

"""
)

AIOHTTP_ARGS = (
    "-p",
    "aiohttp.pytest_plugin",
    *ALONE,
    "-p",
    "no:anyio",
    "-W",
    "ignore::DeprecationWarning",
)


def test_the_client_and_server_of_aiohttps_plugin_used_properly_are_clean(judged):
    pytest.importorskip("aiohttp", reason="aiohttp has no release for this interpreter")
    words, text = judged(
        AIOHTTP
        + """
        async def test_asks(aiohttp_client):
            client = await aiohttp_client(app(hello))
            for _ in range(2):
                answer = await client.get("/")
                assert await answer.text() == "hello"
    """,
        *AIOHTTP_ARGS,
    )
    assert words == {"test_asks[pyloop]": "PASSED"}
    assert QUIET not in text


def test_a_handler_that_leaves_a_task_fails_the_test_that_made_its_server(judged):
    pytest.importorskip("aiohttp", reason="aiohttp has no release for this interpreter")
    words, text = judged(
        AIOHTTP
        + """
        async def test_asks(aiohttp_client):
            client = await aiohttp_client(app(starts_a_task))
            answer = await client.get("/")
            assert await answer.text() == "hello"

        async def test_is_clean(aiohttp_client):
            client = await aiohttp_client(app(hello))
            answer = await client.get("/")
            assert await answer.text() == "hello"
    """,
        *AIOHTTP_ARGS,
    )
    assert words == {"test_asks[pyloop]": "FAILED", "test_is_clean[pyloop]": "PASSED"}
    assert "1 task outlived `test_asks[pyloop]`: task 'audit', forever, waits on `Event.wait`" in text
    assert ONE in text


def test_a_test_and_a_fixture_of_aiohttps_plugin(judged):
    pytest.importorskip("aiohttp", reason="aiohttp has no release for this interpreter")
    words, text = judged(
        AIOHTTP
        + """
        @pytest.fixture
        async def worker(loop):
            keep(forever(), "worker")
            yield

        async def test_leaks(loop):
            keep(forever(), "poller")

        async def test_uses_it(worker):
            pass

        async def test_without_a_loop_of_its_own():
            await asyncio.sleep(0)
    """,
        *AIOHTTP_ARGS,
    )
    assert words == {
        "test_leaks[pyloop]": "FAILED",
        "test_uses_it[pyloop]": "FAILED",
        "test_without_a_loop_of_its_own": "PASSED",
    }
    assert "1 task outlived `test_leaks[pyloop]`: task 'poller', forever" in text
    assert "1 task outlived fixture `worker`: task 'worker', forever" in text
    assert "2 leaked tasks in 2 tests" in text


def test_aiohttps_client_and_server_under_pytest_asyncio_are_clean(judged):
    pytest.importorskip("aiohttp", reason="aiohttp has no release for this interpreter")
    words, text = judged(
        AIOHTTP
        + """
        from aiohttp.test_utils import TestClient, TestServer

        async def test_asks():
            async with TestClient(TestServer(app(hello))) as client:
                answer = await client.get("/")
                assert await answer.text() == "hello"
    """
    )
    assert words == {"test_asks": "PASSED"}
    assert QUIET not in text


# -- unittest, sync tests, hand-made loops


def test_isolated_asyncio_test_case(judged):
    words, text = judged(
        KEEPER
        + """
        import unittest

        class TestIt(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                self.task = asyncio.create_task(forever())

            async def asyncTearDown(self):
                self.task.cancel()
                await asyncio.wait([self.task])

            async def test_a_leak(self):
                keep(forever(), "poller")

            async def test_clean(self):
                await asyncio.sleep(0)

            async def test_cleanup(self):
                task = asyncio.create_task(forever())
                self.addAsyncCleanup(asyncio.wait, [task])
                self.addCleanup(task.cancel)
    """
    )
    assert words == {
        "TestIt::test_a_leak": "FAILED",
        "TestIt::test_clean": "PASSED",
        "TestIt::test_cleanup": "PASSED",
    }
    assert "1 task outlived `test_a_leak`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


def test_a_runner_of_a_sync_test(judged):
    words, text = judged(
        KEEPER
        + """
        async def leave():
            keep(forever(), "poller")
            await asyncio.sleep(0)

        def test_leaks():
            with asyncio.Runner() as runner:
                runner.run(leave())
                runner.run(asyncio.sleep(0))

        def test_is_clean():
            with asyncio.Runner() as runner:
                runner.run(asyncio.sleep(0))

        def test_never_used():
            asyncio.Runner().close()
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED", "test_never_used": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


def test_asyncio_run_in_a_sync_fixture_names_the_fixture(judged):
    words, text = judged(
        KEEPER
        + """
        async def leave():
            keep(forever(), "poller")
            await asyncio.sleep(0)

        @pytest.fixture
        def prepared():
            asyncio.run(leave())

        def test_uses_it(prepared):
            pass

        def test_does_without():
            pass
    """
    )
    assert words == {"test_uses_it": "FAILED", "test_does_without": "PASSED"}
    assert "1 task outlived fixture `prepared`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


def test_a_coroutine_never_run_by_its_hand_made_loop_is_a_leak(judged):
    words, text = judged("""
        LOOPS = []

        def test_leaks():
            loop = asyncio.new_event_loop()
            LOOPS.append((loop, loop.create_task(forever(), name="poller")))

        def test_comes_after():
            LOOPS[0][0].close()
    """)
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert ONE in text


def test_run_until_complete_on_a_loop_made_in_setup_method(judged):
    words, text = judged("""
        class TestIt:
            def setup_method(self):
                self.loop = asyncio.new_event_loop()

            def teardown_method(self):
                self.loop.close()

            def test_leaks(self):
                self.task = self.loop.create_task(forever(), name="poller")
                self.loop.run_until_complete(asyncio.sleep(0))

            def test_is_clean(self):
                self.loop.run_until_complete(asyncio.sleep(0))
    """)
    assert words == {"TestIt::test_leaks": "FAILED", "TestIt::test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert ONE in text


# -- threads


def test_an_asyncio_run_in_a_thread_pool_is_its_tests(judged):
    words, text = judged(
        KEEPER
        + """
        from concurrent.futures import ThreadPoolExecutor

        async def leave():
            keep(forever(), "poller")
            await asyncio.sleep(0)

        def test_leaks():
            with ThreadPoolExecutor(1) as executor:
                executor.submit(asyncio.run, leave()).result()

        def test_is_clean():
            with ThreadPoolExecutor(1) as executor:
                executor.submit(asyncio.run, asyncio.sleep(0)).result()
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


def test_an_async_test_that_runs_another_loop_in_a_thread(judged):
    words, text = judged(
        KEEPER
        + """
        async def leave():
            keep(forever(), "poller")
            await asyncio.sleep(0)

        async def test_leaks():
            await asyncio.to_thread(asyncio.run, leave())

        async def test_is_clean():
            await asyncio.to_thread(asyncio.run, asyncio.sleep(0))
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


# -- uvloop


def uvloop_or_skip():
    pytest.importorskip("uvloop", reason="uvloop has no release for this interpreter or system")


def test_uvloop_run(judged):
    uvloop_or_skip()
    words, text = judged(
        KEEPER
        + """
        import uvloop

        async def leave():
            keep(forever(), "poller")
            await asyncio.sleep(0)

        def test_leaks():
            uvloop.run(leave())

        def test_is_clean():
            uvloop.run(asyncio.sleep(0))
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


@pytest.mark.parametrize("how", ["policy", "factory"])
@pytest.mark.parametrize("scope", ["function", "module"])
def test_uvloop_under_pytest_asyncio(judged, project, scope, how):
    uvloop_or_skip()
    if how == "policy":
        arrange = "return uvloop.EventLoopPolicy()"
    else:
        project.write(
            "conftest.py",
            """
            import uvloop

            def pytest_asyncio_loop_factories(config, item):
                return {"uvloop": uvloop.new_event_loop}
            """,
        )
        arrange = "return None"
    fixture = "event_loop_policy" if how == "policy" else "unused"
    words, text = judged(
        KEEPER
        + f"""
        import uvloop

        @pytest.fixture(scope="session")
        def {fixture}():
            {arrange}

        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        @pytest_asyncio.fixture(loop_scope="{scope}")
        async def server():
            keep(forever(), "acceptor")
            yield

        async def test_leaks():
            assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
            keep(forever(), "poller")

        async def test_uses_it(server):
            pass

        async def test_is_clean():
            task = asyncio.create_task(forever())
            task.cancel()
            await asyncio.wait([task])
    """,
        "-W",
        "ignore::DeprecationWarning",
    )
    assert words == {"test_leaks": "FAILED", "test_uses_it": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert "1 task outlived fixture `server`: task 'acceptor', forever, waits on `Event.wait`" in text
    assert "2 leaked tasks in 2 tests" in text


def test_a_hand_made_uvloop_loop_closed_or_left_open(judged):
    uvloop_or_skip()
    words, text = judged("""
        import uvloop

        KEPT = []

        def run(name):
            loop = uvloop.new_event_loop()
            KEPT.append((loop, loop.create_task(forever(), name=name)))
            loop.run_until_complete(asyncio.sleep(0))
            return loop

        def test_closes():
            run("closed").close()

        def test_leaves_open():
            run("open")

        def test_comes_after():
            for loop, _ in KEPT:
                loop.close()

        def test_is_clean():
            loop = uvloop.new_event_loop()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
    """)
    assert words == {
        "test_closes": "FAILED",
        "test_leaves_open": "FAILED",
        "test_comes_after": "PASSED",
        "test_is_clean": "PASSED",
    }
    assert "1 task outlived `test_closes`: task 'closed', forever" in text
    assert "1 task outlived `test_leaves_open`: task 'open', forever" in text
    assert "2 leaked tasks in 2 tests" in text


def test_a_lost_exception_on_uvloop(judged):
    uvloop_or_skip()
    words, text = judged("""
        import uvloop

        async def fails():
            raise ValueError("lost")

        async def main():
            asyncio.create_task(fails(), name="job")
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        def test_loses_it():
            uvloop.run(main())

        def test_is_clean():
            uvloop.run(asyncio.sleep(0))
    """)
    assert words == {"test_loses_it": "FAILED", "test_is_clean": "PASSED"}
    assert "outlived `test_loses_it`: task 'job', fails, its exception was never retrieved" in text


# -- task factories and kinds of tasks


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.eager_task_factory is new in 3.12")
def test_eager_tasks(judged):
    words, text = judged(
        KEEPER
        + """
        @pytest.fixture(autouse=True)
        async def eager():
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)

        async def starts_another():
            keep(forever(), "child")

        async def test_leaks():
            keep(forever(), "poller")

        async def test_leaks_a_child():
            await asyncio.create_task(starts_another())

        async def test_is_clean():
            task = asyncio.create_task(asyncio.sleep(0))
            await task
            await asyncio.create_task(starts_nothing())

        async def starts_nothing():
            pass
    """
    )
    assert words == {"test_leaks": "FAILED", "test_leaks_a_child": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert "1 task outlived `test_leaks_a_child`: task 'child', forever, waits on `Event.wait`" in text
    assert "2 leaked tasks in 2 tests" in text


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager_start is new in 3.12")
def test_an_eager_task_built_directly_has_its_owner_from_its_context(judged):
    words, text = judged(
        KEEPER
        + """
        pytestmark = pytest.mark.asyncio(loop_scope="module")

        async def test_leaks():
            KEPT.append(
                asyncio.Task(forever(), loop=asyncio.get_running_loop(), name="poller", eager_start=True)
            )

        async def test_comes_after():
            pass
    """
    )
    assert words == {"test_leaks": "FAILED", "test_comes_after": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


FACTORIES = {
    "old style": """
        def factory(loop, coro):
            MADE.append(coro.__qualname__)
            return asyncio.Task(coro, loop=loop)
    """,
    "context named": """
        def factory(loop, coro, context=None):
            MADE.append(coro.__qualname__)
            return asyncio.Task(coro, loop=loop, context=context)
    """,
    "any keyword": """
        def factory(loop, coro, **kwargs):
            MADE.append(coro.__qualname__)
            return asyncio.Task(coro, loop=loop, **kwargs)
    """,
    "task subclass": """
        class Traced(asyncio.Task):
            def __init__(self, coro, **kwargs):
                MADE.append(coro.__qualname__)
                super().__init__(coro, **kwargs)

        def factory(loop, coro, **kwargs):
            return Traced(coro, loop=loop, **kwargs)
    """,
    "task subclass with slots": """
        class Slotted(asyncio.tasks._PyTask):
            __slots__ = ()

        def factory(loop, coro, **kwargs):
            MADE.append(coro.__qualname__)
            return Slotted(coro, loop=loop, **kwargs)
    """,
}


@pytest.mark.parametrize("scope", ["function", "module"])
@pytest.mark.parametrize("style", FACTORIES)
def test_a_task_factory_of_the_users_own(judged, style, scope):
    words, text = judged(
        """
        MADE = []
        KEPT = []
"""
        + FACTORIES[style]
        + f"""
        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        async def test_leaks():
            asyncio.get_running_loop().set_task_factory(factory)
            KEPT.append(asyncio.create_task(forever()))
            # A runner gives a context, which a factory of the old style does not take.
            asyncio.get_running_loop().set_task_factory(None)
            assert MADE == ["forever"]

        async def test_is_clean():
            asyncio.get_running_loop().set_task_factory(factory)
            await asyncio.create_task(asyncio.sleep(0))
            asyncio.get_running_loop().set_task_factory(None)
            assert MADE == ["forever", "sleep"]
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task forever, waits on `Event.wait`" in text
    assert "KEPT.append(asyncio.create_task(forever()))" in text
    assert ONE in text


def test_a_task_built_directly_on_a_function_loop(judged):
    words, text = judged(
        KEEPER
        + """
        async def test_leaks():
            KEPT.append(asyncio.Task(forever(), name="poller"))
            await asyncio.sleep(0)

        async def test_is_clean():
            await asyncio.Task(asyncio.sleep(0))
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a task tells its context since 3.12")
def test_a_task_built_directly_on_a_module_loop(judged):
    words, text = judged(
        KEEPER
        + """
        pytestmark = pytest.mark.asyncio(loop_scope="module")

        async def test_leaks():
            KEPT.append(asyncio.Task(forever(), name="poller"))
            await asyncio.sleep(0)

        async def test_is_clean():
            await asyncio.Task(asyncio.sleep(0))
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


@pytest.mark.parametrize("call", ["asyncio.ensure_future(forever())", "loop.create_task(forever())"])
def test_other_ways_to_start_a_task(judged, call):
    words, text = judged(
        KEEPER
        + f"""
        async def test_leaks():
            loop = asyncio.get_running_loop()
            KEPT.append({call})
            await asyncio.sleep(0)

        async def test_is_clean():
            await asyncio.ensure_future(asyncio.sleep(0))
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task forever, waits on `Event.wait`" in text
    assert f"KEPT.append({call})" in text
    assert ONE in text


# -- kinds of tests


def test_methods_of_a_class_and_its_setup(judged):
    words, text = judged(
        KEEPER
        + """
        class TestOuter:
            @pytest.fixture
            async def server(self):
                keep(forever(), "acceptor")
                yield

            async def test_leaks(self):
                keep(forever(), "poller")

            class TestInner:
                async def test_leaks(self):
                    keep(forever(), "inner")

                async def test_is_clean(self):
                    pass

            async def test_uses_it(self, server):
                pass
    """
    )
    assert words == {
        "TestOuter::test_leaks": "FAILED",
        "TestOuter::TestInner::test_leaks": "FAILED",
        "TestOuter::TestInner::test_is_clean": "PASSED",
        "TestOuter::test_uses_it": "FAILED",
    }
    assert "1 task outlived `test_leaks`: task 'poller', forever" in text
    assert "1 task outlived `test_leaks`: task 'inner', forever" in text
    assert "1 task outlived fixture `server`: task 'acceptor', forever" in text
    assert "3 leaked tasks in 3 tests" in text


@pytest.mark.parametrize("scope", ["function", "module"])
def test_only_the_parameters_that_leak_fail(judged, scope):
    words, text = judged(
        KEEPER
        + f"""
        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        @pytest.mark.parametrize("number", range(4))
        async def test_it(number):
            if number % 2:
                keep(forever(), f"poller {{number}}")
    """
    )
    assert words == {
        "test_it[0]": "PASSED",
        "test_it[1]": "FAILED",
        "test_it[2]": "PASSED",
        "test_it[3]": "FAILED",
    }
    assert "1 task outlived `test_it[1]`: task 'poller 1', forever" in text
    assert "1 task outlived `test_it[3]`: task 'poller 3', forever" in text
    assert "1 cause, 2 leaked tasks in 2 tests" in text


def test_only_the_fixture_parameters_that_leak_fail(judged):
    words, text = judged(
        KEEPER
        + """
        @pytest_asyncio.fixture(params=["tidy", "leaky"])
        async def server(request):
            if request.param == "leaky":
                keep(forever(), "acceptor")
            yield

        async def test_it(server):
            pass
    """
    )
    assert words == {"test_it[tidy]": "PASSED", "test_it[leaky]": "FAILED"}
    assert "1 task outlived fixture `server`: task 'acceptor', forever" in text
    assert ONE in text


@pytest.mark.parametrize("scope", ["function", "module"])
def test_a_hypothesis_test_is_judged_once_for_all_its_examples(judged, scope):
    words, text = judged(
        KEEPER
        + f"""
        from hypothesis import given, settings, strategies

        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        @settings(max_examples=5, database=None, derandomize=True, deadline=None)
        @given(strategies.integers())
        async def test_leaks(number):
            if not KEPT:
                keep(forever(), "poller")
            await asyncio.sleep(0)

        @settings(max_examples=5, database=None, derandomize=True, deadline=None)
        @given(strategies.integers())
        async def test_is_clean(number):
            await asyncio.create_task(asyncio.sleep(0))
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text


def test_a_leak_of_every_example_is_one_cause(judged):
    words, text = judged(
        KEEPER
        + """
        from hypothesis import given, settings, strategies

        @settings(max_examples=5, database=None, derandomize=True, deadline=None)
        @given(strategies.sampled_from("abcde"))
        async def test_leaks(letter):
            keep(forever(), "poller")

        async def test_is_clean():
            pass
    """
    )
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "5 tasks outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert "1 cause, 5 leaked tasks in 1 test" in text


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="subtests are built into pytest since 9.0")
def test_a_task_of_a_subtest_is_its_tests(project):
    project.write(
        source="""
        KEPT = []

        async def test_leaks(subtests):
            for number in range(3):
                with subtests.test(number=number):
                    if number == 1:
                        KEPT.append(asyncio.create_task(forever(), name="poller"))

        async def test_is_clean(subtests):
            for number in range(3):
                with subtests.test(number=number):
                    await asyncio.create_task(asyncio.sleep(0))
    """
    )
    result = project.run("-rA")
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] == 1
    assert outcomes["passed"] == 1
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_leaks - *1 task outlived `test_leaks`*"])
    result.stdout.fnmatch_lines(["PASSED test_it.py::test_is_clean"])
    assert ONE in result.stdout.str()


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="subtests are built into pytest since 9.0")
def test_a_failing_subtest_keeps_its_failure_beside_the_leak(project):
    project.write(
        source="""
        KEPT = []

        async def test_leaks(subtests):
            with subtests.test(number=1):
                assert 1 == 2
            with subtests.test(number=2):
                KEPT.append(asyncio.create_task(forever(), name="poller"))
    """
    )
    result = project.run("-rA")
    text = result.stdout.str()
    assert "           assert 1 == 2" in text
    assert "SUBFAILED(number=1) test_it.py::test_leaks" in text
    assert "1 cause, 1 leaked task in 1 test" in text
    assert "task 'poller', forever" in text
    assert result.ret == pytest.ExitCode.TESTS_FAILED


# -- untouched: trio and sync tests


ORDER = """
        order = []

        def pytest_runtest_logreport(report):
            order.append(f"{report.when} reported")

        def pytest_runtest_teardown(item):
            order.append("teardown")

        def pytest_terminal_summary(terminalreporter):
            terminalreporter.line("order: " + ", ".join(order))
"""
AS_EVER = "order: setup reported, call reported, teardown, teardown reported"


def test_a_sync_test_is_untouched(judged, project):
    project.write("conftest.py", ORDER)
    words, text = judged("""
        def test_it():
            assert not hasattr(asyncio.BaseEventLoop.create_task, "nothing")
    """)
    assert words == {"test_it": "PASSED"}
    assert AS_EVER in text
    assert QUIET not in text


def test_the_report_of_a_test_that_made_a_task_is_held_back_until_its_teardown_is_over(judged, project):
    """What the tests beside this one rely on: the order tells whether a report was held back."""
    project.write("conftest.py", ORDER)
    words, text = judged("""
        async def test_it():
            await asyncio.create_task(asyncio.sleep(0))
    """)
    assert words == {"test_it": "PASSED"}
    assert "order: setup reported, teardown, call reported, teardown reported" in text
    assert QUIET not in text


def test_a_test_of_pytest_trio_is_untouched(judged, project):
    pytest.importorskip("pytest_trio", reason="pytest-trio has no release for this interpreter")
    project.write("conftest.py", ORDER)
    words, text = judged(
        """
        import trio

        @pytest.fixture
        async def server(nursery):
            nursery.start_soon(trio.sleep_forever)

        @pytest.mark.trio
        async def test_it(server):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0)
    """,
        *STRICT,
        "-p",
        "no:anyio",
    )
    assert words == {"test_it": "PASSED"}
    assert AS_EVER in text
    assert QUIET not in text


def test_a_test_on_anyios_trio_backend_is_untouched(judged, project):
    project.write("conftest.py", ORDER)
    words, text = judged(
        """
        import anyio

        @pytest.fixture
        def anyio_backend():
            return "trio"

        @pytest.fixture
        async def server():
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                yield
                group.cancel_scope.cancel()

        @pytest.mark.anyio
        async def test_it(server):
            await anyio.sleep(0)
    """,
        *ALONE,
    )
    assert words == {"test_it": "PASSED"}
    assert AS_EVER in text
    assert QUIET not in text


def test_trio_tests_beside_asyncio_tests_keep_their_outcome(judged):
    words, text = judged(
        KEEPER
        + """
        import trio

        @pytest.mark.asyncio
        async def test_leaks():
            keep(forever(), "poller")

        @pytest.mark.trio
        async def test_on_trio():
            await trio.sleep(0)
    """,
        *STRICT,
    )
    assert words == {"test_leaks": "FAILED", "test_on_trio": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
    assert ONE in text
