"""Hears of coroutines that nobody awaited, where the interpreter would warn of them."""

from __future__ import annotations

import gc
import linecache
import sys
import threading
import traceback
import warnings
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from pytest_taskleak.watch.calls import capture
from pytest_taskleak.watch.patching import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from types import CodeType, CoroutineType, FrameType

    from pytest_taskleak.model import Owner
    from pytest_taskleak.watch.collector import Collector
    from pytest_taskleak.watch.records import Listener

_frame: Callable[[int], FrameType] = sys._getframe  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
# `inspect.currentframe` cannot give a caller's

_NAME = "_warn_unawaited_coroutine"
"""What the interpreter looks up in `warnings` at the time that it needs it, so that it can be wrapped."""

_ITS_OWN = ("warnings", "_py_warnings")
"""Where the standard library defines that."""

_GENERATIONS = "free-threading" not in sys.version
"""Whether objects are collected by age: without the global lock each collection is a whole one."""

_BY_CONTEXT = bool(getattr(sys.flags, "context_aware_warnings", False))
"""Whether warnings are handled by context (3.14+, where the interpreter is told to)."""

_YOUNG = 1 if sys.version_info < (3, 14) else 0
"""The oldest generation of the young: 3.14.0 looks at a part of the old objects with the second."""


_WARNINGS = vars(warnings)


class Busy(Protocol):
    """Who is busy: what a recorder is told, and what every record is made from.

    Attributes:
        phase: The phase that the runner is in.
    """

    phase: str

    def owner_now(self) -> Owner | None:
        """On whose behalf the code works that is running in this thread."""


class Coroutines:
    """Hears of coroutines that are freed and were never awaited, from `start` to `stop`.

    Who made one is not recorded: the interpreter's own tracking of origins (`sys.set_coroutine_origin_tracking_depth`)
    costs 0.22-0.28 µs for each coroutine at a depth of 1 (3.11-3.13), where making one takes 0.16 µs. Nearly all are
    freed at once, in the statement that made them or by the return of the function that did, which costs nothing to
    see. Origins are used where the user, or asyncio's debug mode, has them tracked.

    Guarantees: where the user handles warnings themselves (`catch_warnings`, `pytest.warns`, `recwarn`, a filter that
    says ignore), the listener hears nothing; what it does not tell is warned of as ever, in the same words and at the
    same line; no coroutine is kept alive.

    Attributes:
        swept: Whether nothing young is older than the test that runs, or than the end of the one before it.
    """

    def __init__(
        self,
        kinds: Collection[str],
        busy: Busy,
        collector: Collector,
        *,
        own: Callable[[str], bool],
        listener: Listener,
    ) -> None:
        """Make one that wraps nothing yet.

        Args:
            kinds: What is looked for; without coroutines, nothing is wrapped.
            busy: Who is busy.
            collector: Tells when garbage is collected.
            own: Whether a file is the project's own code.
            listener: Told of them.
        """
        self._wanted = "coroutines" in kinds
        self._busy = busy
        self._collector = collector
        self._own = own
        self._listener = listener
        self._handling: tuple[object, ...] = ()
        self._contexts: WeakSet[Any] = WeakSet()
        self._collecting: int | None = None
        self._old = self._sweeping = False
        self.swept = False

    def start(self) -> list[Patch]:
        """Wrap what the interpreter calls, where that is wanted."""
        if not self._wanted:
            return []
        self._collector.hear(self._collected)
        return [Patch(warnings, _NAME, self._warn_unawaited_coroutine)]

    def stop(self) -> None:
        """Forget everything; harmless when repeated."""
        self._handling = ()
        self._contexts.clear()

    def begins(self) -> None:
        """A test begins: what handles warnings now is pytest's; whatever handles them otherwise later is the user's."""
        names = _WARNINGS
        self._handling = names["filters"], names["showwarning"], names.get("_showwarnmsg_impl")  # `_handling`
        if _BY_CONTEXT and (context := _context()) is not None:
            self._contexts.add(context)

    @property
    def sweeps(self) -> bool:
        """Whether `sweep` does anything."""
        return self._wanted and _GENERATIONS and gc.isenabled()

    def sweep(self) -> None:
        """Collect the young: what others left in cycles is not found among what comes, and what a test left in time.

        The young generations take 8 µs where nothing is to be found, however many old objects there are. Where the
        user has turned the collector off, nothing is collected behind their back: what is in a cycle is found when
        they do, of whatever age it is then.
        """
        if self.sweeps:
            self._old, self._sweeping = not self.swept, True  # the collector may not tell of it
            self._collector.collect(_YOUNG)
            self._sweeping = False
            self.swept = True
        else:
            self.swept = False

    # -- what the interpreter calls

    def _collected(self, phase: str, generation: int) -> None:
        self._collecting = threading.get_ident() if phase == "start" else None
        # What is young was made since the test before this one, if its end was swept.
        self._old = generation > _YOUNG or not self.swept or not _GENERATIONS

    def _warn_unawaited_coroutine(self, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        warn = warnings.warn

        def _warn_unawaited_coroutine(coro: CoroutineType[Any, Any, Any], /) -> None:
            if not patch.live:
                patch.stale(coro)
                return
            try:
                if self._is_told(coro, _frame(1)):
                    return
            except Exception as error:  # noqa: BLE001 - the interpreter's warning must come whatever befalls this
                self._listener.failed(error)
            if original.__module__ not in _ITS_OWN:
                original(coro)  # somebody else's
                return
            # The original would show this very line: it counts the frames from where it is called.
            warn(_words(coro), RuntimeWarning, stacklevel=2, source=coro)

        return _warn_unawaited_coroutine

    def _is_told(self, coro: CoroutineType[Any, Any, Any], frame: FrameType | None) -> bool:
        if not self._is_pytests_to_handle() or _is_ignored(_words(coro), frame):
            return False
        from pytest_taskleak.findings import Unawaited  # noqa: PLC0415 - needed only where there is such a coroutine

        code: CodeType | None = getattr(coro, "cr_code", None)
        by_collector = self._sweeping or self._collecting == threading.get_ident()
        found = Unawaited(
            name=coro.__qualname__,
            code=code,
            origin=tuple(getattr(coro, "cr_origin", None) or ()),
            dropped=() if by_collector else capture(frame, self._own),
            busy=self._busy.owner_now(),
            phase="" if by_collector else self._busy.phase,
            old=by_collector and self._old,
        )
        return self._listener.unawaited(found)

    def _is_pytests_to_handle(self) -> bool:
        """Whether a warning would go where it went when the test began: the user has not arranged for it."""
        context = _context()
        if context is not None:
            return context in self._contexts
        now = _handling()
        return len(now) == len(self._handling) and all(map(_same, now, self._handling))


def _same(one: object, other: object) -> bool:
    return one is other


def _context() -> Any:
    """Where warnings are handled by context (3.14+, where the interpreter is told to), the present one's handling."""
    if not _BY_CONTEXT:
        return None
    inside: Any = warnings
    return inside._get_context()  # noqa: SLF001 - no public name tells it


def _handling() -> tuple[object, ...]:
    """What decides where a warning goes, to be compared by identity: `catch_warnings` replaces all of them."""
    inside: Any = warnings
    return inside.filters, inside.showwarning, getattr(inside, "_showwarnmsg_impl", None)


def _filters() -> Iterable[tuple[str, Any, type[Warning], Any, int]]:
    inside: Any = warnings
    get: Callable[[], list[Any]] | None = getattr(inside, "_get_filters", None)  # 3.14+: those of the context
    filters: list[Any] = get() if get is not None else inside.filters
    return filters


def _is_ignored(text: str, frame: FrameType | None) -> bool:
    """Whether the filters in force say that a warning with that text, of that frame, shall not be heard."""
    module = frame.f_globals.get("__name__") or "<string>" if frame is not None else "sys"
    line = frame.f_lineno if frame is not None else 0
    for action, message, category, where, number in list(_filters()):
        if not issubclass(RuntimeWarning, category) or number not in (0, line):
            continue
        if _matches(message, text) and _matches(where, module):
            return action == "ignore"
    inside: Any = warnings
    return bool(getattr(inside, "defaultaction", "default") == "ignore")


def _matches(pattern: Any, text: str) -> bool:
    """As the interpreter does: its own first filters have names where those of others have expressions."""
    if pattern is None:
        return True
    return pattern == text if isinstance(pattern, str) else pattern.match(text) is not None


def _words(coro: CoroutineType[Any, Any, Any]) -> str:
    """What the standard library's `warnings` says of a coroutine."""
    lines = [f"coroutine '{coro.__qualname__}' was never awaited\n"]
    origin = getattr(coro, "cr_origin", None)
    if origin is not None:
        lines.append("Coroutine created at (most recent call last)\n")
        lines += traceback.format_list(
            [(path, line, name, linecache.getline(path, line)) for path, line, name in reversed(origin)]
        )
    return "".join(lines).rstrip("\n")
