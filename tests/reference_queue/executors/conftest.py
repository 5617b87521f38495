"""What the tests of executors share: the kinds, and handlers that wait for orders."""

from __future__ import annotations

import multiprocessing
import sys
import threading

import pytest
from blocking import Gate, visit

from reference_queue.executors import in_interpreters, in_processes, in_threads

MAKERS = {"threads": in_threads, "processes": in_processes, "interpreters": in_interpreters}

# What an older Python says instead is tested, too: test_workers.py, "newer_python".
NEEDS_INTERPRETERS = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="Python offers interpreters to programs since 3.14"
)


def kinds(*names):
    return [pytest.param(name, marks=NEEDS_INTERPRETERS if name == "interpreters" else ()) for name in names]


@pytest.fixture
async def gate():
    async with Gate() as gate:
        yield gate


@pytest.fixture
def make():
    """Make an executor of a kind with one worker, and see to it that nothing of it is left in the end."""

    def make(kind, handler=visit, *, workers=1, **options):
        return MAKERS[kind](handler, workers=workers, **options)

    yield make
    assert multiprocessing.active_children() == []
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("reference_queue")] == []


def pytest_generate_tests(metafunc):
    """A test asks for all kinds, for those that cannot be stopped, or for those to which only pickles go."""
    for name, which in (
        ("kind", ("threads", "processes", "interpreters")),
        ("unstoppable", ("threads", "interpreters")),
        ("apart", ("processes", "interpreters")),
    ):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, kinds(*which))
