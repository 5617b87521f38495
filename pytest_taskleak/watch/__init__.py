"""What asyncio does, as it happens: the only room that wraps anything. It writes facts and decides nothing."""

from pytest_taskleak.watch.patching import Patch
from pytest_taskleak.watch.records import Listener, LoopRecord, ThreadOrigin, origin_of
from pytest_taskleak.watch.registers import Made, Register
from pytest_taskleak.watch.things import Things
from pytest_taskleak.watch.watcher import Watcher
from pytest_taskleak.watch.workers import Workers, executor_of, is_shut_down

__all__ = [
    "Listener",
    "LoopRecord",
    "Made",
    "Patch",
    "Register",
    "Things",
    "ThreadOrigin",
    "Watcher",
    "Workers",
    "executor_of",
    "is_shut_down",
    "origin_of",
]
