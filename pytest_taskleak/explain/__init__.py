"""Where a leaked task waits, for what, and what mends it. Runs on failure only."""

from pytest_taskleak.explain.describe import (
    Found,
    Portrait,
    describe,
    describe_lost,
    describe_running,
    portrait,
)

__all__ = ["Found", "Portrait", "describe", "describe_lost", "describe_running", "portrait"]
