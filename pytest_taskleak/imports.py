"""Importing the plugin's own modules past pytest's rewriter of assertions: there are none in them.

pytest has all modules of the distributions of its plugins go through it. What it has rewritten once it reads from a
cache, in three times the time that Python takes (pytest 9.2); where it may not write one (`PYTHONDONTWRITEBYTECODE`, a
folder that is read-only), it compiles them anew in each run, though pip has compiled them.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Generator, Mapping, Sequence
    from importlib.machinery import ModuleSpec

_OWN = f"{__name__.partition('.')[0]}."


class _Straight(MetaPathFinder):
    """Finds modules of this package where they lie, and no others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(fullname, path, target) if fullname.startswith(_OWN) else None


@contextlib.contextmanager
def straight() -> Generator[None, None, None]:
    """Import the package's own modules as Python does; those of others are imported as ever."""
    finder = _Straight()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:  # whoever put another list there meanwhile has it as they want it
            sys.meta_path.remove(finder)


def lazily(package: str, where: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a package whose modules are imported when one of their names is first asked for.

    Args:
        package: The package.
        where: Its modules, by the names to be found in the package. The name of a module stands for the module.
    """

    def find(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with straight():
            module = importlib.import_module(f"{package}.{where[name]}")
        found = vars(sys.modules[package])[name] = module if where[name] == name else getattr(module, name)
        return found

    return find
