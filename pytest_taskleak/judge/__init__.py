"""What is alive, settle, adopted?, ignored?, leak: decides, and knows neither pytest nor words."""

from pytest_taskleak.judge.adoption import Adoptions, LiveFixture, holders
from pytest_taskleak.judge.pending import cancel_requested, lost_exception, pending_tasks
from pytest_taskleak.judge.rules import BUILT_IN, CARRIERS, Rule, carries, ignored_by
from pytest_taskleak.judge.settle import TURNS, settle
from pytest_taskleak.judge.suspect import Suspect

__all__ = [
    "BUILT_IN",
    "CARRIERS",
    "TURNS",
    "Adoptions",
    "LiveFixture",
    "Rule",
    "Suspect",
    "cancel_requested",
    "carries",
    "holders",
    "ignored_by",
    "lost_exception",
    "pending_tasks",
    "settle",
]
