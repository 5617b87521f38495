"""What is alive, settle, adopted?, ignored?, leak: decides, and knows neither pytest nor words.

Hardly any of it is needed while nothing goes on, so its modules are imported at the first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_taskleak.imports import lazily

if TYPE_CHECKING:
    from pytest_taskleak.judge.adoption import Adoptions, LiveFixture, holders, reached
    from pytest_taskleak.judge.grace import TURNS, settle, turn_until
    from pytest_taskleak.judge.lost import (
        is_discarded_at,
        is_mocks,
        is_taken_from_store_at,
        tells_of_callback,
        tells_of_pending,
        tells_of_unretrieved,
    )
    from pytest_taskleak.judge.pending import cancel_requested, lost_exception, pending_tasks
    from pytest_taskleak.judge.rules import BUILT_IN, CARRIERS, Rule, carries, ignored_by
    from pytest_taskleak.judge.suspect import Suspect
    from pytest_taskleak.judge.things import THINGS, ThingRule, known_by
    from pytest_taskleak.judge.transports import ends_with_its_loop
    from pytest_taskleak.judge.workers import (
        busy_in,
        current_loop,
        is_closed_by_its_maker,
        is_default_of,
        is_first_own,
        is_helper,
        is_idle,
        is_started_through_a_wrapper,
        outlasting,
        process_wide,
        standing,
    )

_WHERE = {
    "BUILT_IN": "rules",
    "CARRIERS": "rules",
    "THINGS": "things",
    "TURNS": "grace",
    "Adoptions": "adoption",
    "LiveFixture": "adoption",
    "Rule": "rules",
    "Suspect": "suspect",
    "ThingRule": "things",
    "busy_in": "workers",
    "cancel_requested": "pending",
    "carries": "rules",
    "current_loop": "workers",
    "ends_with_its_loop": "transports",
    "holders": "adoption",
    "ignored_by": "rules",
    "is_closed_by_its_maker": "workers",
    "is_default_of": "workers",
    "is_discarded_at": "lost",
    "is_first_own": "workers",
    "is_helper": "workers",
    "is_idle": "workers",
    "is_mocks": "lost",
    "is_started_through_a_wrapper": "workers",
    "is_taken_from_store_at": "lost",
    "known_by": "things",
    "lost_exception": "pending",
    "outlasting": "workers",
    "pending_tasks": "pending",
    "process_wide": "workers",
    "reached": "adoption",
    "settle": "grace",
    "standing": "workers",
    "tells_of_callback": "lost",
    "tells_of_pending": "lost",
    "tells_of_unretrieved": "lost",
    "turn_until": "grace",
}

__all__ = [
    "BUILT_IN",
    "CARRIERS",
    "THINGS",
    "TURNS",
    "Adoptions",
    "LiveFixture",
    "Rule",
    "Suspect",
    "ThingRule",
    "busy_in",
    "cancel_requested",
    "carries",
    "current_loop",
    "ends_with_its_loop",
    "holders",
    "ignored_by",
    "is_closed_by_its_maker",
    "is_default_of",
    "is_discarded_at",
    "is_first_own",
    "is_helper",
    "is_idle",
    "is_mocks",
    "is_started_through_a_wrapper",
    "is_taken_from_store_at",
    "known_by",
    "lost_exception",
    "outlasting",
    "pending_tasks",
    "process_wide",
    "reached",
    "settle",
    "standing",
    "tells_of_callback",
    "tells_of_pending",
    "tells_of_unretrieved",
    "turn_until",
]

__getattr__ = lazily(__name__, _WHERE)
