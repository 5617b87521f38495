"""What is not the user's: the tools that run the tests, and caches that fill up by design."""

from __future__ import annotations

import collections
import functools
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

TOOLS = {
    "pytest": "keeps reports, warnings, logs, finalizers and properties of every run of a test",
    "_pytest": "the same",
    "pluggy": "keeps the hooks' implementations and what they give back",
    "pytest_taskleak": "keeps records of its own",
    "objgraph": "keeps the counts that it was asked for",
    "xdist": "keeps what it sends to the controller",
    "execnet": "the same",
    "coverage": "keeps which lines ran",
    "hypothesis": "keeps examples, which it bounds",
    "_hypothesis_pytestplugin": "the same",
    "pydevd": "a debugger keeps frames",
    "_pydevd_bundle": "the same",
    "debugpy": "the same",
}
"""Packages that keep something of each run, with why it is nobody's leak; every pytest plugin is one as well."""

CACHES = {
    ("re", "_cache"): "patterns, emptied at a limit",
    ("re", "_cache2"): "patterns, emptied at a limit (3.12 and newer)",
    ("linecache", "cache"): "source lines, an entry for each file",
    ("sys", "path_importer_cache"): "finders, with the names of the files in their folder",
    ("warnings", "onceregistry"): "warnings that are shown once, an entry for each text",
    ("warnings", "_showwarnmsg_impl"): "adds to the list of whoever records warnings, as pytest does around a test",
    ("_strptime", "_regex_cache"): "formats of dates, emptied at a limit",
    ("zipimport", "_zip_directory_cache"): "an entry for each archive",
}
"""Caches of the standard library: module and name, with what they keep."""

_WARNED = "__warningregistry__"
"""What `warnings` keeps in the module that is warned: an entry for each text and line."""

VARIABLES = {
    "warnings_context": "the same, where warnings are recorded for each context (3.14 and newer)",
    "decimal_context": "the counts of one thread's decimal numbers",
}
"""Context variables of the standard library, by name."""

_LRU_CACHE: type = type(functools.lru_cache(maxsize=1)(len))
_ABC_DATA = "_abc"  # the types that an abstract class was asked about, held weakly


class Barriers:
    """Where a walk over the heap does not go on.

    Attributes:
        ids: Objects that it does not enter: modules of tools with their globals, and caches.
        passes: For each type, whether it enters every object of it; for the others it asks `enters`.
    """

    def __init__(self, tools: Iterable[str]) -> None:
        """Make them for a run with these plugins.

        Args:
            tools: Modules of pytest plugins, by name.
        """
        self._tools = {*TOOLS, *tools}
        self.passes = _Passes(self)
        self.ids = set[int]()
        modules: dict[str, Any] = dict(sys.modules)  # a program may put there what it likes
        for name, module in modules.items():
            if not issubclass(type(module), ModuleType):
                continue
            names: dict[str, Any] = object.__getattribute__(module, "__dict__")  # a lazy module stays unloaded
            if self.of_tool(name):
                self.ids |= {id(module), id(names)}
            if (warned := names.get(_WARNED)) is not None:
                self.ids.add(id(warned))
        # On 3.12.0 to 3.12.2 it tells of iterators that are free to be used again: whoever is told of one frees it
        # twice, and the next collection never ends (python/cpython#115874). It keeps nothing of the user's.
        self.ids.add(id(sys.modules.get("_asyncio", self)))
        for module_name, attribute in CACHES:
            self.ids.add(id(getattr(sys.modules.get(module_name), attribute, self)))
        self.ids |= {id(self), id(self.ids), id(self.passes)}

    def of_tool(self, module: str) -> bool:
        """Whether a module is a tool's."""
        parts = module.split(".")
        return any(".".join(parts[:length]) in self._tools for length in range(1, len(parts) + 1))

    def enters(self, thing: Any) -> bool:
        """Whether the walk enters an object whose type alone does not tell.

        A bounded container does not: what it holds is limited by design.
        """
        if type(thing) is _LRU_CACHE:
            module = getattr(thing, "__module__", None) or ""
            cache: Any = thing
            unbounded = cache.cache_parameters()["maxsize"] is None
            return unbounded and module.partition(".")[0] not in sys.stdlib_module_names
        return type(thing) is collections.deque and thing.maxlen is None


class _Passes(dict[type, bool]):
    """Answers for each type, looked up once."""

    def __init__(self, barriers: Barriers) -> None:
        super().__init__()
        self._barriers = barriers

    def __missing__(self, kind: type) -> bool:
        module = type.__dict__["__module__"].__get__(kind)
        barred = kind in (_LRU_CACHE, collections.deque) or module == _ABC_DATA
        passes = self[kind] = not (barred or (isinstance(module, str) and self._barriers.of_tool(module)))
        return passes
