"""Finds asyncio tasks that outlive the test or fixture that started them."""

from pytest_taskleak.asserting import assert_no_leaks
from pytest_taskleak.leak import Leak, Place, TaskLeakError

__all__ = ["Leak", "Place", "TaskLeakError", "assert_no_leaks"]

# `-p pytest_taskleak` loads the package: this makes it load the plugin, by its entry point's name.
pytest_plugins = ("taskleak",)
