"""Finds asyncio tasks that outlive the test or fixture that started them."""

from typing import TYPE_CHECKING, Any

from pytest_taskleak.leak import Leak, Place, TaskLeakError

if TYPE_CHECKING:
    from pytest_taskleak.asserting import assert_no_leaks

__all__ = ["Leak", "Place", "TaskLeakError", "assert_no_leaks"]

# `-p pytest_taskleak` loads the package: this makes it load the plugin, by its entry point's name.
pytest_plugins = ("taskleak",)


def __getattr__(name: str) -> Any:
    """Import what runs of pytest do not need when it is asked for."""
    if name != "assert_no_leaks":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pytest_taskleak.asserting import assert_no_leaks  # noqa: PLC0415 - as said

    return assert_no_leaks
