"""Finds asyncio tasks that outlive the test or fixture that started them."""

from pytest_taskleak.model import TaskLeakError

__all__ = ["TaskLeakError"]

# `-p pytest_taskleak` loads the package: this makes it load the plugin, by its entry point's name.
pytest_plugins = ("taskleak",)
