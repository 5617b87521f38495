"""What the tests of what users see share: a collector that has little to look at."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(scope="module", autouse=True)
def nothing_else_is_collected(request: pytest.FixtureRequest) -> Generator[None]:
    """Spare the collector what was there before: runs inside this process ask it often."""
    if request.module.__name__ in _ASK_WHO_HOLDS:
        yield
        return
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


_ASK_WHO_HOLDS = ("test_runners",)
"""Hypothesis warns of a random generator that nobody holds; of what is frozen the collector knows no holder."""
