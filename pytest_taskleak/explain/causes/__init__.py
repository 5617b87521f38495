"""What mends a leak: one table of causes, a sentence for each, and what a leak must be like for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_taskleak.explain.causes.libraries import LIBRARIES
from pytest_taskleak.explain.causes.tasks import TASKS
from pytest_taskleak.explain.causes.things import ERRORS, THINGS
from pytest_taskleak.explain.causes.workers import BLOCKS, WORKERS

if TYPE_CHECKING:
    from pytest_taskleak.explain.causes.row import Row

TABLE: dict[str, Row] = {**LIBRARIES, **TASKS, **ERRORS, **THINGS, **WORKERS, **BLOCKS}
"""By name of the cause. Of two that are as specific the first counts: of two libraries the one that uses the other."""
