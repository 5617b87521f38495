"""What is alive, settle, adopted?, ignored?, leak: decides, and knows neither pytest nor words."""

from pytest_taskleak.judge.adoption import Adoptions, LiveFixture, holders, reached
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
from pytest_taskleak.judge.settle import TURNS, settle, turn_until
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
