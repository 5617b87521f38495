"""What asyncio does, as it happens: the only room that wraps anything. It writes facts and decides nothing."""

from pytest_taskleak.watch.patching import Patch
from pytest_taskleak.watch.records import Listener, LoopRecord, ThreadOrigin
from pytest_taskleak.watch.watcher import Watcher, origin_of

__all__ = ["Listener", "LoopRecord", "Patch", "ThreadOrigin", "Watcher", "origin_of"]
