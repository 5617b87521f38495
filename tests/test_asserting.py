"""`assert_no_leaks`: the same judgement around a block."""

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_taskleak import TaskLeakError, assert_no_leaks, explain
from pytest_taskleak.gate import Gate


async def forever():
    await asyncio.Event().wait()


async def test_a_block_that_leaves_nothing_passes():
    async with assert_no_leaks():
        await asyncio.create_task(asyncio.sleep(0))


async def test_a_block_that_leaves_a_task_raises_and_names_the_line():
    with pytest.raises(TaskLeakError, match="1 task outlived the block") as caught:
        async with assert_no_leaks(grace=0, cancel=True):
            asyncio.create_task(forever(), name="poller")
    (leak,) = caught.value.leaks
    assert (leak.task, leak.coroutine, leak.verdict) == ("poller", "forever", "never wakes, waits on `Event.wait`")
    assert caught.value.__traceback__.tb_next is not None
    last = caught.traceback[-1]
    assert "create_task(forever(), name=" in str(last.statement)


async def test_what_was_there_before_is_none_of_the_blocks_business():
    before = asyncio.create_task(forever())
    async with assert_no_leaks(grace=0):
        await asyncio.sleep(0)
    before.cancel()


async def test_what_another_task_starts_meanwhile_is_none_of_the_blocks_business():
    started: list[asyncio.Task[None]] = []
    begin = asyncio.Event()
    begun = asyncio.Event()

    async def neighbour():
        await begin.wait()
        started.append(asyncio.create_task(forever()))
        begun.set()

    next_door = asyncio.create_task(neighbour())
    async with assert_no_leaks(grace=0):
        begin.set()
        await begun.wait()
    await next_door
    started[0].cancel()


async def test_a_child_of_a_task_of_the_block_is_the_blocks():
    async def parent():
        asyncio.create_task(forever(), name="child")

    with pytest.raises(TaskLeakError, match="'child'"):
        async with assert_no_leaks(grace=0, cancel=True):
            await asyncio.create_task(parent())


async def test_a_task_that_ends_within_the_grace_is_no_leak():
    async with assert_no_leaks(grace=5):
        asyncio.create_task(asyncio.sleep(0.01))


async def test_a_task_cancelled_last_is_a_leak_only_in_strict_mode():
    async with assert_no_leaks():
        asyncio.create_task(forever()).cancel()
    with pytest.raises(TaskLeakError, match="cancelled, not awaited"):
        async with assert_no_leaks(strict=True):
            asyncio.create_task(forever()).cancel()


async def test_expected_tasks_may_stay():
    tasks = []
    async with assert_no_leaks(grace=0, expect=["watch-*"]):
        tasks.append(asyncio.create_task(forever(), name="watch-1"))
    async with assert_no_leaks(grace=0, expect="forever"):
        tasks.append(asyncio.create_task(forever()))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_what_is_reported_is_cancelled_when_asked_for():
    with pytest.raises(TaskLeakError):
        async with assert_no_leaks(grace=0.1, cancel=True):
            task = asyncio.create_task(forever())
    assert task.cancelled()


async def test_a_block_that_raises_keeps_its_exception_and_gets_a_note():
    with pytest.raises(ValueError, match="mine") as caught:
        async with assert_no_leaks(grace=0, cancel=True):
            asyncio.create_task(forever(), name="poller")
            raise ValueError("mine")
    assert any("'poller'" in note for note in caught.value.__notes__)


async def test_cancellation_passes_without_a_word():
    kept = []

    async def block():
        async with assert_no_leaks(grace=0):
            kept.append(asyncio.create_task(forever()))
            await asyncio.sleep(3600)

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    kept[0].cancel()


async def test_blocks_nest_and_the_inner_one_is_to_blame():
    with pytest.raises(TaskLeakError):
        async with assert_no_leaks(grace=0):
            with pytest.raises(TaskLeakError):
                async with assert_no_leaks(grace=0):
                    inner = asyncio.create_task(forever())
            outer = asyncio.create_task(forever())
    inner.cancel()
    outer.cancel()


def test_a_task_destroyed_in_a_block_of_a_watched_test_fails_that_test(judged):
    words, text = judged("""
        import gc
        from pytest_taskleak import assert_no_leaks

        async def nobody():
            await asyncio.get_running_loop().create_future()

        async def test_destroys():
            async with assert_no_leaks():
                asyncio.create_task(nobody())
                await asyncio.sleep(0)
                gc.collect()

        async def test_other():
            pass
    """)
    assert words == {"test_destroys": "FAILED", "test_other": "PASSED"}
    assert "nobody, destroyed while pending" in text


def test_what_a_block_raised_is_not_reported_by_the_plugin_again(judged):
    words, text = judged("""
        from pytest_taskleak import TaskLeakError, assert_no_leaks, explain

        async def test_catches():
            with pytest.raises(TaskLeakError):
                async with assert_no_leaks(grace=0):
                    asyncio.create_task(forever())

        async def test_raises():
            async with assert_no_leaks(grace=0):
                asyncio.create_task(forever())
    """)
    assert words == {"test_catches": "PASSED", "test_raises": "FAILED"}
    assert "leaked task" not in text


@pytest.mark.parametrize("grace", [-1, float("inf"), float("nan")])
def test_a_grace_that_is_no_time_is_refused(grace):
    with pytest.raises(ValueError, match="give seconds, 0 or more"):
        assert_no_leaks(grace=grace)


async def test_a_block_that_blocks_the_loop_raises_and_names_the_line():
    """It blocks for 0.3 s, which is what is tested."""
    with pytest.raises(TaskLeakError, match="1 step held up the block") as caught:
        async with assert_no_leaks(blocked=0.05):
            time.sleep(0.3)  # noqa: ASYNC251 - what is tested
    (leak,) = caught.value.leaks
    assert (leak.kind, leak.coroutine) == (
        "blocked-loop",
        "test_a_block_that_blocks_the_loop_raises_and_names_the_line",
    )
    assert "time.sleep(0.3)" in str(caught.traceback[-1].statement)
    assert "taskleak-monitor" not in [thread.name for thread in threading.enumerate()]


async def test_a_block_that_waits_does_not_block():
    async with assert_no_leaks(blocked=0.1):
        await asyncio.sleep(0.2)


async def test_what_another_task_blocks_is_none_of_the_blocks_business():
    async def neighbour():
        time.sleep(0.3)  # noqa: ASYNC251 - what is tested

    next_door = asyncio.create_task(neighbour())
    async with assert_no_leaks(blocked=0.05):
        await next_door


async def test_what_may_block_can_be_expected():
    async with assert_no_leaks(blocked=0.05, expect=["test_what_may_*"]):
        time.sleep(0.3)  # noqa: ASYNC251 - what is tested


async def test_blocks_side_by_side_look_for_themselves():
    async def judged(seconds):
        async with assert_no_leaks(blocked=0.05):
            time.sleep(seconds)  # noqa: ASYNC251 - what is tested
            await asyncio.sleep(0.01)

    first, second = await asyncio.gather(judged(0), judged(0.3), return_exceptions=True)
    assert first is None
    assert isinstance(second, TaskLeakError)


@pytest.mark.parametrize("limit", [-1, float("inf"), float("nan")])
def test_a_limit_that_is_no_time_is_refused(limit):
    with pytest.raises(ValueError, match=r"blocked=.* is not valid; give seconds, 0 for off"):
        assert_no_leaks(blocked=limit)


SCRIPT = """
import asyncio, gc, threading
from pytest_taskleak import assert_no_leaks, TaskLeakError

originals = [asyncio.BaseEventLoop.create_task, asyncio.Runner.close, threading.Thread.start]

async def forever():
    await asyncio.Event().wait()

async def leaks(name):
    try:
        async with assert_no_leaks(grace=0, cancel=True):
            asyncio.create_task(forever(), name=name)
    except TaskLeakError as error:
        print([leak.task for leak in error.leaks])

async def nobody():
    await asyncio.get_running_loop().create_future()

async def main():
    await asyncio.gather(leaks("one"), leaks("two"))
    try:
        async with assert_no_leaks(grace=0):
            asyncio.create_task(nobody())
            await asyncio.sleep(0)
            gc.collect()
    except TaskLeakError as error:
        print(error.leaks[0].kind)

asyncio.run(main())
print(originals == [asyncio.BaseEventLoop.create_task, asyncio.Runner.close, threading.Thread.start])
"""


def test_a_script_without_pytest_can_use_it_side_by_side_and_everything_is_restored():
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.splitlines() == ["['one']", "['two']", "destroyed", "True"]


KEPT = []


@pytest.fixture
def nothing_kept():
    """What a test puts into KEPT is let go of; no variable of the test's own leads to it."""
    yield
    KEPT.clear()


async def test_futures_that_outlive_the_block_are_found(nothing_kept):
    with pytest.raises(TaskLeakError, match=r"3 futures outlived .*held by `test_asserting.KEPT`") as caught:
        async with assert_no_leaks():
            KEPT.extend([asyncio.get_running_loop().create_future() for _ in range(3)])
    assert {leak.kind for leak in caught.value.leaks} == {"future"}
    assert "create_future()" in str(caught.traceback[-1].statement)


async def test_futures_of_the_blocks_own_variables_die_with_them(nothing_kept):
    loop = asyncio.get_running_loop()
    async with assert_no_leaks():
        answer = loop.create_future()
        answers = {n: loop.create_future() for n in range(3)}
    assert not answer.done()
    assert len(answers) == 3


async def test_a_timer_that_outlives_the_block_is_found():
    with pytest.raises(TaskLeakError, match="timer for print, fires in"):
        async with assert_no_leaks():
            timer = asyncio.get_running_loop().call_later(3600, print)
    timer.cancel()
    async with assert_no_leaks():
        asyncio.get_running_loop().call_later(3600, print).cancel()
    async with assert_no_leaks(expect="print"):
        timer = asyncio.get_running_loop().call_later(3600, print)
    timer.cancel()


async def test_an_async_generator_that_outlives_the_block_is_found(nothing_kept):
    async def numbers():
        yield 1
        yield 2

    with pytest.raises(TaskLeakError, match=r"async generator .*numbers, left suspended"):
        async with assert_no_leaks():
            KEPT.append(numbers())
            await anext(KEPT[0])
    await KEPT[0].aclose()


def test_blocks_find_everything_without_pytest(tmp_path):
    program = tmp_path / "program.py"
    source = """
        import asyncio
        from pytest_taskleak import TaskLeakError, assert_no_leaks, explain

        KEPT = []

        async def main():
            plain = asyncio.BaseEventLoop.create_future
            try:
                async with assert_no_leaks():
                    KEPT.append(asyncio.get_running_loop().create_future())
                    timer = asyncio.get_running_loop().call_later(3600, print)
            except TaskLeakError as error:
                print(*sorted(leak.kind for leak in error.leaks))
            print(asyncio.BaseEventLoop.create_future.__qualname__, hasattr(plain, "__wrapped__"))

        asyncio.run(main())
    """
    program.write_text(textwrap.dedent(source), encoding="utf-8")
    result = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.splitlines() == ["future timer", "BaseEventLoop.create_future False"]


async def test_a_thread_that_outlives_the_block_is_found_and_one_that_needs_the_loop_to_end_is_not(nothing_kept):
    loop, go_on = asyncio.get_running_loop(), threading.Event()

    def speak_to_the_loop():
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()

    async with assert_no_leaks():
        threading.Thread(target=speak_to_the_loop).start()
    thread = threading.Thread(target=go_on.wait, name="listener")
    with pytest.raises(TaskLeakError, match="thread 'listener'") as caught:
        async with assert_no_leaks(grace=0.01):
            thread.start()
    (leak,) = caught.value.leaks
    assert (leak.kind, leak.settled) == ("thread", "still running 0.01 s after its owner ended")
    go_on.set()
    thread.join()


class Pool:
    def __init__(self):
        self.executor = ThreadPoolExecutor(1)
        self.executor.submit(int).result()


async def test_an_executor_that_outlives_the_block_is_found(nothing_kept):
    with pytest.raises(TaskLeakError, match="executor ThreadPoolExecutor, never shut down") as caught:
        async with assert_no_leaks():
            KEPT.append([Pool()])
    assert [leak.kind for leak in caught.value.leaks] == ["executor"]
    KEPT[0][0].executor.shutdown()
    async with assert_no_leaks():
        await asyncio.to_thread(int)
        with ThreadPoolExecutor(1) as executor:
            executor.submit(int).result()
        passes = Pool()
    passes.executor.shutdown()


async def test_a_loop_that_the_block_leaves_open_is_found():
    with pytest.raises(TaskLeakError, match="an event loop, never closed") as caught:
        async with assert_no_leaks():
            loop = asyncio.new_event_loop()
    assert [leak.kind for leak in caught.value.leaks] == ["open-loop"]
    loop.close()
    async with assert_no_leaks():
        asyncio.new_event_loop().close()


@pytest.mark.parametrize("search", [-1, float("nan"), float("inf")])
def test_a_time_for_the_search_that_is_none_is_an_error(search):
    with pytest.raises(ValueError, match=r"search=.* is not valid; give seconds, 0 for no search"):
        assert_no_leaks(search=search)


async def left_by(start, **options):
    """What is said of the one task that `start` leaves, whose own frame keeps nothing of it."""
    with pytest.raises(TaskLeakError) as caught:
        async with assert_no_leaks(grace=0, cancel=True, **options):
            start()
            await asyncio.sleep(0)
    (leak,) = caught.value.leaks
    return leak.verdict


def of_a_queue_of_its_own():
    asyncio.create_task(asyncio.Queue().get())


def of_an_event_of_its_own():
    asyncio.create_task(forever())


@pytest.mark.parametrize("start", [of_a_queue_of_its_own, of_an_event_of_its_own])
async def test_a_task_that_nothing_alive_can_wake_never_wakes(start):
    assert (await left_by(start)).startswith("never wakes, waits on")
    assert (await left_by(start, search=0)).startswith("waits on")


async def keeps_the_event():
    event = asyncio.Event()
    with pytest.raises(TaskLeakError) as caught:
        async with assert_no_leaks(grace=0, cancel=True):
            asyncio.create_task(event.wait())
            await asyncio.sleep(0)
    return caught.value.leaks[0].verdict


async def keeps_the_task():
    with pytest.raises(TaskLeakError) as caught:
        async with assert_no_leaks(grace=0, cancel=True):
            task = asyncio.create_task(forever())
            await asyncio.sleep(0)
    task.cancel()
    return caught.value.leaks[0].verdict


async def keeps_it_in_a_cell():
    event = asyncio.Event()
    return await left_by(lambda: asyncio.create_task(event.wait()) and None)


async def keeps_it_in_its_caller():
    event = asyncio.Event()

    async def called(event):
        return await left_by(lambda: asyncio.create_task(event.wait()) and None)

    return await asyncio.wait_for(called(event), 10)


async def keeps_it_in_an_instance():
    class Bot:
        def __init__(self):
            self.event = asyncio.Event()

        async def run(self):
            return await left_by(lambda: asyncio.create_task(self.event.wait()) and None)

    return await Bot().run()


async def keeps_it_in_a_generator():
    async def events():
        for event in [asyncio.Event()]:
            yield event

    async for event in events():
        verdict = await left_by(lambda event=event: asyncio.create_task(event.wait()) and None)
    return verdict


async def keeps_it_in_a_task_that_sleeps():
    event = asyncio.Event()

    async def later(event):
        await asyncio.sleep(1000)
        event.set()

    other = asyncio.create_task(later(event))
    await asyncio.sleep(0)
    waits, event = [event.wait()], None
    verdict = await left_by(lambda: asyncio.create_task(waits.pop()) and None)
    other.cancel()
    return verdict


@pytest.mark.parametrize(
    "holds",
    [
        keeps_the_event,
        keeps_the_task,
        keeps_it_in_a_cell,
        keeps_it_in_its_caller,
        keeps_it_in_an_instance,
        keeps_it_in_a_generator,
        keeps_it_in_a_task_that_sleeps,
    ],
)
async def test_a_task_that_who_is_alive_could_wake_is_not_said_to_sleep_for_ever(holds):
    assert (await holds()) == "waits on `Event.wait`"


async def test_a_defect_in_the_search_leaves_the_verdict_alone(monkeypatch):
    def breaks(*_given, **_named):
        raise RuntimeError("its own defect")

    heard = []
    monkeypatch.setattr(explain, "outlooks", breaks)
    monkeypatch.setattr(Gate, "failed", lambda _self, error: heard.append(str(error)))
    assert await left_by(of_an_event_of_its_own) == "waits on `Event.wait`"
    assert heard == ["its own defect"]
