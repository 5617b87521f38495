"""Errors that nobody hears and coroutines that nobody awaits: whose leak they are, and what is left to the user."""

from __future__ import annotations

import gc
import warnings

import pytest

pytestmark = pytest.mark.filterwarnings("default")  # a run inside this one inherits what is asked for here

QUIET = "outlived"
"""The word that every report of a leak has, and that a clean run never shows."""

WARNED = "was never awaited"
"""What the interpreter's own warning says; a leak is "never awaited"."""

LOOPS = pytest.mark.parametrize("runner", ["asyncio", "uvloop"])

FETCH = """\
import asyncio
import gc
import warnings

import pytest
import pytest_asyncio
import uvloop


async def fetch():
    pass


def boom():
    raise ValueError("nobody hears this")


async def turn():
    await asyncio.sleep(0)
    await asyncio.sleep(0)


"""


@pytest.fixture(autouse=True)
def nothing_is_left_for_other_tests():
    """What nobody awaited in a cycle is collected here, and warned of to nobody, not while another test looks."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
def seen(judged):
    """As `judged`, with `fetch()`, `boom()` and `turn()` in the test file."""

    def seen(source, *args, apart=False):
        return judged(source, *args, apart=apart, prelude=FETCH)

    return seen


# -- an exception in a bare future


@LOOPS
def test_a_futures_exception_that_nobody_retrieves_fails_who_made_the_future(seen, runner):
    words, text = seen(f"""
        async def lose():
            future = asyncio.get_running_loop().create_future()
            future.set_exception(ValueError("nobody hears this"))

        def test_loses_it():
            {runner}.run(lose())

        def test_comes_after():
            {runner}.run(turn())
    """)
    assert words == {"test_loses_it": "FAILED", "test_comes_after": "PASSED"}
    assert "1 future outlived `test_loses_it`: future made in lose, its exception was never retrieved" in text
    assert "(ValueError: nobody hears this)" in text.replace("\n    ", " ")
    assert "1 cause, 1 leaked future in 1 test" in text


def test_a_futures_exception_shows_where_it_was_raised(seen):
    words, text = seen("""
        async def test_loses_it():
            future = asyncio.get_running_loop().create_future()
            try:
                boom()
            except ValueError as error:
                future.set_exception(error)
            del future
    """)
    assert words == {"test_loses_it": "FAILED"}
    assert "in boom" in text
    assert "made in test_loses_it" in text


def test_a_futures_exception_that_is_retrieved_is_no_leak(seen):
    words, text = seen("""
        async def test_awaits_it():
            future = asyncio.get_running_loop().create_future()
            future.set_exception(ValueError("heard"))
            with pytest.raises(ValueError):
                await future

        async def test_looks_at_it():
            future = asyncio.get_running_loop().create_future()
            future.add_done_callback(lambda future: future.exception())
            future.set_exception(ValueError("heard"))
            await turn()
    """)
    assert words == {"test_awaits_it": "PASSED", "test_looks_at_it": "PASSED"}
    assert QUIET not in text


def test_a_futures_exception_is_found_however_many_futures_came_after_it(seen):
    words, text = seen("""
        async def test_loses_it():
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            future.set_exception(ValueError("nobody hears this"))
            for _ in range(2_000):
                loop.create_future().set_result(None)
    """)
    assert words == {"test_loses_it": "FAILED"}
    assert "1 future outlived `test_loses_it`: future made in test_loses_it" in text


def test_a_futures_exception_lost_during_a_later_test_is_its_makers(seen):
    words, text = seen("""
        kept = []

        async def test_loses_it():
            future = asyncio.get_running_loop().create_future()
            future.set_exception(ValueError("nobody hears this"))
            kept.append(future)

        async def test_comes_after():
            kept.clear()
    """)
    assert words == {"test_loses_it": "PASSED+ERROR", "test_comes_after": "PASSED"}
    assert "1 future outlived `test_loses_it`" in text


@pytest.mark.parametrize("kinds", ["errors", "futures"])
def test_futures_are_followed_for_their_errors_alone(seen, kinds):
    words, _ = seen(
        """
        kept = []

        async def test_leaves_one_pending():
            kept.append(asyncio.get_running_loop().create_future())

        async def test_loses_an_exception():
            asyncio.get_running_loop().create_future().set_exception(ValueError("nobody hears this"))
        """,
        f"--taskleak-kinds={kinds}",
    )
    assert words == {
        "test_leaves_one_pending": "FAILED" if kinds == "futures" else "PASSED",
        "test_loses_an_exception": "FAILED" if kinds == "errors" else "PASSED",
    }


def test_a_future_that_nobody_saw_made_is_told_in_strict_mode_only(seen):
    source = """
        async def test_loses_it():
            asyncio.Future().set_exception(ValueError("nobody hears this"))
    """
    words, text = seen(source)
    assert words == {"test_loses_it": "PASSED"}
    assert QUIET not in text
    words, text = seen(source, "--taskleak-strict")
    assert words == {"test_loses_it": "PASSED"}
    assert "future made in unknown outlived an owner that nobody knows" in text.replace("\n", " ")


# -- an exception in what a loop calls


@LOOPS
@pytest.mark.parametrize("how", ["call_soon(boom)", "call_later(0, boom)", "call_soon_threadsafe(boom)"])
def test_an_exception_in_a_callback_fails_who_scheduled_it(seen, runner, how):
    words, text = seen(f"""
        async def schedule():
            asyncio.get_running_loop().{how}
            await asyncio.sleep(0.001)

        def test_schedules_it():
            {runner}.run(schedule())

        def test_comes_after():
            {runner}.run(turn())
    """)
    assert words == {"test_schedules_it": "FAILED", "test_comes_after": "PASSED"}
    assert "1 callback outlived `test_schedules_it`: callback boom, its exception was never handled" in text
    assert "in boom" in text


@LOOPS
def test_an_exception_in_a_done_callback_is_lost_too(seen, runner):
    words, text = seen(f"""
        async def schedule():
            task = asyncio.create_task(turn())
            task.add_done_callback(lambda task: boom())
            await task
            await turn()

        def test_schedules_it():
            {runner}.run(schedule())
    """)
    assert words == {"test_schedules_it": "FAILED"}
    assert "schedule.<locals>.<lambda>, its exception was never handled" in text


@LOOPS
def test_an_exception_in_a_protocols_method_is_lost_too(seen, runner):
    words, text = seen(f"""
        class Echo(asyncio.Protocol):
            def data_received(self, data):
                boom()

            def connection_lost(self, error):
                self.lost.set_result(None)

        async def serve():
            loop = asyncio.get_running_loop()
            echo = Echo()
            echo.lost = loop.create_future()
            server = await loop.create_server(lambda: echo, "127.0.0.1", 0)
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello")
            await echo.lost
            writer.close()
            server.close()
            await server.wait_closed()

        def test_serves():
            {runner}.run(serve())
    """)
    assert words == {"test_serves": "FAILED"}
    assert "callback Echo.data_received, its exception was never handled" in text


@LOOPS
def test_an_exception_in_a_servers_handler_is_lost_too(seen, runner):
    words, text = seen(f"""
        async def handle(reader, writer):
            boom()

        async def serve():
            server = await asyncio.start_server(handle, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            try:
                assert await reader.read() == b""
            except ConnectionError:
                pass
            writer.close()
            server.close()
            await server.wait_closed()

        def test_serves():
            {runner}.run(serve())
    """)
    assert words["test_serves"] == "FAILED"
    assert "callback handle, its exception was never handled" in text


@LOOPS
def test_an_exception_in_an_async_generator_that_the_loop_closes_is_lost_too(seen, runner):
    words, text = seen(f"""
        kept = []

        async def numbers():
            try:
                yield 1
            finally:
                boom()

        async def begin():
            kept.append(numbers())
            await anext(kept[0])

        def test_leaves_it():
            {runner}.run(begin())

        def test_comes_after():
            kept.clear()
    """)
    assert words == {"test_leaves_it": "FAILED", "test_comes_after": "PASSED"}
    assert "1 callback outlived `test_leaves_it`: callback numbers, its exception was never handled" in text


def test_an_exception_in_a_callback_during_a_later_test_is_told_of_who_scheduled_it(seen):
    words, text = seen("""
        pytestmark = pytest.mark.asyncio(loop_scope="module")
        begin = []

        async def test_schedules_it():
            begin.append(asyncio.get_running_loop().create_future())
            begin[0].add_done_callback(lambda future: boom())

        async def test_comes_after():
            begin[0].set_result(None)
            await turn()
    """)
    assert words["test_comes_after"] == "PASSED"
    assert "`test_schedules_it`: callback test_schedules_it.<locals>.<lambda>" in text


def test_an_exception_in_a_callback_that_the_users_handler_gets_is_no_leak(seen):
    words, text = seen("""
        async def test_handles_it():
            heard = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: heard.append(context["exception"]))
            loop.call_soon(boom)
            loop.create_future().set_exception(ValueError("heard"))
            await turn()
            assert len(heard) == 2
    """)
    assert words == {"test_handles_it": "PASSED"}
    assert QUIET not in text


COMPLAINS = """
    async def test_complains():
        try:
            boom()
        except ValueError as error:
            context = {{"message": {message!r}, "exception": error}}
        asyncio.get_running_loop().call_exception_handler(context)
"""


def test_a_complaint_of_another_kind_is_told_in_strict_mode_only(seen):
    """It may tell of the network, and others may have heard of it."""
    source = COMPLAINS.format(message="Fatal read error on socket transport")
    words, text = seen(source)
    assert words == {"test_complains": "PASSED"}
    assert QUIET not in text
    words, text = seen(source, "--taskleak-strict")
    assert words == {"test_complains": "FAILED"}


@pytest.mark.parametrize("strict", [[], ["--taskleak-strict"]], ids=["", "strict"])
def test_to_be_cancelled_in_a_callback_is_no_error(seen, strict):
    words, text = seen(
        """
        def cancelled():
            raise asyncio.CancelledError

        async def test_schedules_it():
            asyncio.get_running_loop().call_soon(cancelled)
            await turn()
        """,
        *strict,
    )
    assert words == {"test_schedules_it": "PASSED"}
    assert QUIET not in text


def test_an_exception_in_a_librarys_callback_is_the_librarys_affair(seen, project):
    library = project.pytester.path / "site-packages"
    project.write("site-packages/library.py", "def fails(): raise OSError('their own')", prelude="")
    project.ini(f"pythonpath = {library}")
    words, text = seen("""
        import library

        async def test_calls_it():
            asyncio.get_running_loop().call_soon(library.fails)
            await turn()
    """)
    assert words == {"test_calls_it": "PASSED"}
    assert QUIET not in text


def test_what_asyncio_logs_is_logged_as_ever(seen):
    words, text = seen("""
        async def test_looks_at_the_log(caplog):
            asyncio.get_running_loop().call_soon(boom)
            asyncio.get_running_loop().create_future().set_exception(ValueError("lost"))
            await turn()
            messages = sorted(record.getMessage().split(" ")[0] for record in caplog.records)
            assert messages == ["Exception", "Future"]
    """)
    assert words == {"test_looks_at_the_log": "FAILED"}
    assert "outlived `test_looks_at_the_log`" in text


def test_nothing_of_a_lost_error_is_kept(seen):
    """In a process of its own: the run around it would keep what asyncio logs."""
    words, _ = seen(
        """
        import weakref

        refs = []

        class Payload:
            pass

        class Lost(Exception):
            pass

        def fails(payload):
            raise Lost

        async def test_loses_them():
            loop = asyncio.get_running_loop()
            for _ in range(2):
                payload = Payload()
                refs.append(weakref.ref(payload))
            loop.call_soon(fails, payload)
            error = Lost(payload)
            refs.append(weakref.ref(error))
            future = loop.create_future()
            future.set_exception(error)
            refs.append(weakref.ref(future))
            await turn()

        def test_comes_after():
            gc.collect()
            assert [ref() for ref in refs] == [None] * 4
        """,
        apart=True,
    )
    assert words == {"test_loses_them": "FAILED", "test_comes_after": "PASSED"}


# -- a coroutine that is never awaited


@LOOPS
def test_a_coroutine_that_is_never_awaited_fails_its_test_instead_of_a_warning(seen, runner):
    words, text = seen(f"""
        async def forget():
            fetch()

        def test_forgets():
            {runner}.run(forget())

        def test_comes_after():
            {runner}.run(turn())
    """)
    assert words == {"test_forgets": "FAILED", "test_comes_after": "PASSED"}
    assert "1 coroutine outlived `test_forgets`: coroutine fetch, never awaited" in text
    assert ": in fetch\n    async def fetch():\n" in text
    assert ": in forget\n    fetch()\n" in text.partition("created at\n")[2]
    assert WARNED not in text


@pytest.mark.parametrize(
    "body",
    [
        "kept = fetch()",
        "asyncio.sleep(1)",
        "[fetch() for _ in range(3)]",
        "fetch() if fetch() else None",
        "kept = fetch(); del kept",
        "(lambda: [fetch()])()",
    ],
)
@pytest.mark.parametrize("kind", ["async def", "def"])
def test_a_coroutine_is_missed_wherever_it_went(seen, body, kind):
    words, text = seen(f"""
        {kind} test_forgets():
            {body}
    """)
    assert words == {"test_forgets": "FAILED"}
    assert "outlived `test_forgets`: coroutine " in text
    assert WARNED not in text


IN_A_CYCLE = """
    def forget():
        kept = [fetch()]
        kept.append(kept)

"""


def test_a_coroutine_in_a_cycle_is_found_at_the_end_of_its_test(seen):
    words, text = seen(
        IN_A_CYCLE
        + """
    def test_is_clean():
        pass

    async def test_forgets():
        forget()

    async def test_comes_after():
        gc.collect()
    """
    )
    assert words == {"test_is_clean": "PASSED", "test_forgets": "FAILED", "test_comes_after": "PASSED"}
    assert "1 coroutine outlived `test_forgets`: coroutine fetch, never awaited" in text


def test_a_coroutine_that_a_whole_collection_finds_may_be_of_any_age(seen):
    words, text = seen(
        IN_A_CYCLE
        + """
    async def test_forgets():
        forget()
        gc.collect()
    """
    )
    assert words == {"test_forgets": "PASSED"}
    assert QUIET not in text
    assert WARNED in text


def test_a_coroutine_that_a_fixture_forgets_is_the_fixtures(seen):
    words, text = seen("""
        @pytest_asyncio.fixture
        async def server():
            fetch()
            yield

        async def test_uses_it(server):
            pass
    """)
    assert words == {"test_uses_it": "FAILED"}
    assert "1 coroutine outlived fixture `server`: coroutine fetch, never awaited" in text


def test_a_coroutine_that_asyncio_run_could_not_start_is_missed(seen):
    words, text = seen("""
        async def test_runs_in_a_loop():
            with pytest.raises(RuntimeError):
                asyncio.run(fetch())
    """)
    assert words == {"test_runs_in_a_loop": "FAILED"}
    assert "coroutine fetch, never awaited" in text
    assert WARNED not in text


def test_a_coroutine_that_is_closed_or_awaited_or_a_mocks_is_no_leak(seen):
    words, text = seen("""
        import unittest.mock

        async def test_closes_it():
            fetch().close()

        async def test_awaits_it():
            await asyncio.gather(fetch(), asyncio.create_task(fetch()))

        async def test_awaits_a_mock():
            await unittest.mock.AsyncMock()()

        async def test_forgets_a_mock():
            unittest.mock.AsyncMock()()
    """)
    assert set(words.values()) == {"PASSED"}
    assert QUIET not in text
    assert text.count(WARNED) == 1  # the mock's, as ever


def test_a_librarys_coroutine_is_left_to_the_warning(seen, project):
    library = project.pytester.path / "site-packages"
    project.write("site-packages/library.py", "async def work(): pass\ndef forget(): kept = work()\n", prelude="")
    project.ini(f"pythonpath = {library}")
    words, text = seen("""
        import library

        async def test_calls_it():
            library.forget()
    """)
    assert words == {"test_calls_it": "PASSED"}
    assert QUIET not in text
    assert text.count(WARNED) == 1


# -- whose it is when it is found late


@pytest.mark.parametrize("drop", ["kept.clear()", "del kept[0]", "kept[0] = None"])
def test_a_coroutine_dropped_by_a_later_test_is_not_that_tests(seen, drop):
    """What made it is not known: the interpreter warns, as ever, and strict mode tells of it."""
    source = f"""
        kept = {{}}

        async def test_keeps_it():
            kept[0] = fetch()

        async def test_comes_after():
            {drop}
    """
    words, text = seen(source)
    assert words == {"test_keeps_it": "PASSED", "test_comes_after": "PASSED"}
    assert QUIET not in text
    assert WARNED in text
    words, text = seen(source, "--taskleak-strict")
    assert words == {"test_keeps_it": "PASSED", "test_comes_after": "PASSED"}
    assert "coroutine fetch outlived an owner that nobody knows, never awaited" in text


def test_a_coroutine_collected_during_a_later_test_is_told_of_the_test_that_it_is_defined_in(seen):
    words, text = seen("""
        kept = []

        def test_keeps_it():
            async def job():
                pass

            kept.append([job()])
            kept[0].append(kept[0])

        async def test_comes_after():
            kept.clear()
            gc.collect()
    """)
    assert words == {"test_keeps_it": "PASSED+ERROR", "test_comes_after": "PASSED"}
    assert "1 coroutine outlived `test_keeps_it`: coroutine test_keeps_it.<locals>.job, never awaited" in text
    assert WARNED not in text


def test_a_coroutine_collected_during_a_later_test_is_told_of_where_the_user_tracked_it(seen):
    words, text = seen("""
        import sys

        kept = []

        def test_keeps_it():
            sys.set_coroutine_origin_tracking_depth(2)
            kept.append([fetch()])
            sys.set_coroutine_origin_tracking_depth(0)
            kept[0].append(kept[0])

        async def test_comes_after():
            kept.clear()
            gc.collect()
    """)
    assert words == {"test_keeps_it": "PASSED+ERROR", "test_comes_after": "PASSED"}
    assert "created at\ntest_it.py:30: in test_keeps_it" in text


@pytest.mark.parametrize("again", ["parametrize('number', range(2))", "asyncio"])
def test_a_coroutine_collected_during_a_later_run_of_its_test_is_undecided(seen, again):
    words, text = seen(f"""
        kept = []

        @pytest.mark.{again}
        async def test_keeps_it({"number" if "number" in again else ""}):
            async def job():
                pass

            kept.clear()
            gc.collect()
            kept.append([job()])
            kept[0].append(kept[0])

        async def test_comes_last():
            kept.clear()
            gc.collect()
    """)
    assert "FAILED" not in words.values()
    assert ("outlived" in text) is (again == "asyncio")


def test_a_coroutine_that_a_failed_test_kept_is_not_the_next_tests(seen):
    words, text = seen("""
        def test_fails():
            kept = fetch()
            raise AssertionError

        def test_comes_after():
            gc.collect()

        async def test_comes_last():
            gc.collect()
    """)
    assert words == {"test_fails": "FAILED", "test_comes_after": "PASSED", "test_comes_last": "PASSED"}
    assert QUIET not in text


# -- what is the user's own


@pytest.mark.parametrize(
    "body",
    [
        "with pytest.warns(RuntimeWarning, match='never awaited'): fetch()",
        "with warnings.catch_warnings(record=True) as found: fetch(); assert len(found) == 1",
        "with warnings.catch_warnings(): warnings.simplefilter('ignore'); fetch()",
        "warnings.simplefilter('ignore'); fetch()",
        "warnings.filterwarnings('ignore', 'coroutine .fetch. was never'); fetch()",
        "warnings.filterwarnings('ignore', module='test_it'); fetch()",
    ],
)
def test_warnings_that_the_user_handles_are_no_leak(seen, body):
    words, text = seen(f"""
        async def test_handles_it():
            {body}
    """)
    assert words == {"test_handles_it": "PASSED"}
    assert QUIET not in text
    assert WARNED not in text


def test_a_warning_that_recwarn_hears_is_no_leak(seen):
    words, text = seen("""
        async def test_handles_it(recwarn):
            fetch()
            assert [str(it.message) for it in recwarn] == ["coroutine 'fetch' was never awaited"]
            assert (recwarn[0].filename, recwarn[0].lineno) == (__file__, 25)
    """)
    assert words == {"test_handles_it": "PASSED"}
    assert QUIET not in text


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("mark", "ignore::RuntimeWarning"),
        ("mark", "ignore:coroutine 'fetch'"),
        ("ini", "ignore:coroutine 'fetch' was never awaited:RuntimeWarning"),
        ("line", "ignore::RuntimeWarning"),
    ],
)
def test_a_filter_that_says_ignore_is_obeyed(seen, project, where, text):
    if where == "ini":
        project.ini(f"filterwarnings =\n    {text}")
    mark = f'@pytest.mark.filterwarnings("{text}")' if where == "mark" else "@pytest.mark.asyncio"
    words, out = seen(
        f"""
        {mark}
        async def test_forgets():
            fetch()
        """,
        *([f"-W{text}"] if where == "line" else []),
    )
    assert words == {"test_forgets": "PASSED"}
    assert QUIET not in out
    assert WARNED not in out


def test_where_warnings_are_errors_it_is_a_leak_and_nothing_else(seen):
    words, text = seen(
        """
        async def test_forgets():
            fetch()

        async def test_comes_after():
            pass
        """,
        "-Werror",
    )
    assert words == {"test_forgets": "FAILED", "test_comes_after": "PASSED"}
    assert "coroutine fetch, never awaited" in text
    assert "Unraisable" not in text
    assert WARNED not in text


@pytest.mark.parametrize("how", ["line", "mark"])
@pytest.mark.parametrize("mode", ["warn", "off"])
def test_the_mode_decides_in_which_words_it_is_told(seen, mode, how):
    mark = f"@pytest.mark.taskleak('{mode}')" if how == "mark" else "@pytest.mark.asyncio"
    words, text = seen(
        f"""
        {mark}
        async def test_forgets():
            fetch()
            asyncio.get_running_loop().call_soon(boom)
            await turn()
        """,
        *([f"--taskleak={mode}"] if how == "line" else []),
        apart=True,  # where a run looks for nothing, the one around it does
    )
    assert words == {"test_forgets": "PASSED"}
    assert ("1 coroutine and 1 callback from 2 causes" in text) is (mode == "warn")
    assert (WARNED in text) is (mode == "off")


def test_a_marker_may_expect_them_by_name(seen):
    words, text = seen("""
        @pytest.mark.taskleak(expect=["fetch", "boom", "test_forgets"], reason="an example")
        async def test_forgets():
            fetch()
            loop = asyncio.get_running_loop()
            loop.call_soon(boom)
            loop.create_future().set_exception(ValueError("lost"))
            await turn()
    """)
    assert words == {"test_forgets": "PASSED"}
    assert QUIET not in text
    assert WARNED not in text


@pytest.mark.parametrize("kinds", ["tasks,errors", "coroutines"])
def test_only_what_was_chosen_is_looked_for(seen, kinds):
    words, text = seen(
        """
        async def test_forgets():
            fetch()

        async def test_schedules_it():
            asyncio.get_running_loop().call_soon(boom)
            await turn()
        """,
        f"--taskleak-kinds={kinds}",
    )
    ends = {"test_forgets": "PASSED", "test_schedules_it": "FAILED"}
    if kinds == "coroutines":
        ends = {"test_forgets": "FAILED", "test_schedules_it": "PASSED"}
    assert words == ends
    assert (WARNED in text) is (kinds != "coroutines")


def test_the_warnings_plugin_is_not_needed(seen):
    words, text = seen("async def test_forgets(): fetch()", "-pno:warnings", apart=True)
    assert words == {"test_forgets": "FAILED"}
    assert WARNED not in text


def test_warnings_are_handled_by_context_where_the_interpreter_does_so(seen, monkeypatch):
    monkeypatch.setenv("PYTHON_CONTEXT_AWARE_WARNINGS", "1")  # 3.14+; older ones do not know it
    words, text = seen(
        """
        pytestmark = pytest.mark.asyncio(loop_scope="module")

        async def test_handles_it():
            with pytest.warns(RuntimeWarning, match="never awaited"):
                fetch()

        async def test_forgets():
            fetch()
        """,
        apart=True,
    )
    assert words == {"test_handles_it": "PASSED", "test_forgets": "FAILED"}
    assert WARNED not in text


# -- blocks


def test_a_block_tells_of_them_where_no_plugin_does(seen):
    words, text = seen(
        """
        from pytest_taskleak import TaskLeakError, assert_no_leaks

        async def test_block():
            loop = asyncio.get_running_loop()
            with pytest.raises(TaskLeakError) as caught:
                async with assert_no_leaks():
                    fetch()
                    loop.call_soon(boom)
                    loop.create_future().set_exception(ValueError("lost"))
                    await turn()
            assert [leak.kind for leak in caught.value.leaks] == ["never-awaited", "lost-exception", "lost-callback"]

        async def test_block_that_expects_them():
            async with assert_no_leaks(expect=["fetch", "boom"]):
                fetch()
                asyncio.get_running_loop().call_soon(boom)
                await turn()

        async def test_after_the_block():
            async with assert_no_leaks():
                pass
            with pytest.warns(RuntimeWarning, match="never awaited"):
                fetch()
        """,
        "-pno:taskleak",
        apart=True,
    )
    assert set(words.values()) == {"PASSED"}
    assert WARNED not in text


def test_a_block_inside_a_watched_test_leaves_them_to_the_test(seen):
    words, text = seen("""
        from pytest_taskleak import assert_no_leaks

        async def test_block():
            async with assert_no_leaks():
                fetch()
    """)
    assert words == {"test_block": "FAILED"}
    assert "1 coroutine outlived the block" in text


# -- restored


FORGETS = """
    async def test_forgets():
        fetch()
        await turn()
"""


@pytest.mark.parametrize("args", [[], ["--taskleak=warn"], ["--taskleak=off"], ["-Werror"], ["--collect-only"]])
@pytest.mark.parametrize("end", ["", "    raise KeyboardInterrupt", "    pytest.exit('enough')"])
def test_all_is_as_before_when_the_run_ends(project, args, end):
    project.write(source=FORGETS + f"    {end}\n", prelude=FETCH)
    before = warnings._warn_unawaited_coroutine, list(gc.callbacks)
    project.pytester.runpytest_inprocess("-pno:randomly", *args, no_reraise_ctrlc=True)
    assert (warnings._warn_unawaited_coroutine, list(gc.callbacks)) == before


def test_what_another_put_in_its_place_is_called_and_stays(project):
    project.write(
        "conftest.py",
        """
        import warnings

        CALLS = []
        original = warnings._warn_unawaited_coroutine

        def theirs(coro):
            CALLS.append(coro.__qualname__)
            original(coro)

        def pytest_configure():
            warnings._warn_unawaited_coroutine = theirs

        def pytest_unconfigure():
            restored = warnings._warn_unawaited_coroutine is theirs
            warnings._warn_unawaited_coroutine = original
            print("restored:", restored, CALLS)
        """,
        prelude="",
    )
    project.write(
        source="""
        def test_handles_it():
            with pytest.warns(RuntimeWarning, match="never awaited"):
                fetch()

        def test_forgets():
            fetch()
        """,
        prelude=FETCH,
    )
    result = project.run("-s")
    result.assert_outcomes(passed=1, failed=1)
    assert "restored: True ['fetch']" in result.stdout.str()


def test_a_run_inside_a_run_keeps_to_itself(project):
    project.write("conftest.py", 'pytest_plugins = ["pytester"]', prelude="")
    project.write(
        source="""
        def test_runs_tests(pytester):
            pytester.makepyfile(test_in='''
                async def fetch():
                    pass

                def test_forgets():
                    fetch()

                def test_is_clean():
                    pass
            ''')
            pytester.runpytest_inprocess("-pno:randomly").assert_outcomes(passed=1, failed=1)

        def test_forgets():
            fetch()
        """,
        prelude=FETCH,
    )
    before = warnings._warn_unawaited_coroutine, list(gc.callbacks)
    result = project.run("-rA")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*1 coroutine outlived `test_forgets`*"])
    assert (warnings._warn_unawaited_coroutine, list(gc.callbacks)) == before


def test_an_error_that_was_handed_to_the_loop_and_never_raised_goes_by_its_type(judged):
    words, output = judged(
        """
        class MissedIt(Exception):
            pass

        async def test_tells():
            asyncio.get_running_loop().call_exception_handler({"message": "too late", "exception": MissedIt("by 1 s")})
        """,
        "--taskleak-strict",
    )
    assert words == {"test_tells": "FAILED"}
    assert "callback MissedIt" in output
    assert "unknown" not in output
