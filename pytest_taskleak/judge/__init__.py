"""What is alive, settle, adopted?, ignored?, leak: decides, and knows neither pytest nor words."""

from pytest_taskleak.judge.adoption import Adoptions, LiveFixture, holders, reached
from pytest_taskleak.judge.pending import cancel_requested, lost_exception, pending_tasks
from pytest_taskleak.judge.rules import BUILT_IN, CARRIERS, Rule, carries, ignored_by
from pytest_taskleak.judge.settle import TURNS, settle, turn_until
from pytest_taskleak.judge.suspect import Suspect
from pytest_taskleak.judge.things import THINGS, ThingRule, known_by
from pytest_taskleak.judge.transports import ends_with_its_loop

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
    "cancel_requested",
    "carries",
    "ends_with_its_loop",
    "holders",
    "ignored_by",
    "known_by",
    "lost_exception",
    "pending_tasks",
    "reached",
    "settle",
    "turn_until",
]
