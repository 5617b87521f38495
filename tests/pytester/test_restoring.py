"""What is wrapped is put back, wrapping changes nothing for its users, and nothing of theirs is kept."""

from __future__ import annotations

import asyncio
import asyncio.base_events
import threading

import pytest
import uvloop

CLASSES = (
    asyncio.Runner,
    asyncio.AbstractEventLoop,
    asyncio.BaseEventLoop,
    *asyncio.SelectorEventLoop.__mro__[:-1],
    threading.Thread,
    asyncio.BaseTransport,
    asyncio.base_events.Server,
    *uvloop.Loop.__mro__[:-1],
)

LEAKY = """
    kept = []

    async def test_leaks():
        kept.append(asyncio.create_task(forever(), name="poller"))

    async def test_is_clean():
        await asyncio.sleep(0)

    async def test_fails():
        assert not "its own"
"""


def everything():
    """All that the classes hold themselves; what they inherit is not among it."""
    return {cls: dict(vars(cls)) for cls in CLASSES}


# -- restored however the run ends


@pytest.mark.parametrize(
    ("source", "args", "status"),
    [
        ("async def test_clean(): pass", [], pytest.ExitCode.OK),
        (LEAKY, [], pytest.ExitCode.TESTS_FAILED),
        (LEAKY, ["-x"], pytest.ExitCode.TESTS_FAILED),
        (LEAKY, ["--taskleak=warn"], pytest.ExitCode.TESTS_FAILED),
        (LEAKY, ["--taskleak-strict", "--taskleak-cancel"], pytest.ExitCode.TESTS_FAILED),
        (LEAKY, ["--taskleak-blocked=0.05"], pytest.ExitCode.TESTS_FAILED),
        (LEAKY, ["--collect-only"], pytest.ExitCode.OK),
        (LEAKY + "\n    raise KeyboardInterrupt\n", [], pytest.ExitCode.INTERRUPTED),
        ("async def test_cut(): raise KeyboardInterrupt", [], pytest.ExitCode.INTERRUPTED),
        ("async def test_cut(): pytest.exit('enough')", [], pytest.ExitCode.INTERRUPTED),
        ("async def test_cut(): raise SystemExit(5)", [], pytest.ExitCode.TESTS_FAILED),
        ("import nothing_of_that_name", [], pytest.ExitCode.INTERRUPTED),
        ("@pytest.mark.taskleak('maybe')\nasync def test_one(): pass", [], pytest.ExitCode.USAGE_ERROR),
        ("async def test_one(): pass", ["--taskleak-grace=soon"], pytest.ExitCode.USAGE_ERROR),
        ("async def test_one(): pass", ["no_such_file.py"], pytest.ExitCode.USAGE_ERROR),
        ("async def test_one(): pass", ["-k", "nothing"], pytest.ExitCode.NO_TESTS_COLLECTED),
    ],
)
def test_all_is_as_before_however_the_run_ends(project, source, args, status):
    project.write(source=source)
    before = everything()
    result = project.pytester.runpytest_inprocess("-p", "no:randomly", *args, no_reraise_ctrlc=True)
    assert result.ret == status
    assert everything() == before


def test_all_is_as_before_when_another_plugin_breaks_the_run(project):
    project.write(source=LEAKY)
    project.write("conftest.py", "def pytest_runtest_logfinish(): raise RuntimeError('theirs')", prelude="")
    before = everything()
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    assert "theirs" in result.stdout.str() + result.stderr.str()
    assert everything() == before


SEES = """
import asyncio
import threading

import uvloop

NAMES = [
    (asyncio.Runner, "close"),
    (asyncio.BaseEventLoop, "create_task"),
    (asyncio.BaseEventLoop, "close"),
    (asyncio.BaseEventLoop, "call_exception_handler"),
    (asyncio.SelectorEventLoop, "close"),
    (threading.Thread, "start"),
    (uvloop.Loop, "create_task"),
    (uvloop.Loop, "close"),
    (uvloop.Loop, "call_exception_handler"),
]
BEFORE = [getattr(cls, name) for cls, name in NAMES]
"""


def test_while_it_runs_every_name_is_wrapped(project):
    """The control of those above: there is something to restore."""
    project.write("conftest.py", prelude=SEES)
    project.write(
        source="""
        import conftest

        @pytest.mark.parametrize("number", range(len(conftest.NAMES)))
        def test_is_wrapped(number):
            cls, name = conftest.NAMES[number]
            assert getattr(cls, name) is not conftest.BEFORE[number]
        """
    )
    before = everything()
    project.run().assert_outcomes(passed=9)
    assert everything() == before


# -- somebody else wraps the same names


OTHER = (
    SEES
    + """
import functools

import pytest

CALLS = set()
UNDO = []


def wrap():
    for cls, name in NAMES:
        before = vars(cls).get(name)
        original = getattr(cls, name)

        def theirs(*args, _original=original, _key=(cls.__name__, name), **kwargs):
            CALLS.add(_key)
            return _original(*args, **kwargs)

        {wraps}
        setattr(cls, name, theirs)
        UNDO.append((cls, name, before))


def unwrap():
    for cls, name, before in UNDO:
        if before is None:
            delattr(cls, name)
        else:
            setattr(cls, name, before)
    UNDO.clear()


@pytest.hookimpl({first})
def {wrap}():
    if not UNDO:
        wrap()


@pytest.hookimpl({last})
def {unwrap}():
    unwrap()
    print()
    print("calls:", sorted(CALLS))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main():
    status = yield
    call_everything()
    print("restored:", [getattr(cls, name) for cls, name in NAMES] == BEFORE)
    return status


def call_everything():
    async def nothing():
        await asyncio.get_running_loop().create_task(asyncio.sleep(0))
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        asyncio.get_running_loop().call_exception_handler({{"message": "nothing"}})

    thread = threading.Thread(target=asyncio.run, args=(nothing(),))
    thread.start()
    thread.join()
    uvloop.run(nothing())
"""
)

TOUCHES_ALL = """
    import threading

    import uvloop

    kept = []

    async def hold():
        kept.append(asyncio.create_task(forever(), name="poller"))

    def test_leaks():
        asyncio.run(hold())

    def test_leaks_on_uvloop():
        uvloop.run(hold())

    def test_is_clean():
        thread = threading.Thread(target=print)
        thread.start()
        thread.join()
        for loop in (asyncio.new_event_loop(), uvloop.new_event_loop()):
            loop.set_exception_handler(lambda loop, context: None)
            loop.call_exception_handler({"message": "nothing"})
            loop.close()
"""


ORDERS = [
    pytest.param(("pytest_configure", "tryfirst", "pytest_unconfigure", "trylast"), id="around"),
    pytest.param(("pytest_configure", "tryfirst", "pytest_sessionfinish", "tryfirst"), id="before-and-first"),
    pytest.param(("pytest_runtest_setup", "tryfirst", "pytest_sessionfinish", "tryfirst"), id="inside"),
    pytest.param(("pytest_runtest_setup", "tryfirst", "pytest_unconfigure", "trylast"), id="after-and-last"),
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("wraps", ["", "theirs = functools.wraps(original)(theirs)"], ids=["plain", "functools"])
@pytest.mark.parametrize("apart", [False, True], ids=["in-process", "apart"])
def test_another_plugin_may_wrap_the_same_names_in_any_order(project, order, wraps, apart):
    wrap, first, unwrap, last = order
    project.write(
        "conftest.py",
        prelude=OTHER.format(wrap=wrap, first=f"{first}=True", unwrap=unwrap, last=f"{last}=True", wraps=wraps),
    )
    project.write(source=TOUCHES_ALL)
    before = everything()
    result = (project.run_apart if apart else project.run)("-s")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(["*outlived `test_leaks`:*", "*outlived `test_leaks_on_uvloop`:*"])
    (calls,) = (line for line in result.outlines if "calls: " in line)
    assert calls.count("('") == 9
    assert "restored: True" in result.stdout.str()
    assert everything() == before


# -- a run inside a run


INNER = """
    INNER = '''
    import asyncio

    kept = []

    async def forever():
        await asyncio.Event().wait()

    async def start():
        kept.append(asyncio.create_task(forever(), name="inner-poller"))

    def test_inner_leaks():
        asyncio.run(start())

    def test_inner_leaves_a_loop_open():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(start())
        kept.append(loop)

    def test_inner_is_clean():
        asyncio.run(asyncio.sleep(0))
        kept[-1].close()
    '''

    kept = []

    @pytest.fixture
    def inner(pytester):
        pytester.makeini("[pytest]\\nasyncio_mode = auto\\nasyncio_default_fixture_loop_scope = function")
        pytester.makepyfile(INNER)
        return pytester

    async def outer_start():
        kept.append(asyncio.create_task(forever(), name="outer-poller"))

    def test_runs_tests(inner):
        result = inner.runpytest_inprocess("-p", "no:randomly")
        result.assert_outcomes(passed=1, failed=2)
        result.stdout.fnmatch_lines_random([
            "*1 task outlived `test_inner_leaks`: task 'inner-poller'*",
            "*1 task outlived `test_inner_leaves_a_loop_open`: task 'inner-poller'*",
        ])
        assert "outer-poller" not in result.stdout.str()

    def test_leaks_before_it_runs_tests(inner):
        asyncio.run(outer_start())
        inner.runpytest_inprocess("-p", "no:randomly").assert_outcomes(passed=1, failed=2)

    def test_leaks_after_it_ran_tests(inner):
        inner.runpytest_inprocess("-p", "no:randomly").assert_outcomes(passed=1, failed=2)
        asyncio.run(outer_start())

    def test_is_clean():
        asyncio.run(asyncio.sleep(0))
"""


@pytest.mark.parametrize("apart", [False, True], ids=["in-process", "apart"])
def test_a_run_inside_a_run_keeps_to_itself(project, apart):
    project.write("conftest.py", 'pytest_plugins = ["pytester"]', prelude="")
    project.write(source=INNER)
    before = everything()
    result = (project.run_apart if apart else project.run)("-rA")
    result.assert_outcomes(passed=2, failed=2)
    words = {line.split(" - ")[0] for line in result.outlines if line.startswith(("PASSED test_it", "FAILED test_it"))}
    assert words == {
        "PASSED test_it.py::test_runs_tests",
        "FAILED test_it.py::test_leaks_before_it_runs_tests",
        "FAILED test_it.py::test_leaks_after_it_ran_tests",
        "PASSED test_it.py::test_is_clean",
    }
    ends = result.stdout.str().rpartition("= taskleak =")[2]
    assert "1 cause, 2 leaked tasks in 2 tests" in ends
    assert "inner-poller" not in ends
    assert everything() == before


def test_a_run_inside_an_asynchronous_test_keeps_to_itself(project):
    """It runs in a thread of its own, where it has loops of its own."""
    project.write("conftest.py", 'pytest_plugins = ["pytester"]', prelude="")
    source = INNER.replace("def test_runs_tests(inner):", "async def test_runs_tests(inner):").replace(
        'result = inner.runpytest_inprocess("-p", "no:randomly")',
        'result = await asyncio.to_thread(inner.runpytest_inprocess, "-p", "no:randomly", "-p", "no:faulthandler")',
    )
    project.write(source=source)
    result = project.run("-k", "test_runs_tests or test_is_clean")
    result.assert_outcomes(passed=2, deselected=2)


# -- what is wrapped behaves as before


BEHAVES = """
    import contextvars
    import inspect
    import threading

    import conftest
    import uvloop

    VARIABLE = contextvars.ContextVar("VARIABLE", default="outside")
    LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
    NUMBERS = range(len(conftest.NAMES))

    @pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
    def loop(request):
        loop = request.param()
        yield loop
        loop.close()

    async def answer():
        await asyncio.sleep(0)
        return VARIABLE.get()

    async def fail():
        raise LookupError("its own")

    @pytest.mark.parametrize("number", NUMBERS)
    def test_names_and_signatures(number):
        cls, name = conftest.NAMES[number]
        before, now = conftest.BEFORE[number], getattr(cls, name)
        assert now is not before
        for attribute in ("__name__", "__qualname__", "__doc__", "__module__"):
            assert getattr(now, attribute, None) == getattr(before, attribute, None), attribute
        try:
            signature = inspect.signature(before)
        except ValueError:
            return
        assert inspect.signature(now) == signature

    def test_positional(loop):
        assert loop.run_until_complete(loop.create_task(answer())) == "outside"

    def test_keywords(loop):
        context = contextvars.copy_context()
        context.run(VARIABLE.set, "inside")
        task = loop.create_task(coro=answer(), name="named", context=context)
        assert (type(task), task.get_name()) == (asyncio.Task, "named")
        assert loop.run_until_complete(task) == "inside"
        assert VARIABLE.get() == "outside"

    def test_only_a_name(loop):
        task = loop.create_task(answer(), name="named")
        assert task.get_name() == "named"
        assert loop.run_until_complete(task) == "outside"

    def test_exceptions_of_tasks(loop):
        task = loop.create_task(fail())
        with pytest.raises(LookupError, match="its own") as raised:
            loop.run_until_complete(task)
        assert not any("pytest_taskleak" in str(entry.path) for entry in raised.traceback)

    def test_nothing_given(loop):
        with pytest.raises(TypeError):
            loop.create_task()

    def test_no_coroutine_given(loop):
        with pytest.raises(TypeError, match="a coroutine was expected, got 7"):
            loop.create_task(7)

    def test_unknown_keyword(loop):
        coroutine = answer()
        with pytest.raises(TypeError, match="colour"):
            loop.create_task(coroutine, colour="red")
        coroutine.close()

    def test_a_closed_loop(loop):
        loop.close()
        coroutine = answer()
        with pytest.raises(RuntimeError, match="closed"):
            loop.create_task(coroutine)
        coroutine.close()

    def test_closing_twice(loop):
        assert loop.close() is None
        assert loop.close() is None
        assert loop.is_closed()

    def test_closing_a_running_loop(loop):
        async def close():
            with pytest.raises(RuntimeError, match="running"):
                loop.close()
        loop.run_until_complete(close())
        assert not loop.is_closed()

    def test_handlers_by_position_and_keyword(loop):
        heard = []
        loop.set_exception_handler(lambda loop, context: heard.append((loop, context)))
        assert loop.call_exception_handler({"message": "one"}) is None
        assert loop.call_exception_handler(context={"message": "two"}) is None
        assert heard == [(loop, {"message": "one"}), (loop, {"message": "two"})]

    def test_factories(loop):
        class Special(asyncio.Task):
            pass
        loop.set_task_factory(lambda loop, coro, **kwargs: Special(coro, loop=loop, **kwargs))
        task = loop.create_task(answer(), name="special")
        assert (type(task), task.get_name()) == (Special, "special")
        loop.run_until_complete(task)

    def test_subclasses():
        calls = []
        class Loop(asyncio.SelectorEventLoop):
            def create_task(self, coro, **kwargs):
                calls.append("create_task")
                return super().create_task(coro, **kwargs)
            def close(self):
                calls.append("close")
                super().close()
        with asyncio.Runner(loop_factory=Loop) as runner:
            assert runner.run(answer()) == "outside"
        assert calls[0] == "create_task"
        assert calls[-1] == "close"

    def test_runners():
        runner = asyncio.Runner()
        assert runner.run(answer()) == "outside"
        assert runner.close() is None
        assert runner.close() is None
        with pytest.raises(RuntimeError, match="closed"):
            runner.get_loop()
        assert asyncio.Runner().close() is None

    def test_threads():
        ran = []
        thread = threading.Thread(target=ran.append, args=(1,))
        assert thread.start() is None
        thread.join()
        assert ran == [1]
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            thread.start()

    def test_debug_mode_shows_the_users_line_last():
        async def make():
            line = inspect.currentframe().f_lineno + 1
            direct = asyncio.get_running_loop().create_task(answer())
            frame = direct._source_traceback[-1]
            assert (frame.filename, frame.lineno) == (__file__, line)
            assert not any("watcher" in frame.filename for frame in direct._source_traceback)
            through = asyncio.create_task(answer())
            assert through._source_traceback[-1].name == "create_task"
            assert through._source_traceback[-2].filename == __file__
            assert not any("watcher" in frame.filename for frame in through._source_traceback)
            assert "created at " + __file__ in repr(direct)
            await asyncio.gather(direct, through)
        asyncio.run(make(), debug=True)

    def test_stacks_of_tasks():
        async def make():
            task = asyncio.create_task(forever())
            await asyncio.sleep(0)
            assert [frame.f_code.co_name for frame in task.get_stack()] == ["forever"]
            task.cancel()
        asyncio.run(make())
"""


def test_what_is_wrapped_behaves_as_before(project):
    project.write("conftest.py", prelude=SEES)
    project.write(source=BEHAVES)
    result = project.run_apart("-rfE")
    assert "FAILED" not in result.stdout.str()
    result.assert_outcomes(passed=9 + 2 * 12 + 5)


def test_what_a_finalizer_raises_fails_no_test_that_happens_to_run(project):
    """The plugin collects garbage of its own accord: what pytest hears then, it tells when the tests are over."""
    project.write(
        source="""
        import gc
        import socket

        gc.disable()  # what the collector finds of its own accord fails whatever test runs, with the plugin or without

        def leave_in_a_cycle():
            cycle = [socket.socket()]
            cycle.append(cycle)

        def test_leaves_a_socket():
            leave_in_a_cycle()

        async def test_is_innocent():
            await asyncio.create_task(asyncio.sleep(0))
            leave_in_a_cycle()

        async def test_is_innocent_too():
            await asyncio.create_task(asyncio.sleep(0))
    """
    )
    plain = project.run_apart("-p", "no:taskleak", "-W", "error")
    result = project.run_apart("-W", "error")
    result.assert_outcomes(passed=3)
    assert result.ret == plain.ret
    told = "*PytestUnraisableExceptionWarning: Exception ignored *<socket.socket*"
    plain.stderr.fnmatch_lines([told])
    result.stderr.fnmatch_lines([told])


def test_a_test_that_counts_all_objects_when_its_loop_is_closed_finds_none_of_the_plugins(project):
    """As the suites of libraries do that look for leaks of their own (grpclib)."""
    project.write(
        source="""
        import gc

        async def ask():
            loop = asyncio.get_running_loop()
            loop.call_later(3600, print).cancel()
            answer = loop.create_future()
            loop.call_soon(answer.set_result, None)
            await answer
            await asyncio.create_task(asyncio.sleep(0))

        def ids():
            return {id(thing) for thing in gc.get_objects()}

        def test_it():
            loop = asyncio.new_event_loop()
            loop.run_until_complete(ask())
            gc.collect()
            gc.disable()
            try:
                before = ids()
                loop.run_until_complete(ask())
                loop.close()
                new = [thing for thing in gc.get_objects() if id(thing) not in before and thing is not before]
            finally:
                gc.enable()
            assert not [thing for thing in new if "taskleak" in repr(thing) or "ask" in repr(thing)]
    """
    )
    project.run_apart().assert_outcomes(passed=1)


# -- a defect of the plugin's own


MIXED = """
    kept = []

    @pytest.fixture(scope="module")
    def module():
        return object()

    @pytest_asyncio.fixture
    async def own():
        yield object()

    async def test_leaks(module, own):
        kept.append(asyncio.create_task(forever(), name="poller"))

    @pytest.mark.asyncio(loop_scope="module")
    async def test_leaks_in_a_wide_loop(module):
        kept.append(asyncio.create_task(forever(), name="poller"))

    async def test_is_clean(own):
        await asyncio.create_task(asyncio.sleep(0))

    async def test_fails(own):
        assert not "its own"

    def test_is_plain(module):
        pass

    def test_is_skipped():
        pytest.skip("its own")
"""


BREAKS = """
    import pkgutil

    OWNER, _, NAME = "{name}".rpartition(".")
    OWNER = pkgutil.resolve_name(OWNER)
    BEFORE = getattr(OWNER, NAME)

    def broken(*args, **kwargs):
        raise ZeroDivisionError("made for this test")

    def pytest_sessionstart():
        setattr(OWNER, NAME, broken)

    def pytest_unconfigure():
        setattr(OWNER, NAME, BEFORE)
"""


@pytest.mark.parametrize(
    "name",
    [
        "pytest_taskleak.explain.describe",
        "pytest_taskleak.explain.portrait",
        "pytest_taskleak.judge.settle",
        "pytest_taskleak.judge.pending_tasks",
        "pytest_taskleak.judge.pending.pending_tasks",
        "pytest_taskleak.judge.ignored_by",
        "pytest_taskleak.detector.Detector.closing",
        "pytest_taskleak.detector.Detector.look_at_open_loops",
        "pytest_taskleak.detector.Detector.verdicts",
        "pytest_taskleak.gate.Gate.start",
        "pytest_taskleak.watch.tasks.capture",
        "pytest_taskleak.watch.Watcher.loops",
        "pytest_taskleak.fixtures.roots",
        "pytest_taskleak.outcome.fail",
    ],
)
def test_a_defect_is_contained_and_shown_once_at_the_end(project, name):
    """Whatever breaks: outcomes are what they are without the plugin, or with the right verdicts it still has."""
    project.write("conftest.py", BREAKS.format(name=name), prelude="")
    project.write(source=MIXED)
    before = everything()
    # Where nothing is recorded, the pytest around this one would find the leaks; and its own recorder would break.
    apart = ".watch." in name or name.endswith(".start")
    result = (project.run_apart if apart else project.run)("-v")
    out = result.stdout.str()
    leaking = ("test_leaks", "test_leaks_in_a_wide_loop")
    failed = sum(f"test_it.py::{test} FAILED" in out for test in leaking)
    late = sum(f"TaskLeakError: 1 task outlived `{test}`" in out for test in leaking) - failed
    outcomes = {"passed": 4 - failed, "failed": 1 + failed, "skipped": 1, "errors": late}
    assert result.parseoutcomes() == {name: count for name, count in outcomes.items() if count}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    others, *ends = out.split("= taskleak: a defect of the plugin itself =")
    (end,) = ends
    assert "No outcome was changed by it." in end
    assert "ZeroDivisionError: made for this test" in end
    assert "ZeroDivisionError" not in others
    assert "INTERNALERROR" not in out
    assert everything() == before


@pytest.mark.parametrize("name", ["describe", "portrait"])
def test_a_leak_that_cannot_be_told_does_not_take_the_others_along(project, name):
    project.write(
        "conftest.py",
        f"""\
        from pytest_taskleak import explain

        tell = explain.{name}

        def tells(task, *args, **named):
            if task.get_name() == "odd":
                raise ZeroDivisionError("made for this test")
            return tell(task, *args, **named)

        explain.{name} = tells
        """,
        prelude="",
    )
    project.write(
        source="""
        async def test_leaks():
            for name in ("first", "odd", "last"):
                asyncio.create_task(forever(), name=name)
        """
    )
    result = project.run_apart()
    result.assert_outcomes(failed=1)
    out = result.stdout.str()
    assert "2 tasks" in out
    assert "task 'first'" in out
    assert "ZeroDivisionError: made for this test" in out.split("a defect of the plugin itself")[1]


@pytest.mark.parametrize("args", [(), ("-n1",)], ids=["one-process", "xdist"])
def test_a_defect_leaves_the_exit_status_alone(project, args):
    """Under xdist the worker has it and the controller shows it."""
    project.write("conftest.py", BREAKS.format(name="pytest_taskleak.explain.describe"), prelude="")
    project.write(source=LEAKY.partition("    async def test_fails")[0])
    result = project.run_apart(*args)
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "*= taskleak: a defect of the plugin itself =*",
            "No outcome was changed by it.*",
            "ZeroDivisionError: made for this test",
        ]
    )


# -- nothing of the user's is kept


KEEPS = """
    import gc
    import weakref

    class Thing:
        pass

    refs = []

    async def hold(thing):
        refs.append(weakref.ref(thing))
        await asyncio.Event().wait()

    async def lose(thing):
        refs.append(weakref.ref(thing))
        raise LookupError("never retrieved")

    @pytest.mark.asyncio(loop_scope="{scope}")
    async def test_leaks():
        asyncio.create_task({coroutine}(Thing()), name="poller")
        await asyncio.sleep(0)

    @pytest.mark.asyncio(loop_scope="{scope}")
    async def test_looks():
        gc.collect()
        assert [ref() for ref in refs] == [None]

    def test_looks_again():
        gc.collect()
        assert [ref() for ref in refs] == [None]
"""


@pytest.mark.parametrize("coroutine", ["hold", "lose"])
@pytest.mark.parametrize("mode", ["fail", "warn"])
@pytest.mark.parametrize("scope", ["function", "module"])
def test_nothing_is_kept_alive_after_the_verdict(project, scope, mode, coroutine):
    project.write(source=KEEPS.format(scope=scope, coroutine=coroutine))
    # What asyncio logs of a lost exception is kept by the pytest around this one.
    run = project.run_apart if coroutine == "lose" else project.run
    result = run(f"--taskleak={mode}")
    out = result.stdout.str()
    result.assert_outcomes(passed=2 + (mode == "warn"), failed=mode == "fail")
    assert "1 cause, 1 leaked task in 1 test" in out
    assert "task 'poller'" in out.replace("test_leaks", "")
    assert "outlived `test_looks" not in out


def test_nothing_is_kept_alive_of_an_adopted_task(project):
    project.write(
        source="""
        import gc
        import weakref

        refs = []

        class Pool:
            task = None

            async def read(self):
                refs.append(weakref.ref(self))
                await forever()

        @pytest_asyncio.fixture(scope="class", loop_scope="module")
        async def pool():
            pool = Pool()
            yield pool
            pool.task.cancel()

        class TestPool:
            @pytest.mark.asyncio(loop_scope="module")
            async def test_starts_it(self, pool):
                pool.task = asyncio.create_task(pool.read())
                await asyncio.sleep(0)

            @pytest.mark.asyncio(loop_scope="module")
            async def test_uses_it(self, pool):
                assert refs[0]() is pool

        @pytest.mark.asyncio(loop_scope="module")
        async def test_looks():
            await asyncio.sleep(0)
            gc.collect()
            assert refs[0]() is None
        """
    )
    result = project.run()
    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.OK


def test_nothing_is_kept_alive_of_a_clean_test(project):
    project.write(
        source="""
        import gc
        import weakref

        refs = []

        async def brief(value):
            await asyncio.sleep(0)

        async def test_clean():
            class Thing:
                pass
            thing = Thing()
            refs.extend([weakref.ref(thing), weakref.ref(asyncio.get_running_loop())])
            task = asyncio.create_task(brief(thing))
            refs.append(weakref.ref(task))
            await task

        def test_looks():
            gc.collect()
            assert [ref() for ref in refs] == [None, None, None]
        """
    )
    project.run().assert_outcomes(passed=2)
