"""Tests that are repeated while objects are counted: whose objects grow, who holds them, and who is left in peace."""

from __future__ import annotations

import re
import textwrap

import pytest

from pytest_taskleak.growth import repeated as counting

PRELUDE = """\
import asyncio
import pytest
import pytest_asyncio

pytestmark = pytest.mark.taskleak(repeat=5)


class Session:
    pass


"""


@pytest.fixture
def repeated(judged):
    """Judge a file all of whose tests are repeated five times, and that brings a class `Session`.

    In a process of its own: a count there takes a tenth of what it takes in the heap of all these tests.
    """

    def repeated(source, *args, **options):
        return judged(source, *args, **{"apart": True, "prelude": PRELUDE, **options})

    return repeated


CLEAN = {
    "a cache that the first run fills": """
        CACHE = {}

        def test_it():
            for number in range(1000):
                CACHE.setdefault(number, Session())
    """,
    "lru_cache of a function": """
        import functools

        @functools.lru_cache(maxsize=4)
        def bounded(number):
            return Session()

        @functools.cache
        def unbounded(number):
            return Session()

        numbers = iter(range(1000))

        def test_it():
            bounded(next(numbers))
            unbounded(7)
    """,
    "logging": """
        import logging

        def test_it(caplog):
            for number in range(20):
                logging.getLogger("a.b").warning("number %d", number, extra={"session": Session()})
            assert len(caplog.records) == 20
    """,
    "regular expressions, never the same": """
        import re

        numbers = iter(range(1000))

        def test_it():
            assert re.search(f"x{next(numbers)}(?:y|z)", "nothing") is None
    """,
    "dataclasses made inside the test": """
        import dataclasses

        def test_it():
            @dataclasses.dataclass(frozen=True, slots=True)
            class Point:
                x: int
                y: list = dataclasses.field(default_factory=list)

            assert dataclasses.replace(Point(1), x=2) == Point(2)
    """,
    "queues, events and tasks of asyncio": """
        async def test_it():
            queue = asyncio.Queue()

            async def produce():
                for _ in range(10):
                    await queue.put(Session())

            async with asyncio.TaskGroup() as group:
                group.create_task(produce())
                for _ in range(10):
                    await queue.get()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
    """,
    "a server and its clients": """
        async def test_it():
            async def echo(reader, writer):
                writer.write(await reader.readline())
                await writer.drain()
                writer.close()

            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            async with server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
                writer.write(b"hello\\n")
                assert await reader.readline() == b"hello\\n"
                writer.close()
                await writer.wait_closed()
    """,
    "mocks": """
        from unittest import mock

        def test_it():
            with mock.patch.object(Session, "send", create=True) as send, mock.patch("os.getcwd", return_value="x"):
                Session().send(1)
                send.assert_called_once_with(1)
            double = mock.MagicMock(spec=Session)
            double.x = mock.AsyncMock()
            str(double)
    """,
    "monkeypatch and the environment": """
        import os

        numbers = iter(range(1000))

        def test_it(monkeypatch):
            monkeypatch.setattr(Session, "name", f"name {next(numbers)}", raising=False)
            monkeypatch.setenv("NAME", Session.name)
            monkeypatch.setitem(os.environ, "OTHER", Session.name)
            monkeypatch.syspath_prepend("elsewhere")
    """,
    "files in tmp_path": """
        import pathlib

        def test_it(tmp_path):
            for number in range(10):
                (tmp_path / f"{number}.txt").write_text("text")
            assert len(list(tmp_path.glob("*.txt"))) == 10
    """,
    "captured output": """
        numbers = iter(range(1000))

        def test_it(capsys):
            print(f"number {next(numbers)}")
            assert "number" in capsys.readouterr().out

        def test_not_asked_for():
            print(f"number {next(numbers)}")
    """,
    "parameters": """
        @pytest.fixture(params=["a", "b"])
        def letter(request):
            return Session(), request.param

        @pytest.mark.parametrize("number", [[1], [2]])
        def test_it(letter, number, record_property):
            record_property("number", number)
    """,
    "warnings": """
        import warnings

        numbers = iter(range(1000))

        @pytest.mark.filterwarnings("default")
        def test_it():
            warnings.warn(f"number {next(numbers)}")
            with pytest.warns(UserWarning):
                warnings.warn(f"number {next(numbers)}")
    """,
    "exceptions with tracebacks": """
        def test_it():
            session = Session()
            with pytest.raises(ValueError) as caught:
                try:
                    raise KeyError(session)
                except KeyError as error:
                    raise ValueError(session) from error
            with pytest.raises(ExceptionGroup):
                raise ExceptionGroup("two", [caught.value, KeyError(session)])
    """,
    "a pool of threads that is shut down": """
        from concurrent.futures import ThreadPoolExecutor

        def test_it():
            with ThreadPoolExecutor(4) as pool:
                assert len(list(pool.map(lambda _: Session(), range(40)))) == 40

        async def test_async():
            await asyncio.to_thread(Session)
    """,
    "json, pickle and copies": """
        import copy
        import json
        import pickle

        numbers = iter(range(1000))

        def test_it():
            number = next(numbers)
            assert json.loads(json.dumps({f"key {number}": [number]})) == {f"key {number}": [number]}
            assert pickle.loads(pickle.dumps({"a": number})) == copy.deepcopy({"a": number})
    """,
    "context variables": """
        import contextvars

        current = contextvars.ContextVar("current", default=None)

        async def test_async():
            current.set(Session())
            await asyncio.create_task(asyncio.sleep(0))

        def test_it():
            token = current.set(Session())
            contextvars.copy_context().run(current.set, Session())
            current.reset(token)
    """,
    "weak dictionaries and sets": """
        import weakref

        SESSIONS, NAMES = weakref.WeakSet(), weakref.WeakKeyDictionary()

        def test_it():
            sessions = [Session() for _ in range(10)]
            for session in sessions:
                SESSIONS.add(session)
                NAMES[session] = [session.__class__.__name__]
                weakref.finalize(session, print, "gone")
    """,
    "generators that are left suspended": """
        def count():
            session = Session()
            for number in range(10):
                yield number, session

        async def acount():
            for number in range(10):
                yield number

        def test_it():
            counting = count()
            next(counting)

        async def test_async():
            counting = acount()
            await anext(counting)
            await counting.aclose()
    """,
    "an attribute of a class that is set again": """
        class Registry:
            last = None
            seen = []

        def test_it():
            Registry.last = Session()
            Registry.seen.clear()
            Registry.seen.extend(Session() for _ in range(10))
    """,
    "a fixture of the module with a bounded history": """
        from collections import deque

        @pytest.fixture(scope="module")
        def history():
            yield deque(maxlen=100)

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def pool():
            yield {}

        def test_it(history):
            history.append(Session())

        @pytest.mark.asyncio(loop_scope="module")
        async def test_async(pool):
            pool["session"] = Session()
            await asyncio.sleep(0)
    """,
    "a cache that is emptied now and then": """
        CACHE = []

        def test_it():
            if len(CACHE) == 4:
                CACHE.clear()
            CACHE.append(Session())
    """,
    "cycles that only the collector ends": """
        class Node:
            def __init__(self):
                self.other = self

            def __del__(self):
                self.other = None

        def test_it():
            [Node() for _ in range(100)]
    """,
    "the methods of a class": """
        class TestClass:
            @pytest.fixture(autouse=True)
            def prepared(self):
                self.sessions = [Session()]
                yield

            def setup_method(self):
                self.more = [Session()]

            def test_it(self):
                self.sessions.append(Session())
                assert len(self.sessions) == 2

        import unittest

        class TestCase(unittest.IsolatedAsyncioTestCase):
            def setUp(self):
                self.session = Session()

            async def test_it(self):
                self.addCleanup(print, self.session)
                await asyncio.sleep(0)
    """,
}
"""Tests that leave nothing that grows, though a simple count of all objects says so of many."""


@pytest.mark.parametrize("source", CLEAN.values(), ids=CLEAN.keys())
def test_a_clean_test_passes(repeated, source):
    words, text = repeated(source, "--taskleak-repeat=3")  # the fewer, the less it takes to be mistaken
    assert words, text
    assert set(words.values()) == {"PASSED"}, text
    assert "grow" not in text


LEAKING = {
    "a list": (
        """
        CACHE = []

        def test_it():
            CACHE.append(Session())
        """,
        "+1 Session each time (5 of 5)",
        "test_it.CACHE (list) -> Session",
    ),
    "a dict of plain values": (
        """
        NAMES = {}
        numbers = iter(range(1_000_000, 2_000_000))  # beyond those that the interpreter keeps (1,024 on 3.15)

        def test_it():
            number = next(numbers)
            NAMES[f"name {number}"] = number + 0.5
        """,
        "+1 float each time (5 of 5)",
        "test_it.NAMES (dict) -> ",
    ),
    "strings in a set": (
        """
        NAMES = set()

        def test_it():
            NAMES.update({f"name {len(NAMES)} of {number}" for number in range(3)})
        """,
        "+3 str each time (5 of 5)",
        "test_it.NAMES (set) -> str",
    ),
    "one object in every second run": (
        """
        CACHE = []
        numbers = iter(range(1000))

        def test_it():
            if next(numbers) % 2:
                CACHE.append(Session())
        """,
        "+1 Session every other time (2 of 5)",
        "test_it.CACHE (list) -> Session",
    ),
    "one object in every second run, the odd ones": (
        """
        CACHE = {}
        numbers = iter(range(1_000_000, 2_000_000))  # beyond those that the interpreter keeps (1,024 on 3.15)

        def test_it():
            number = next(numbers)
            if number % 2 == 0:
                CACHE[number] = "text"
        """,
        "+1 int every other time (3 of 5)",
        "test_it.CACHE (dict) -> int",
    ),
    "a closure in a list of callbacks": (
        """
        class Bus:
            def __init__(self):
                self.callbacks = []

        BUS = Bus()

        def test_it():
            session = Session()

            def changed():
                print(session)

            BUS.callbacks.append(changed)
        """,
        "+1 function each time (5 of 5)",
        "test_it.BUS (Bus) -> callbacks (list) -> test_it.<locals>.changed (function)",
    ),
    "a cycle that a registry keeps": (
        """
        class Node:
            registry = {}

            def __init__(self):
                self.session = Session()
                self.session.node = self
                self.registry[id(self)] = self.session

        def test_it():
            Node()
        """,
        "+1 Session",
        "test_it.Node.registry (dict) -> ",
    ),
    "a cached method with a new self each time": (
        """
        import functools

        class Client:
            @functools.lru_cache(maxsize=None)
            def get(self, path):
                return len(path)

        def test_it():
            Client().get("/")
        """,
        "+1 Client each time (5 of 5)",
        "test_it.Client.get (_lru_cache_wrapper) -> ",
    ),
    "an async test": (
        """
        CACHE = []

        async def test_it():
            await asyncio.sleep(0)
            CACHE.append((Session(), Session()))
        """,
        "+2 Session",
        "test_it.CACHE (list) -> ",
    ),
    "an attribute of a class": (
        """
        class Registry:
            sessions = ()

        def test_it():
            Registry.sessions = (*Registry.sessions, Session())
        """,
        "+1 Session each time (5 of 5)",
        "test_it.Registry.sessions (tuple) -> Session",
    ),
    "a chain of which only the last is held": (
        """
        class Node:
            def __init__(self, before):
                self.before = before

        last = None

        def test_it():
            global last
            last = Node(last)
        """,
        "+1 Node each time (5 of 5)",
        "test_it.last (Node)",
    ),
    "an exception that is kept with its traceback": (
        """
        errors = []

        def fails():
            session = Session()
            raise ValueError(session)

        def test_it():
            try:
                fails()
            except ValueError as error:
                errors.append(error)
        """,
        "+1 ValueError each time (5 of 5)",
        "test_it.errors (list) -> ValueError",
    ),
    "a fixture of the module": (
        """
        class Pool:
            def __init__(self):
                self.sessions = []

        @pytest.fixture(scope="module")
        def pool():
            yield Pool()

        def test_it(pool):
            pool.sessions.append(Session())
        """,
        "+1 Session each time (5 of 5)",
        "fixture `pool` (Pool) -> sessions (list) -> Session",
    ),
    "an async fixture of the module": (
        """
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def pool():
            yield []

        @pytest.mark.asyncio(loop_scope="module")
        async def test_it(pool):
            pool.append(Session())
        """,
        "+1 Session each time (5 of 5)",
        "fixture `pool` (list) -> Session",
    ),
    "a context variable": (
        """
        import contextvars

        sessions = contextvars.ContextVar("sessions")

        def test_it():
            sessions.set([*sessions.get([]), Session()])
        """,
        "+1 Session each time (5 of 5)",
        "context variable `sessions` (list) -> Session",
    ),
}


@pytest.mark.parametrize(("source", "grows", "holders"), LEAKING.values(), ids=LEAKING.keys())
def test_what_grows_fails_the_test_and_its_holders_are_named(repeated, source, grows, holders):
    words, text = repeated(source)
    assert words == {"test_it": "FAILED"}, text
    assert f"TaskLeakError: objects grow with each repetition of `test_it`: {grows}" in text
    assert f"held by {holders}" in re.sub(r"\n {4}", " ", text)
    assert "1 cause, 1 growing type in 1 test" in text


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (
            """
            class TestClass:
                def test_it(self):
                    assert vars(self) == {}
                    self.session = Session()
                    CACHE.append(self.session)
            """,
            "TestClass::test_it",
        ),
        (
            """
            @pytest.mark.parametrize("number", [1])
            def test_it(number, tmp_path, capsys):
                CACHE.append(Session())
            """,
            "test_it[1]",
        ),
        (
            """
            import unittest

            class TestCase(unittest.IsolatedAsyncioTestCase):
                async def test_it(self):
                    CACHE.append(Session())
                    await asyncio.sleep(0)
            """,
            "TestCase::test_it",
        ),
        (
            """
            @pytest.fixture
            async def session():
                yield Session()

            async def test_it(session):
                CACHE.append(session)
            """,
            "test_it",
        ),
        (
            """
            @pytest.mark.asyncio(loop_scope="module")
            async def test_it():
                CACHE.append(Session())
            """,
            "test_it",
        ),
    ],
    ids=["a class", "parameters", "unittest", "an async fixture of its own", "a loop of the module"],
)
def test_every_kind_of_test_can_be_repeated(repeated, source, name):
    words, text = repeated("CACHE = []\n" + textwrap.dedent(source))
    assert words == {name: "FAILED"}
    assert "+1 Session each time (5 of 5)" in text
    assert "held by test_it.CACHE (list) -> Session" in text


def test_a_test_of_anyio_can_be_repeated(project):
    project.write(
        prelude="import pytest\n",
        source="""
        CACHE = []

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_it():
            CACHE.append(object())
        """,
    )
    result = project.run("-p", "no:asyncio", "-o", "addopts=", "--taskleak-repeat=3")
    result.assert_outcomes(failed=1)
    assert "+1 object each time (3 of 3)" in result.stdout.str()


def test_the_line_that_made_one_is_told_where_tracemalloc_knows_it(project):
    project.write(
        source="""
        import tracemalloc

        CACHE = []

        @pytest.fixture(scope="module", autouse=True)
        def traced():
            tracemalloc.start()
            yield
            tracemalloc.stop()

        def connect():
            return object()

        @pytest.mark.taskleak(repeat=3)
        def test_it():
            CACHE.append(connect())
        """
    )
    result = project.run_apart()  # in the heap of all tests, tracing takes seconds
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["test_it.py:*: TaskLeakError", "one was created at", "test_it.py:*:", "*return object()"]
    )
    lines = (project.pytester.path / "test_it.py").read_text().splitlines()
    assert f"test_it.py:{lines.index('    return object()') + 1}: TaskLeakError" in result.outlines


def test_two_holders_are_two_causes(repeated):
    words, text = repeated("""
        class Token:
            pass

        SESSIONS, TOKENS = [], {}

        def test_it():
            SESSIONS.append(Session())
            TOKENS[Token()] = None
    """)
    assert words == {"test_it": "FAILED"}
    assert "objects grow with each repetition of `test_it`: +1 Session each time (5 of 5), and 1 more" in text
    assert "held by test_it.SESSIONS (list) -> Session" in text
    assert "held by test_it.TOKENS (dict) -> Token" in text
    assert "2 causes, 2 growing types in 1 test" in text


def test_a_plain_container_is_no_cause_of_its_own_where_something_telling_grows(repeated):
    words, text = repeated("""
        SESSIONS, ROWS = [], []

        def test_it():
            SESSIONS.append(Session())
            ROWS.append([1, 2])
    """)
    assert words == {"test_it": "FAILED"}
    assert "held by test_it.SESSIONS (list) -> Session" in text
    assert "with it: +1 list each time (5 of 5)" in text
    assert "held by test_it.ROWS" not in text
    assert "1 cause, 1 growing type in 1 test" in text


def test_a_plain_container_is_a_cause_where_nothing_else_grows(repeated):
    words, text = repeated("""
        ROWS = []

        def test_it():
            ROWS.append([1, 2])
    """)
    assert words == {"test_it": "FAILED"}
    assert "held by test_it.ROWS (list) -> list" in text


def test_a_defect_in_the_counting_changes_no_outcome(project, monkeypatch):
    def breaks(self):
        raise RuntimeError("its own defect")

    monkeypatch.setattr(counting.Counts, "count", breaks)
    project.write(source="@pytest.mark.taskleak(repeat=3)\ndef test_it(): pass\n")
    result = project.run()
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    assert "RuntimeError: its own defect" in result.stdout.str()
    assert "taskleak: a defect of the plugin itself" in result.stdout.str()


# -- what a repeated test is to others


RUNS = """
    told = []

    @pytest.fixture(scope="module")
    def wide():
        told.append("wide")
        yield
        told.append("end of wide")

    @pytest.fixture
    def fresh():
        told.append("fresh")
        yield []
        told.append("end")

    @pytest.mark.taskleak(repeat=3)
    def test_it(wide, fresh, record_property, request):
        print("printed")
        record_property("run", 1)
        assert fresh == []
        fresh.append(1)
        told.append(request.node.name)

    @pytest.mark.taskleak(repeat=0)
    def test_looks():
        assert told == ["wide", *["fresh", "test_it", "end"] * 6]
"""


def test_own_fixtures_are_made_anew_and_wider_ones_stay(project):
    project.write(source=RUNS)
    project.run_apart().assert_outcomes(passed=2)


def test_a_repeated_test_is_reported_once(project):
    project.write(source=RUNS)
    project.write(
        "conftest.py",
        """
        def pytest_runtest_logstart(nodeid):
            print("start", nodeid)

        def pytest_runtest_logreport(report):
            print(report.nodeid, report.when, report.outcome, len(report.sections), report.user_properties)
        """,
    )
    result = project.run_apart("-s", "test_it.py::test_it")
    assert [line.lstrip(".") for line in result.outlines if " passed " in line and "::" in line] == [
        "test_it.py::test_it setup passed 0 []",
        "test_it.py::test_it call passed 0 [('run', 1)]",
        "test_it.py::test_it teardown passed 0 [('run', 1)]",
    ]
    assert result.stdout.str().count("start test_it.py::test_it") == 1


def test_what_is_printed_is_shown_of_the_last_run_alone(project):
    project.write(source=RUNS.replace("assert fresh == []", "assert told.count('end') < 5"))
    result = project.run_apart("test_it.py::test_it")
    result.assert_outcomes(failed=1)
    assert result.stdout.str().count("printed\n") == 1


@pytest.mark.parametrize(
    ("what", "outcomes"),
    [
        ("assert not 'its own'", {"failed": 1}),
        ("pytest.skip('its own')", {"skipped": 1}),
        ("request.applymarker(pytest.mark.xfail(strict=True)); assert not 'its own'", {"xfailed": 1}),
        ("pytest.exit('its own')", {}),
    ],
    ids=["fails", "skips", "fails as expected", "ends the run"],
)
def test_a_repetition_that_does_not_pass_is_the_result(project, what, outcomes):
    project.write(
        source=f"""
        runs = []

        @pytest.fixture(scope="module")
        def wide():
            yield
            print("runs:", len(runs))

        @pytest.mark.taskleak(repeat=3)
        def test_it(request, wide):
            runs.append(1)
            if len(runs) == 4:
                {what}
        """
    )
    result = project.run_apart("-s")
    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines(["*runs: 4"])
    assert "grow" not in result.stdout.str()


def test_a_repetition_whose_teardown_fails_is_told_of(project):
    project.write(
        source="""
        runs = []

        @pytest.fixture
        def breaks():
            yield
            runs.append(1)
            assert len(runs) != 2, "its own"

        @pytest.mark.taskleak(repeat=3)
        def test_it(breaks):
            pass

        def test_other():
            assert len(runs) == 3
        """
    )
    result = project.run_apart()
    result.assert_outcomes(passed=2, errors=1)
    assert "AssertionError: its own" in result.stdout.str()


def test_a_repetition_that_leaves_a_task_fails_with_it(project):
    project.write(
        source="""
        runs, kept = [], []

        @pytest.mark.taskleak(repeat=3)
        async def test_it():
            runs.append(1)
            if len(runs) == 2:
                kept.append(asyncio.create_task(forever(), name="poller"))

        def test_other():
            assert len(runs) == 3
        """
    )
    result = project.run_apart()
    result.assert_outcomes(passed=1, failed=1)
    assert "1 task outlived `test_it`: task 'poller'" in result.stdout.str()


def test_a_setup_that_fails_ends_the_repetitions(project):
    project.write(
        source="""
        runs = []

        @pytest.fixture
        def breaks():
            runs.append(1)
            assert len(runs) < 3

        def test_it(breaks):
            pass
        """
    )
    project.run_apart("--taskleak-repeat=5").assert_outcomes(errors=1)


def test_the_first_failure_ends_the_run_where_that_is_asked_for(project):
    project.write(
        source="""
        @pytest.fixture(scope="module")
        def wide():
            yield
            print("end of wide")

        def test_it(wide):
            assert not "its own"

        def test_other(wide):
            pass
        """
    )
    result = project.run_apart("--taskleak-repeat=3", "-x", "-s")
    result.assert_outcomes(failed=1)
    assert "end of wide" in result.stdout.str()
    assert "stopping after 1 failures" in result.stdout.str()


GROWS = """
    CACHE = []

    {marker}
    def test_it():
        CACHE.append(object())
"""


@pytest.mark.parametrize(
    ("marker", "args"),
    [
        ('@pytest.mark.taskleak("off", repeat=3)', []),
        ("@pytest.mark.taskleak(repeat=0)", []),
        ('@pytest.mark.taskleak(repeat=3, expect="object", reason="they are few")', []),
        ("@pytest.mark.taskleak(repeat=3)", ["--taskleak-repeat=0"]),
        ("@pytest.mark.taskleak(repeat=3)", ["--taskleak=off"]),
        ("", ["--taskleak-repeat=3", "--setup-only"]),
    ],
)
def test_what_is_not_asked_for_or_expected_does_not_fail(project, marker, args):
    project.write(source=GROWS.format(marker=marker))
    result = project.run_apart(*args)
    assert result.ret == pytest.ExitCode.OK
    assert "grow" not in result.stdout.str()


def test_growth_is_only_shown_where_that_is_asked_for(project):
    project.write(source=GROWS.format(marker="@pytest.mark.taskleak('warn', repeat=3)"))
    result = project.run_apart()
    result.assert_outcomes(passed=1)
    assert "objects grow with each repetition of `test_it`: +1 object each time (3 of 3)" in result.stdout.str()


@pytest.mark.parametrize(
    ("ini", "marker", "args", "times"),
    [
        ("3", None, [], 3),
        ("3", 4, [], 4),
        ("3", 4, ["--taskleak-repeat=5"], 5),
        (None, None, ["--taskleak-repeat=3"], 3),
        (None, None, [], None),
    ],
    ids=["ini", "marker", "line", "line alone", "default"],
)
def test_the_number_is_taken_from_the_first_that_says(project, ini, marker, args, times):
    project.write(source=GROWS.format(marker=f"@pytest.mark.taskleak(repeat={marker})" if marker else ""))
    if ini:
        project.ini(f"taskleak_repeat = {ini}\n")
    text = project.run_apart(*args).stdout.str()
    assert (f"+1 object each time ({times} of {times})" in text) is (times is not None)
    assert ("grow" in text) is (times is not None)


def test_growth_shows_under_xdist(project):
    project.write(source=GROWS.format(marker="@pytest.mark.taskleak(repeat=3)"))
    result = project.run_apart("-n1", "-v")
    result.assert_outcomes(failed=1)
    assert "held by test_it.CACHE (list) -> object" in result.stdout.str()


def test_growth_fails_each_rerun(project):
    project.write(source=GROWS.format(marker="@pytest.mark.taskleak(repeat=3)"))
    result = project.run_apart("--reruns=1")
    assert "1 failed" in result.stdout.str()
    assert "1 rerun" in result.stdout.str()
    assert "+1 object each time (3 of 3)" in result.stdout.str()


def test_a_clean_test_passes_where_reruns_are_asked_for(project):
    project.write(source="@pytest.mark.taskleak(repeat=3)\ndef test_it(): pass\n")
    result = project.run_apart("--reruns=1")
    result.assert_outcomes(passed=1)
    assert "rerun" not in result.stdout.str().partition("collected")[2]


def test_growth_has_the_failure_of_any_test_in_junit(project):
    project.write(source=GROWS.format(marker="@pytest.mark.taskleak(repeat=3)"))
    project.run_apart("--junitxml=junit.xml")
    text = (project.pytester.path / "junit.xml").read_text()
    assert 'failures="1"' in text
    assert text.count("<testcase ") == 1
    assert "objects grow with each repetition of `test_it`" in text


def test_the_collector_is_left_as_it_was_and_nothing_is_kept(project):
    project.write(
        source="""
        import gc
        import weakref

        CACHE, SEEN = [], []

        class Session:
            pass

        @pytest.fixture(scope="module", autouse=True)
        def collector():
            gc.set_threshold(701, 11, 12)
            gc.disable()
            gc.freeze()
            yield
            gc.enable()
            gc.unfreeze()
            gc.set_threshold(700, 10, 10)

        @pytest.mark.taskleak("warn", repeat=3)
        def test_it():
            CACHE.append(Session())
            SEEN.append(weakref.ref(CACHE[-1]))

        def test_looks():
            assert not gc.isenabled()
            assert gc.get_threshold()[0] == 701
            assert gc.get_freeze_count()
            assert gc.get_debug() == 0
            CACHE.clear()
            assert [seen() for seen in SEEN] == [None] * 6
        """
    )
    project.run_apart().assert_outcomes(passed=2)
