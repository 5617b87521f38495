"""What a report says of who could still wake a leaked task: only what is proven, in time, and without a trace."""

from __future__ import annotations

import pytest

from pytest_taskleak import explain

NEVER = "never wakes, waits on `Event.wait`"

NOBODY_KEEPS = """
    async def test_it():
        asyncio.create_task(forever())
"""


def test_a_task_that_nothing_alive_can_wake_never_wakes(judged):
    words, text = judged(NOBODY_KEEPS)
    assert words == {"test_it": "FAILED"}
    assert NEVER in text
    assert "(the event is not set, and nothing that is alive can set it)" in " ".join(text.split())


def test_two_tasks_that_wait_for_each_other_never_wake(judged):
    _, text = judged("""
        async def crosswise(mine, other):
            async with mine:
                await asyncio.sleep(0)
                async with other:
                    pass

        async def test_it():
            one, two = asyncio.Lock(), asyncio.Lock()
            tasks = [asyncio.create_task(crosswise(one, two)), asyncio.create_task(crosswise(two, one))]
            await asyncio.sleep(0.01)
    """)
    assert text.count("never wakes, waits on `Lock.acquire`") >= 2


@pytest.mark.parametrize(
    "source",
    [
        """
        EVENT = asyncio.Event()

        async def test_it():
            asyncio.create_task(EVENT.wait())
            await asyncio.sleep(0)
        """,
        """
        @pytest.fixture(scope="module")
        def event():
            return asyncio.Event()

        async def test_it(event):
            asyncio.create_task(event.wait())
            await asyncio.sleep(0)
        """,
        """
        async def test_it():
            event = asyncio.Event()
            asyncio.create_task(event.wait())
            asyncio.get_running_loop().call_later(1000, event.set)
            await asyncio.sleep(0)
        """,
        """
        async def test_it():
            asyncio.create_task(asyncio.sleep(1000))
            await asyncio.sleep(0)
        """,
    ],
    ids=["a module", "a wider fixture", "a timer", "a sleep"],
)
def test_a_task_that_something_alive_could_wake_is_not_said_to_sleep_for_ever(judged, source):
    words, text = judged(source)
    assert words == {"test_it": "FAILED"}
    assert "never wakes" not in text
    assert "not examined" not in text


@pytest.mark.parametrize(("ini", "args"), [("", ["--taskleak-search=0"]), ("taskleak_search = 0", [])])
def test_nobody_searches_where_that_is_not_wanted(project, judged, monkeypatch, ini, args):
    asked = []
    monkeypatch.setattr(explain, "prospects", lambda *given: asked.append(given) or {})
    project.ini(ini)
    words, text = judged(NOBODY_KEEPS, *args)
    assert words == {"test_it": "FAILED"}
    assert "waits on `Event.wait` (the event is not set)" in text
    assert not asked


def test_a_clean_run_does_not_search(judged, monkeypatch):
    asked = []
    monkeypatch.setattr(explain, "prospects", lambda *given: asked.append(given) or {})
    words, _ = judged("""
        async def test_it():
            await asyncio.create_task(asyncio.sleep(0))
    """)
    assert words == {"test_it": "PASSED"}
    assert not asked


def test_what_was_not_examined_in_time_is_named(judged):
    words, text = judged(
        """
        async def test_it():
            keep = [asyncio.Event()]
            keep.append(keep)
            asyncio.create_task(keep[0].wait())
            await asyncio.sleep(0)
        """,
        "--taskleak-search=1e-9",
    )
    assert words == {"test_it": "FAILED"}
    assert "never wakes" not in text
    assert "whether anything alive can end that was not examined, for want of time" in " ".join(text.split())


def test_a_defect_in_the_search_changes_no_outcome(judged, monkeypatch):
    def breaks(*_given):
        raise RuntimeError("its own defect")

    monkeypatch.setattr(explain, "prospects", breaks)
    words, text = judged(NOBODY_KEEPS)
    assert words == {"test_it": "FAILED"}
    assert "waits on `Event.wait` (the event is not set)" in text
    assert "its own defect" in text


def test_nothing_that_was_searched_is_kept(judged):
    words, _ = judged("""
        import gc
        import weakref

        KEPT = []

        async def test_leaks():
            event = asyncio.Event()
            KEPT.append(weakref.ref(event))
            asyncio.create_task(event.wait())
            await asyncio.sleep(0)

        def test_nothing_is_kept():
            gc.collect()
            assert [reference() for reference in KEPT] == [None]
    """)
    assert words == {"test_leaks": "FAILED", "test_nothing_is_kept": "PASSED"}
