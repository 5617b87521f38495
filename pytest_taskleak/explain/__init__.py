"""Where a leaked task waits, for what, and what mends it.

Nothing here is needed while nothing leaks, so its modules are imported at the first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_taskleak.imports import lazily

if TYPE_CHECKING:
    from pytest_taskleak.explain.awaiting import in_hand, wakes_at
    from pytest_taskleak.explain.blocking import describe_stall
    from pytest_taskleak.explain.errors import calls_of, describe_callback, describe_future, describe_unawaited
    from pytest_taskleak.explain.outlook import outlooks
    from pytest_taskleak.explain.things import Sketch, describe_thing, sketch
    from pytest_taskleak.explain.words import Found, Portrait, describe, describe_lost, describe_running, portrait
    from pytest_taskleak.explain.workers import sketch_busy, sketch_executor, sketch_loop, sketch_thread

_WHERE = {
    "Found": "words",
    "Portrait": "words",
    "Sketch": "things",
    "calls_of": "errors",
    "describe": "words",
    "describe_callback": "errors",
    "describe_future": "errors",
    "describe_lost": "words",
    "describe_running": "words",
    "describe_stall": "blocking",
    "describe_unawaited": "errors",
    "describe_thing": "things",
    "in_hand": "awaiting",
    "portrait": "words",
    "outlooks": "outlook",
    "sketch": "things",
    "sketch_busy": "workers",
    "sketch_executor": "workers",
    "sketch_loop": "workers",
    "sketch_thread": "workers",
    "wakes_at": "awaiting",
}

__all__ = [
    "Found",
    "Portrait",
    "Sketch",
    "calls_of",
    "describe",
    "describe_callback",
    "describe_future",
    "describe_lost",
    "describe_running",
    "describe_stall",
    "describe_thing",
    "describe_unawaited",
    "in_hand",
    "outlooks",
    "portrait",
    "sketch",
    "sketch_busy",
    "sketch_executor",
    "sketch_loop",
    "sketch_thread",
    "wakes_at",
]

__getattr__ = lazily(__name__, _WHERE)
