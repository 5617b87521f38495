"""A callback that blocks the loop fails its test, where that is asked for.

What blocks does so for 0.3 s, which is what is tested, at a limit of 0.05 s; what is clean waits without blocking.
"""

from __future__ import annotations

import asyncio
import threading

import pytest

pytestmark = pytest.mark.taskleak("off", reason="runs that are told not to look leak on purpose, in this process")

ON = "--taskleak-blocked=0.05"
HELD_UP = "blocked the loop for 0."

BLOCKS = """
    import time

    {marker}
    async def test_blocks():
        time.sleep(0.3)
"""


def explained(text, name):
    """The lines below a test's failure that explain it."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"1 step held up `{name}`"))
    end = next(number for number, line in enumerate(lines[start:], start) if line.startswith("then:"))
    return lines[start : end + 1]


def test_a_step_that_blocks_fails_its_test_at_the_line_that_does(judged):
    words, text = judged(
        """
        import time

        async def work():
            time.sleep(0.3)

        async def test_blocks():
            await asyncio.create_task(work(), name="worker")

        async def test_is_clean():
            await asyncio.create_task(asyncio.sleep(0.2))
        """,
        ON,
    )
    assert words == {"test_blocks": "FAILED", "test_is_clean": "PASSED"}
    assert ">       time.sleep(0.3)\n" in text
    assert f"TaskLeakError: 1 step held up `test_blocks`: task 'worker', work, {HELD_UP}" in text
    lines = explained(text, "test_blocks")
    assert lines[0] == "1 step held up `test_blocks` (call), in your own code"
    what = " ".join(" ".join(lines[1:3]).split())
    assert what.startswith(f"task 'worker', work: {HELD_UP}")
    assert what.endswith("s (threshold 0.05 s): one step of a task, in `time.sleep`")
    assert lines[3:5] == ["test_it.py:14: in work", "    time.sleep(0.3)"]
    assert lines[5].startswith("fix: `await asyncio.sleep(...)` instead: `time.sleep` stops every task")
    assert "1 cause, 1 blocked loop in 1 test" in text
    assert "outlived" not in text


def test_nothing_is_looked_for_where_nobody_asks(judged):
    words, text = judged("""
        import threading, time

        before = asyncio.BaseEventLoop.run_forever

        async def test_blocks():
            time.sleep(0.3)
            assert "taskleak-monitor" not in [thread.name for thread in threading.enumerate()]
            assert asyncio.BaseEventLoop.run_forever is before
    """)
    assert words == {"test_blocks": "PASSED"}
    assert "held up" not in text


def test_waiting_does_not_block(judged):
    words, text = judged(
        """
        import threading

        async def test_sleeps():
            await asyncio.sleep(0.5)

        async def test_waits_for_a_thread():
            await asyncio.to_thread(threading.Event().wait, 0.5)

        def test_blocks_no_loop():
            threading.Event().wait(0.5)
        """,
        "--taskleak-blocked=0.2",
    )
    assert set(words.values()) == {"PASSED"}
    assert "held up" not in text


def test_many_short_steps_do_not_block(judged):
    """Together they take longer than the limit, side by side in one turn and one after another."""
    words, _ = judged(
        """
        import time

        async def short():
            time.sleep(0.01)

        async def test_tasks():
            await asyncio.gather(*(short() for _ in range(40)))

        async def test_callbacks():
            for _ in range(40):
                asyncio.get_running_loop().call_soon(time.sleep, 0.01)
            await asyncio.sleep(0)

        async def test_steps():
            for _ in range(40):
                await short()
                await asyncio.sleep(0)
        """,
        "--taskleak-blocked=0.2",
    )
    assert set(words.values()) == {"PASSED"}


def test_a_callback_that_blocks_is_named(judged):
    words, text = judged(
        """
        import time

        def fire():
            time.sleep(0.3)

        async def test_blocks():
            asyncio.get_running_loop().call_later(0, fire)
            await asyncio.sleep(0.01)
        """,
        ON,
    )
    assert words == {"test_blocks": "FAILED"}
    lines = explained(text, "test_blocks")
    assert lines[1].startswith(f"fire: {HELD_UP}")
    assert lines[1].endswith("one callback, in")
    assert "test_it.py:14: in fire" in lines


def test_a_callback_without_a_line_of_its_own_is_named(judged):
    words, text = judged(
        """
        import time

        async def test_blocks():
            asyncio.get_running_loop().call_soon(time.sleep, 0.3)
            await asyncio.sleep(0.01)
        """,
        ON,
    )
    assert words == {"test_blocks": "FAILED"}
    assert f"1 step held up `test_blocks`: sleep, {HELD_UP}" in text
    assert "one callback, in `time.sleep`" in " ".join(text.split())
    assert "fix: `await asyncio.sleep(...)` instead" in text


def test_the_same_line_ten_times_is_one_cause_with_its_count(judged):
    words, text = judged(
        """
        import time

        async def test_blocks():
            for _ in range(10):
                time.sleep(0.15)
                await asyncio.sleep(0)
        """,
        ON,
    )
    assert words == {"test_blocks": "FAILED"}
    assert "10 steps held up `test_blocks` (call), in your own code" in text
    assert "1 cause, 10 blocked loops in 1 test" in text
    assert "test_it.py:15: test_blocks ×10 held up `test_blocks`, blocked the loop" in text


def test_a_leak_beside_it_is_told_apart(judged):
    words, text = judged(
        """
        import time
        kept = []

        async def test_both():
            kept.append(asyncio.create_task(forever(), name="poller"))
            await asyncio.sleep(0)
            time.sleep(0.3)
        """,
        ON,
    )
    assert words == {"test_both": "FAILED"}
    assert (
        "TaskLeakError: 1 task and 1 step from 2 causes outlived or held up `test_both`: task 'poller', forever" in text
    )
    assert "1. 1 task outlived `test_both` (call), in your own code" in text
    assert "2. 1 step held up `test_both` (call), in your own code" in text

    assert "2 causes, 1 leaked task and 1 blocked loop in 1 test" in text


@pytest.mark.parametrize("seconds", ["0", "5"])
def test_what_a_step_may_need_of_the_plugin_is_imported_before_it(project, seconds):
    """An import takes as long as much that blocks a loop."""
    project.write(
        source="""
        import sys

        async def test_it():
            modules = {"detector", "lost", "explain.errors", "explain.words"}
            print("imported", len(modules & {name.partition(".")[2] for name in sys.modules if "taskleak." in name}))
    """
    )
    result = project.run_apart(f"--taskleak-blocked={seconds}", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*imported {0 if seconds == '0' else 4}*"])


# -- what mends it


@pytest.mark.parametrize(
    ("line", "call", "hint"),
    [
        ("time.sleep(0.3)", "in `time.sleep`", "`await asyncio.sleep(...)` instead"),
        ("subprocess.run(['sleep', '0.3'], check=True)", "in `subprocess.run`", "create_subprocess_exec"),
        ("os.system('sleep 0.3')", "in `os.system`", "create_subprocess_exec"),
        ("peer.recv(1)", "in `peer.recv`", "an async client"),
        ("select.select([peer], [], [], 0.3)", "in `select.select`", "an async client"),
        ("lock.acquire(timeout=0.3)", "in `lock.acquire`", "for a lock, an event or its end"),
        ("threading.Event().wait(0.3)", "in `wait`", "for a lock, an event or its end"),
        ("thread.join()", "in `thread.join`", "for a lock, an event or its end"),
        ("pool.submit(time.sleep, 0.3).result()", "in `result`", "`await asyncio.wrap_future(...)`"),
        ("inbox.get()", "in `inbox.get`", "for a lock, an event or its end"),
        ("spin(0.3)", "in `spin`", "Compute in a process pool"),
        ("import slow_to_import", "in `import slow_to_import`", "Import it at the top of the module"),
    ],
)
def test_the_hint_is_for_what_blocked(project, judged, line, call, hint):
    """`spin` and the slow module are a library's: the line to change is the one that calls them."""
    library = (
        "import time\n\ndef spin(seconds):\n    end = time.monotonic() + seconds\n    while time.monotonic() < end:\n"
    )
    project.write("site-packages/library.py", library + "        pass\n", prelude="")
    project.write("site-packages/slow_to_import.py", "import library\nlibrary.spin(0.3)\n", prelude="")
    words, text = judged(
        f"""
        import concurrent.futures, os, pathlib, queue, select, socket, subprocess, sys, threading, time

        sys.path.insert(0, str(pathlib.Path(__file__).parent / "site-packages"))
        sys.modules.pop("slow_to_import", None)
        from library import spin

        async def test_blocks():
            peer, other = socket.socketpair()
            pool = concurrent.futures.ThreadPoolExecutor(1)
            inbox, lock = queue.Queue(), threading.Lock()
            lock.acquire()
            jobs = [lambda: other.send(b"!"), lambda: inbox.put(1), lambda: None]
            threads = [threading.Timer(0.3, job) for job in jobs]
            for thread in threads:
                thread.start()
            await asyncio.sleep(0)  # to start them may take long as well
            {line}
            for end in (pool.shutdown, *(thread.join for thread in threads)):
                await asyncio.to_thread(end)
            peer.close()
            other.close()
        """,
        ON,
    )
    assert words == {"test_blocks": "FAILED"}
    unwrapped = " ".join(text.split())
    assert f" > {line} E " in unwrapped or f" > {line} ^" in unwrapped
    assert f"one step of a task, {call} " in unwrapped
    assert hint in unwrapped.partition("fix: ")[2]


def test_a_lock_that_is_entered_is_named(judged):
    words, text = judged(
        """
        import threading

        lock = threading.Lock()

        async def test_blocks():
            lock.acquire()
            threading.Timer(0.3, lock.release).start()
            with lock:
                pass
        """,
        ON,
    )
    assert words == {"test_blocks": "FAILED"}
    assert "in `with lock`" in " ".join(text.split())
    assert "for a lock, an event or its end" in " ".join(text.split())


# -- whose it is


def test_what_a_fixture_blocks_is_the_fixtures(judged):
    words, text = judged(
        """
        import time

        @pytest.fixture
        async def slow():
            time.sleep(0.3)
            yield

        @pytest.fixture
        async def slow_to_end():
            yield
            time.sleep(0.3)

        async def test_one(slow):
            await asyncio.sleep(0)

        async def test_two(slow_to_end):
            await asyncio.sleep(0)
        """,
        ON,
    )
    assert words == {"test_one": "FAILED", "test_two": "FAILED"}
    assert "1 step held up fixture `slow` of test_it.py::test_one, in your own code" in text
    assert "1 step held up fixture `slow_to_end` of test_it.py::test_two, in your own code" in text


SERVER = """
    import threading, time

    @pytest.fixture(scope="module")
    def server():
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        ready = threading.Event()

        async def serve():
            asked = loop.asked = asyncio.Event()
            ready.set()
            await asked.wait()
            time.sleep(0.3)

        loop.served = asyncio.run_coroutine_threadsafe(serve(), loop)
        ready.wait()
        yield loop
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    {marker}
    async def test_one(server):
        server.call_soon_threadsafe(server.asked.set)
        await asyncio.wrap_future(server.served)

    async def test_two(server):
        await asyncio.sleep(0)
"""


def test_what_the_server_of_a_wider_fixture_blocks_is_the_fixtures(judged):
    words, text = judged(SERVER.format(marker=""), ON)
    assert words == {"test_one": "PASSED", "test_two": "PASSED+ERROR"}
    assert "1 step held up fixture `server` (module scope)" in text
    assert "serve\n    time.sleep(0.3)\n" in text


def test_a_marker_of_a_test_does_not_judge_a_wider_fixture(judged):
    words, text = judged(SERVER.format(marker="@pytest.mark.taskleak(blocked=0.05)"))
    assert words == {"test_one": "PASSED", "test_two": "PASSED"}
    assert "held up" not in text


@pytest.mark.parametrize(
    "way",
    [
        "asyncio.run(main())",
        "uvloop.run(main())",
        "loop = asyncio.new_event_loop(); loop.run_until_complete(main()); loop.close()",
        "loop = uvloop.new_event_loop(); loop.run_until_complete(main()); loop.close()",
        "thread = threading.Thread(target=asyncio.run, args=(main(),)); thread.start(); thread.join()",
        "thread = threading.Thread(target=uvloop.run, args=(main(),)); thread.start(); thread.join()",
        "loop = asyncio.new_event_loop(); loop.call_soon(block, loop.stop); loop.run_forever(); loop.close()",
        "loop = uvloop.new_event_loop(); loop.call_soon(block, loop.stop); loop.run_forever(); loop.close()",
    ],
)
def test_every_way_to_run_a_loop_is_seen(judged, way):
    """For long enough: a loaded machine keeps the monitor from looking for a while."""
    words, text = judged(
        f"""
        import threading, time
        import uvloop

        def block(then=lambda: None):
            # what blocks the loop: this is what is to be found, nobody waits by it
            time.sleep(0.6)
            then()

        async def main():
            block()

        def test_blocks():
            {way}

        def test_is_clean():
            pass
        """,
        ON,
    )
    assert {name: word.partition("+")[2] or word for name, word in words.items()} == {
        "test_blocks": "FAILED",
        "test_is_clean": "PASSED",
    }
    assert "held up `test_blocks`" in text
    assert "in block\n    time.sleep(0.6)\n" in text


def test_every_runner_is_seen(judged):
    words, _ = judged(
        """
        import time, unittest

        class TestIsolated(unittest.IsolatedAsyncioTestCase):
            async def test_blocks(self):
                time.sleep(0.3)

            async def test_is_clean(self):
                await asyncio.sleep(0)

        class TestAnyio:
            @pytest.fixture
            def anyio_backend(self):
                return "asyncio"

            @pytest.mark.anyio
            async def test_blocks(self, anyio_backend):
                time.sleep(0.3)

            @pytest.mark.anyio
            async def test_is_clean(self, anyio_backend):
                await asyncio.sleep(0)
        """,
        ON,
        "-o",
        "asyncio_mode=strict",
    )
    assert words == {
        "TestIsolated::test_blocks": "FAILED",
        "TestIsolated::test_is_clean": "PASSED",
        "TestAnyio::test_blocks": "FAILED",
        "TestAnyio::test_is_clean": "PASSED",
    }


# -- where it is asked for


@pytest.mark.parametrize(
    ("ini", "marker", "args", "found"),
    [
        ("0.05", None, [], True),
        (None, "0.05", [], True),
        (None, None, [ON], True),
        ("0.05", "0", [], False),
        ("0.05", "30", [], False),
        (None, "0.05", ["--taskleak-blocked=0"], False),
        ("30", "0", [ON], True),
        ("0", None, [], False),
    ],
    ids=["ini", "marker", "line", "off-by-marker", "more-by-marker", "off-by-line", "on-by-line", "off-by-ini"],
)
def test_the_command_line_comes_before_the_marker_before_the_ini(project, ini, marker, args, found):
    project.write(source=BLOCKS.format(marker=f"@pytest.mark.taskleak(blocked={marker})" if marker else ""))
    if ini:
        project.ini(f"taskleak_blocked = {ini}\n")
    result = project.run(*args)
    result.assert_outcomes(**{"failed" if found else "passed": 1})
    assert ("(threshold 0.05 s)" in result.stdout.str()) is found


def test_the_head_of_the_run_tells_the_limit(project):
    project.write(source="def test_one(): pass\n")
    assert "taskleak: fail, grace 0.1 s, blocked 0.05 s" in project.run(ON).outlines


def test_warn_shows_it_and_leaves_the_outcome_alone(project):
    project.write(source=BLOCKS.format(marker=""))
    result = project.run(ON, "--taskleak=warn")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["test_it.py::test_blocks", "1 step held up `test_blocks`*", "1 cause, 1 blocked loop*"]
    )


@pytest.mark.parametrize("marker", ['"off"', 'expect="test_*", reason="it is about blocking"'])
def test_a_test_may_be_let_off(project, marker):
    project.write(source=BLOCKS.format(marker=f"@pytest.mark.taskleak({marker})"))
    result = project.run(ON)
    result.assert_outcomes(passed=1)
    assert "held up" not in result.stdout.str()


def test_a_failure_of_its_own_stays_what_it_was(judged):
    words, text = judged(
        """
        import time

        async def test_blocks_and_fails():
            time.sleep(0.3)
            assert not "its own"
        """,
        ON,
    )
    assert words == {"test_blocks_and_fails": "FAILED"}
    assert "AssertionError: assert not 'its own'" in text
    assert "1 step held up `test_blocks_and_fails` (call)" in text


def test_it_travels_from_workers(project):
    project.write(source=BLOCKS.format(marker=""))
    result = project.run_apart(ON, "-n1")
    result.assert_outcomes(failed=1)
    assert "1 step held up `test_blocks` (call), in your own code" in result.stdout.str()
    assert "1 cause, 1 blocked loop in 1 test" in result.stdout.str()


def test_a_block_inside_the_test_tells_it_once(judged):
    words, text = judged(
        """
        import time
        from pytest_taskleak import TaskLeakError, assert_no_leaks

        async def test_blocks():
            with pytest.raises(TaskLeakError, match="held up the block"):
                async with assert_no_leaks(blocked=0.05):
                    time.sleep(0.3)

        async def test_leaves_it_to_the_plugin():
            async with assert_no_leaks():
                await asyncio.sleep(0)
                time.sleep(0.3)
        """,
        ON,
    )
    assert words == {"test_blocks": "PASSED", "test_leaves_it_to_the_plugin": "FAILED"}
    assert "1 step held up `test_leaves_it_to_the_plugin`" in text


@pytest.mark.parametrize("source", [BLOCKS.format(marker=""), "async def test_cut(): raise KeyboardInterrupt"])
def test_no_thread_and_no_wrapper_is_left(project, source):
    before = asyncio.BaseEventLoop.run_forever
    project.write(source=source)
    project.pytester.runpytest_inprocess(ON, no_reraise_ctrlc=True)
    assert "taskleak-monitor" not in [thread.name for thread in threading.enumerate()]
    assert asyncio.BaseEventLoop.run_forever is before
