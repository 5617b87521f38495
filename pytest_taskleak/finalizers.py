"""What finalizers raise while this plugin collects garbage: no test that happens to be running may fail by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from _pytest import unraisableexception

if TYPE_CHECKING:
    from collections import deque

    import pytest


class Finalizers:
    """Puts off what finalizers raise, for pytest to tell it when the tests are over.

    pytest fails whatever test is running when it hears that a finalizer raised, which a warning does where warnings
    are errors (an unclosed socket in a cycle of garbage). Without this plugin the collector finds such garbage when
    it happens to be at work, and pytest finds the rest at the end of the run.

    Guarantees: nothing of the user's is kept alive but words; without anything raised, nothing is done.
    """

    def __init__(self, config: pytest.Config) -> None:
        """Make one that has put off nothing; `with` it, what is raised is put off."""
        self._config = config
        self._put_off: list[Any] = []
        self._known: deque[Any] | None = None
        self._before = 0

    def __enter__(self) -> None:
        """From here on what is raised is put off."""
        heard = self._heard()
        self._before = len(heard) if heard else 0

    def __exit__(self, *_error: object) -> None:
        """What is raised from here on is told as ever."""
        heard = self._heard()
        while heard and len(heard) > self._before:
            told = heard.pop()
            # Its message has the traceback in words; the exception's own leads to what is the user's.
            unworded = isinstance(told, BaseException)  # pytest could not put it into words
            self._put_off.append(told.with_traceback(None) if unworded else told._replace(exc_value=None))

    def tell(self) -> None:
        """Give back what was put off: the tests are over. Harmless when repeated."""
        heard = self._heard()
        if heard is not None:
            heard.extend(self._put_off)
        self._put_off.clear()

    def _heard(self) -> deque[Any] | None:
        """What pytest has heard of and not told yet; None where it does not listen."""
        if self._known is None:
            key: Any = getattr(unraisableexception, "unraisable_exceptions", None)  # no public name leads there
            self._known = self._config.stash.get(key, None) if key is not None else None
        return self._known
