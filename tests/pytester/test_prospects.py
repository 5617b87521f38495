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
    monkeypatch.setattr(explain, "outlooks", lambda *given, **_: asked.append(given) or {})
    project.ini(ini)
    words, text = judged(NOBODY_KEEPS, *args)
    assert words == {"test_it": "FAILED"}
    assert "waits on `Event.wait` (the event is not set)" in text
    assert not asked


def test_a_clean_run_does_not_search(judged, monkeypatch):
    asked = []
    monkeypatch.setattr(explain, "outlooks", lambda *given, **_: asked.append(given) or {})
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
    def breaks(*_given, **_named):
        raise RuntimeError("its own defect")

    monkeypatch.setattr(explain, "outlooks", breaks)
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


def held_by(text):
    """Who holds a task, and what is underlined of it."""
    lines = text.splitlines()
    number = next(number for number, line in enumerate(lines) if line.startswith("held by "))
    under = lines[number + 1]
    start = len(under) - len(under.lstrip())
    return lines[number], lines[number][start:] if set(under.strip()) == {"~"} else ""


def test_with_v_a_report_names_who_holds_the_task_and_underlines_what_to_look_at(judged):
    _, text = judged(
        """
        class Bot:
            def __init__(self):
                self.tasks = set()

        BOT = Bot()

        async def test_it():
            BOT.tasks.add(asyncio.create_task(forever()))
        """,
        "-v",
    )
    assert held_by(text) == ("held by test_it.BOT (Bot) -> tasks (set)", "tasks (set)")


def test_with_v_nobody_is_an_answer_too(judged):
    _, text = judged(NOBODY_KEEPS, "-v")
    assert held_by(text) == ("held by nobody", "")


def test_a_fixture_wider_than_the_test_is_a_holder_and_pytest_is_none(judged):
    _, text = judged(
        """
        class Bot:
            task = None

        @pytest.fixture(scope="module")
        def bot():
            return Bot()

        async def test_one(bot):
            bot.task = asyncio.create_task(forever())
        """,
        "-v",
    )
    assert held_by(text)[0].startswith("held by fixture `bot` -> Bot -> task")
    assert "_pytest" not in held_by(text)[0]


def test_a_task_of_a_failing_test_is_held_by_its_traceback(judged):
    _, text = judged(
        """
        async def test_it():
            task = asyncio.create_task(forever())
            await asyncio.sleep(0)
            assert task.done()
        """,
        "-v",
    )
    assert held_by(text) == (
        "held by the traceback of an exception -> local `task` of `test_it`",
        "local `task` of `test_it`",
    )


def test_without_v_nobody_is_told_who_holds_it(judged):
    _, text = judged(NOBODY_KEEPS)
    assert "held by" not in text
