"""How a test is run, which the plugin does itself: nobody who looks on can tell."""

from __future__ import annotations

import pytest

LISTENS = """
    import pytest

    HEARD = []

    def hear(name, item, **more):
        HEARD.append(" ".join([name, item.name, *(f"{key}={value}" for key, value in more.items())]))

    def pytest_runtest_logstart(nodeid, location):
        HEARD.append(f"logstart {nodeid} {location}")

    def pytest_runtest_logfinish(nodeid, location):
        HEARD.append(f"logfinish {nodeid} {location}")

    def pytest_runtest_setup(item):
        hear("setup", item, fixtures=sorted(item.funcargs or ()))

    def pytest_runtest_call(item):
        hear("call", item, fixtures=sorted(item.funcargs))

    def pytest_runtest_teardown(item, nextitem):
        hear("teardown", item, next=getattr(nextitem, "name", None))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        raised = type(getattr(call.excinfo, "value", None))
        hear("makereport", item, when=call.when, outcome=report.outcome, raised=raised)
        return report

    def pytest_runtest_logreport(report):
        HEARD.append(f"logreport {report.nodeid} {report.when} {report.outcome}")

    def pytest_exception_interact(node, call, report):
        hear("interact", node, when=call.when)

    def pytest_sessionfinish(session):
        for item in session.items:
            hear("left", item, request=item._request, funcargs=item.funcargs)
        print("\\n".join(HEARD))
"""

EVERY_OUTCOME = """
    import unittest

    @pytest.fixture
    def breaks():
        raise ValueError("setup")

    @pytest.fixture
    def breaks_later():
        yield
        raise ValueError("teardown")

    @pytest.fixture(scope="module", autouse=True)
    def wide():
        yield

    def test_passes(tmp_path):
        pass

    def test_fails():
        assert not 1

    def test_is_skipped():
        pytest.skip("an outcome that must look the same")

    @pytest.mark.xfail(reason="an outcome that must look the same")
    def test_is_expected_to_fail():
        assert not 1

    def test_setup(breaks):
        pass

    def test_teardown(breaks_later):
        pass

    class TestUnit(unittest.TestCase):
        def test_it(self):
            self.fail()

        @unittest.skip("no")
        def test_not(self):
            pass

    @pytest.mark.parametrize("number", [1, 2])
    def test_again(number):
        assert number == 1
"""


@pytest.mark.parametrize("reruns", [(), ("-p", "no:rerunfailures")], ids=["with rerunfailures", "without"])
@pytest.mark.parametrize("args", [(), ("-x",), ("--maxfail=3",)], ids=" ".join)
def test_the_hooks_are_called_as_pytest_calls_them(project, args, reruns):
    """The same ones, with the same arguments, in the same order; and the tests are left as pytest leaves them."""
    project.write("conftest.py", LISTENS, prelude="")
    project.write(source=EVERY_OUTCOME)

    def heard(*more):
        lines = project.run("-s", *reruns, *args, *more).outlines
        names = ("log", "setup ", "call ", "teardown ", "makereport ", "interact ", "left ")
        return [line for line in lines if line.startswith(names) or "TEARDOWN" in line]

    expected = heard("-p", "no:taskleak")
    assert any(line.startswith("left test_passes") for line in expected)
    assert heard() == expected


def test_hooks_are_listened_to_only_for_tests_that_may_be_run_again(project):
    """They are dear; pytest-rerunfailures has a way of running tests, and uses it for few."""
    project.write(
        source="""
        @pytest.fixture
        def listens(pytestconfig):
            return pytestconfig.pluginmanager.hasplugin("taskleak-phases")

        def test_first(listens):
            assert not listens

        @pytest.mark.flaky(reruns=1)
        def test_flaky(listens):
            assert listens

        def test_last(listens):
            assert not listens
        """
    )
    project.run().assert_outcomes(passed=3)
    result = project.run("--reruns", "1")
    result.assert_outcomes(passed=1, failed=2)
    assert "2 rerun" in result.stdout.str()


@pytest.mark.parametrize("args", [("--setup-only",), ("--setup-show",), ("--setup-plan",)], ids=" ".join)
def test_what_pytest_shows_of_setups_is_the_same(project, args):
    project.write(source=EVERY_OUTCOME)

    def shown(*more):
        names = ("SETUP", "TEARDOWN", "test_it.py")
        return [line for line in project.run(*args, *more).outlines if line.lstrip().startswith(names)]

    expected = shown("-p", "no:taskleak")
    assert any("TEARDOWN" in line for line in expected)
    assert shown() == expected


def test_an_interrupt_ends_the_run_as_it_does_without_the_plugin(project):
    project.write("conftest.py", LISTENS, prelude="")
    project.write(
        source="""
        def test_before():
            pass

        def test_is_interrupted():
            raise KeyboardInterrupt

        def test_after():
            pass
    """
    )

    def seen(*args):
        result = project.run_apart("-s", *args)
        return result.ret, result.parseoutcomes(), [line for line in result.outlines if " test_" in line]

    assert seen() == seen("-p", "no:taskleak")


@pytest.mark.parametrize("args", [(), ("--reruns=1",)], ids=["run by the plugin", "run by another"])
def test_a_marker_that_is_not_valid_fails_the_test_that_a_plugin_gives_it_to(project, args):
    """It came too late to be a usage error; the other tests run."""
    project.write(
        "conftest.py",
        """
        import pytest

        def pytest_runtest_logstart(nodeid):
            if nodeid.endswith("test_given"):
                ITEMS[nodeid].add_marker(pytest.mark.taskleak(grace="soon"))

        def pytest_collection_finish(session):
            ITEMS.update({item.nodeid: item for item in session.items})

        ITEMS = {}
        """,
        prelude="",
    )
    project.write(
        source="""
        def test_before():
            pass

        def test_given():
            raise AssertionError("run all the same")

        def test_after():
            pass
    """
    )
    result = project.run(*args)
    assert result.parseoutcomes() == {"passed": 2, "errors": 1} | ({"rerun": 1} if args else {})
    assert "grace" in result.stdout.str()
    assert "run all the same" not in result.stdout.str()


def test_a_marker_that_a_fixture_gives_to_its_class_holds_for_the_tests_after_it(judged):
    words, _ = judged("""
        class TestIt:
            @pytest.fixture(scope="class", autouse=True)
            def lenient(self, request):
                request.node.add_marker(pytest.mark.taskleak("off"))

            async def test_first(self):
                pass

            async def test_leaks(self):
                asyncio.create_task(forever())

        async def test_leaks_elsewhere():
            asyncio.create_task(forever())
    """)
    assert words == {"TestIt::test_first": "PASSED", "TestIt::test_leaks": "PASSED", "test_leaks_elsewhere": "FAILED"}


@pytest.mark.parametrize("turn", ["enable", "disable"])
def test_nothing_is_collected_where_the_user_has_turned_the_collector_off(project, turn):
    project.write(
        "conftest.py",
        f"""
        import gc

        FOUND = []
        WAS = gc.isenabled()

        def hear(phase, info):
            if phase == "start":
                FOUND.append(info["generation"])

        def pytest_collection_finish():
            gc.{turn}()
            gc.callbacks.append(hear)

        def pytest_runtestloop(session):
            FOUND.clear()

        def pytest_sessionfinish():
            gc.callbacks.remove(hear)
            (gc.enable if WAS else gc.disable)()
            print("collected:", len(FOUND))
        """,
        prelude="",
    )
    project.write(
        source="""
        def test_before():
            pass

        async def test_one():
            await asyncio.create_task(asyncio.sleep(0))

        async def test_another():
            await asyncio.create_task(asyncio.sleep(0))
    """
    )
    result = project.run()
    result.assert_outcomes(passed=3)
    assert ("collected: 0" in result.stdout.str()) == (turn == "disable")
