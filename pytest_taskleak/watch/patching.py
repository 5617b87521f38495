"""Wrapping a method of a class, or a function of a module, so that it can be taken back, whoever else wraps it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Make = Callable[[Callable[..., Any], "Patch"], Callable[..., Any]]

_ABSENT: Any = object()
_PATCH = "taskleak_patch"
"""The attribute by which the wrapper of a run inside this one finds what to call."""


class Patch:
    """One wrapped method, or function of a module.

    A run inside a run (a plugin's own tests) takes the outer run's wrapper out of the way for its time: work that
    the inner run starts is none of the outer one's.

    Guarantees: `undo` restores exactly what was there where the wrapper is still in place. Where somebody else
    wrapped it meanwhile, theirs stays and ours below it does nothing any more; where they put ours back later, it
    removes itself at the next call.

    Attributes:
        live: Whether the wrapper is to work.
        cls: The class, or module, of which something is wrapped: for a method, that which defines it.
    """

    def __init__(self, cls: type | ModuleType, name: str, make: Make) -> None:
        """Put `make(original, patch)` in the place of `cls.name`.

        What `make` gives must call `patch.stale` instead of working once `patch.live` is False.
        """
        self.live = True
        # uvloop's Loop is a subclass of one written in C: where the definition cannot be changed, the class is.
        definer = next((base for base in getattr(cls, "__mro__", ()) if name in vars(base)), cls)
        self.cls = definer if _writable(definer) else cls
        self._name = name
        self._before = vars(self.cls).get(name, _ABSENT)
        present = getattr(self.cls, name)
        below: Any = getattr(present, _PATCH, None)
        # `functools.wraps` copies attributes: another's wrapper may carry the mark without being ours.
        ours = isinstance(below, Patch) and below.is_behind(present)
        self._original: Callable[..., Any] = below.original if ours else present
        self._wrapper = functools.update_wrapper(make(self._original, self), self._original)
        setattr(self._wrapper, _PATCH, self)
        setattr(self.cls, name, self._wrapper)

    def stale(self, *args: Any, **kwargs: Any) -> Any:
        """Call the original for a wrapper that outlived its run, and take that wrapper out of the way."""
        self._restore()
        return self._original(*args, **kwargs)

    @property
    def original(self) -> Callable[..., Any]:
        """What was wrapped."""
        return self._original

    def is_behind(self, wrapper: object) -> bool:
        """Whether `wrapper` is this one's."""
        return wrapper is self._wrapper

    def undo(self) -> None:
        """Take the wrapper back; harmless when repeated."""
        self.live = False
        self._restore()

    def _restore(self) -> None:
        if vars(self.cls).get(self._name) is not self._wrapper:
            return
        if self._before is _ABSENT:
            delattr(self.cls, self._name)
        else:
            setattr(self.cls, self._name, self._before)


def _writable(cls: type | ModuleType) -> bool:
    """Whether a method can be set on the class: not on those written in C."""
    if not isinstance(cls, type):
        return True
    heap_type = 1 << 9  # Py_TPFLAGS_HEAPTYPE
    immutable = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE
    return bool(cls.__flags__ & heap_type) and not cls.__flags__ & immutable
