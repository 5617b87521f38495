"""What the tests of what users see share: a collector that has little to look at."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(scope="module", autouse=True)
def nothing_else_is_collected() -> Generator[None]:
    """Spare the collector what was there before: runs inside this process ask it often."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
