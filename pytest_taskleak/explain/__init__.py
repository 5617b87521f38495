"""Where a leaked task waits, for what, and what mends it.

Nothing here is needed while nothing leaks, so its modules are imported at the first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_taskleak.explain.words import Found, Portrait, describe, describe_lost, describe_running, portrait

_WHERE = {
    "Found": "words",
    "Portrait": "words",
    "describe": "words",
    "describe_lost": "words",
    "describe_running": "words",
    "portrait": "words",
}

__all__ = ["Found", "Portrait", "describe", "describe_lost", "describe_running", "portrait"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    return found
