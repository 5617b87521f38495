"""Finds asyncio tasks that outlive the test or fixture that started them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_taskleak.imports import lazily, straight

with straight():
    from pytest_taskleak.errors import TaskLeakError

if TYPE_CHECKING:
    from pytest_taskleak.asserting import assert_no_leaks
    from pytest_taskleak.findings import Place
    from pytest_taskleak.leak import Leak

__all__ = ["Leak", "Place", "TaskLeakError", "assert_no_leaks"]

# `-p pytest_taskleak` loads the package: this makes it load the plugin, by its entry point's name.
pytest_plugins = ("taskleak",)

# The entry point names the last: so it is not pytest that imports it, which would have it rewritten.
_WHERE = {"Leak": "leak", "Place": "findings", "assert_no_leaks": "asserting", "plugin": "plugin"}

__getattr__ = lazily(__name__, _WHERE)
