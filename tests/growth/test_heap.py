"""What a walk over the heap comes to, and how the way there reads."""

import asyncio
import collections
import contextvars
import functools
import gc
import re
import sys
import threading
from types import ModuleType

import pytest

from pytest_taskleak.growth import heap
from pytest_taskleak.growth.barriers import CACHES, Barriers
from pytest_taskleak.growth.heap import Root
from pytest_taskleak.growth.repeated import held_by


class Session:
    def __init__(self, **attributes):
        vars(self).update(attributes)


class Slotted:
    __slots__ = ("session",)

    def __init__(self, session):
        self.session = session


@pytest.fixture
def barriers():
    return Barriers([])


@pytest.fixture
def module():
    return ModuleType("app")


def reached(thing, module, barriers):
    return id(thing) in heap.reach([Root("", module)], barriers).ids()


def closing_over(session):
    def changed():
        return session

    return changed


@pytest.mark.parametrize(
    ("hold", "words"),
    [
        (lambda session: [session], "app.kept (list) -> Session"),
        (lambda session: {"a": session}, "app.kept (dict) -> Session"),
        (lambda session: {"plain": {"plain": [session]}}, "app.kept (dict) -> dict -> list -> Session"),
        (lambda session: Session(inner=session), "app.kept (Session) -> inner (Session)"),
        (lambda session: Slotted([session]), "app.kept (Slotted) -> list -> Session"),
        (lambda session: type("Made", (), {"last": session}), "app.kept.last (Session)"),
        (closing_over, "app.kept (function) -> closure `session` (Session)"),
        (lambda session: functools.partial(print, session), "app.kept (partial) -> tuple -> Session"),
        (lambda session: collections.deque([session]), "app.kept (deque) -> Session"),
    ],
)
def test_what_is_held_is_reached_and_its_holders_are_named(module, barriers, hold, words):
    session = Session()
    module.kept = hold(session)
    levels = heap.reach([Root("", module)], barriers).levels
    depth = next(number for number, level in enumerate(levels) if any(thing is session for thing in level))
    assert held_by(heap.chain(session, levels[:depth]), {}) == words


def test_strings_in_a_dict_of_plain_values_are_reached(module, barriers):
    """The collector does not follow the key, nor, up to 3.13, the dict."""
    text = f"seen by {module} alone"
    module.kept = {"a": {text: 1.5}}
    assert reached(text, module, barriers)


def test_every_object_is_counted_once(module, barriers):
    session = Session()
    module.kept = [session, session, [session]]
    assert heap.reach([Root("", module), Root("", module)], barriers).counts()[Session] == 1


def test_a_weak_reference_holds_nothing(module, barriers):
    import weakref  # noqa: PLC0415 - for this test alone

    session = Session()
    module.kept = [weakref.ref(session), weakref.WeakSet([session])]
    assert not reached(session, module, barriers)


@pytest.mark.parametrize(
    ("cache", "held"),
    [
        (functools.lru_cache(maxsize=None)(Slotted), True),
        (functools.lru_cache(maxsize=9)(Slotted), False),
    ],
    ids=["without a bound", "bounded"],
)
def test_a_bounded_cache_holds_nothing_that_grows(module, barriers, cache, held):
    session = Session()
    module.kept = cache
    cache(session)
    assert reached(session, module, barriers) is held


def test_a_bounded_deque_holds_nothing_that_grows(module, barriers):
    session = Session()
    module.kept = collections.deque([session], maxlen=9)
    assert not reached(session, module, barriers)


def test_tools_hold_nothing(module, request):
    session = Session()
    module.tools = [request, pytest, pytest.fixture]
    request.node.user_properties.append(("session", session))
    assert not reached(session, module, Barriers([]))
    request.node.user_properties.clear()


def test_a_plugin_is_a_tool(module):
    plugin = ModuleType("plugin")
    plugin.Record = type("Record", (), {"__module__": "plugin.records"})
    module.kept = plugin.Record()
    module.kept.session = session = Session()
    assert reached(session, module, Barriers([]))
    assert not reached(session, module, Barriers(["plugin"]))
    assert reached(session, module, Barriers(["plug", "plugin.other"]))


@pytest.mark.parametrize(("name", "attribute"), CACHES, ids=lambda it: it)
def test_caches_of_the_standard_library_are_told_why(name, attribute):
    assert CACHES[name, attribute]


def test_a_cache_of_the_standard_library_holds_nothing(barriers):
    pattern = re.compile("never seen (before)?")
    assert not reached(pattern, re, barriers)


def test_the_module_that_keeps_freed_iterators_is_not_asked():
    """On 3.12.0 to 3.12.2 the collector would never come back from its next collection."""

    async def main():
        await asyncio.get_running_loop().run_in_executor(None, len, "abc")

    for _ in range(3):
        asyncio.run(main())
        barriers = Barriers([])
        assert id(sys.modules["_asyncio"]) not in heap.reach(heap.roots(barriers, [], []), barriers).ids()
        gc.collect()


def test_the_roots_are_modules_fixtures_and_context_variables(barriers):
    session = Session()
    variable = contextvars.ContextVar("current")
    variable.set(session)
    fixture = Root("fixture `pool`", [1])
    roots = heap.roots(barriers, [__name__], [fixture])
    assert roots[0].thing.__name__ == __name__
    assert fixture in roots
    assert Root("context variable `current`", session) in roots
    assert not any(root.thing is pytest for root in roots)


def test_what_this_thread_keeps_is_reached(module, barriers):
    module.local = threading.local()
    module.local.session = session = Session()
    assert reached(session, module, barriers)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_rests_and_is_left_as_it_was(enabled):
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with heap.collected():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
