"""The error that a test fails with; imported with the package, so that there is one of it whoever imports what else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_taskleak.leak import Leak


class TaskLeakError(AssertionError):
    """Work outlived the test, fixture or block that started it, or blocked its loop.

    Its traceback ends at the line that made the first leaked task, or that blocked.

    Attributes:
        leaks: What was found, in words.
    """

    leaks: tuple[Leak, ...] = ()

    __module__ = "pytest_taskleak"  # the name that it is imported by, and that reports show
