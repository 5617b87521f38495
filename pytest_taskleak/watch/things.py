"""The recorder of what asyncio makes besides tasks: futures, timers, async generators, and what it opens."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any

from pytest_taskleak.model import CHOSEN_BY, COUNTED
from pytest_taskleak.places import ASYNCIO
from pytest_taskleak.watch.calls import MODULE_AT, capture
from pytest_taskleak.watch.registers import SPARE, Made, Register
from pytest_taskleak.watch.resources import Resources, has_exited, has_stopped, is_closing

if TYPE_CHECKING:
    import contextvars
    from collections.abc import AsyncGenerator, Callable, Collection, Iterator
    from types import FrameType

    from pytest_taskleak.model import Call, Kind, Owner
    from pytest_taskleak.watch.patching import Make, Patch
    from pytest_taskleak.watch.records import Busy, Listener

_frame: Callable[[int], FrameType] = sys._getframe  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
# `inspect.currentframe` would add a call to each thing that is made

_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120 - code objects carry strings, compared as such


class Things:
    """Records who makes what besides tasks, for the kinds that were chosen and for no other.

    What asyncio makes for itself (the future that `Queue.get` waits for, the timer of `sleep`) is not recorded: it
    serves a task, and the task is judged.

    Guarantees: those of the recorder of tasks. Wrapping costs nothing where a kind was not chosen.

    Attributes:
        registers: What was made, by kind.
        entries: Their entries; empty where nothing may go on.
        kept: The same, and those of the futures.
        futures: The futures, also where it is not they that were chosen but the errors that are lost in them.
    """

    def __init__(
        self,
        kinds: Collection[str],
        busy: Busy,
        owner: contextvars.ContextVar[Owner | None],
        *,
        own: Callable[[str], bool],
        listener: Listener,
    ) -> None:
        """Make a recorder that wraps nothing yet.

        Args:
            kinds: What is recorded; names of kinds that are recorded elsewhere are no fault.
            busy: Who is busy.
            owner: The context's owner, which comes before that.
            own: Whether a file is the project's own code.
            listener: Hears of defects.
        """
        self.registers: dict[Kind, Register] = {
            kind: Register(over) for kind, over in _OVER.items() if CHOSEN_BY[kind] in kinds
        }
        self.futures = self.registers.get("future")
        if self.futures is None and "errors" in kinds:
            self.futures = Register(_OVER["future"])
        self.entries = tuple(register.entries for register in self.registers.values())
        self.kept = self.entries if self.futures is None else (*self.entries, self.futures.entries)
        self._busy = busy
        self._owner = owner
        self._own = own
        self._files = _Files(own)
        self._listener = listener
        self._resources = Resources(self.registers, busy, owner, own=own, listener=listener)

    def __bool__(self) -> bool:
        """Whether anything was made that may go on."""
        return any(self.entries)  # asked at every test: no loop of Python's

    def counts(self) -> dict[str, int]:
        """How many go on, by the names of `model.COUNTED`."""
        return {COUNTED[kind]: len(register.alive()) for kind, register in self.registers.items()}

    def stop(self) -> None:
        """Forget everything; harmless when repeated."""
        for register in self.registers.values():
            register.entries.clear()
        if self.futures is not None:
            self.futures.entries.clear()

    def tidy(self) -> None:
        """Let go of what has ended; where a loop ends, so that a test that counts all objects after it finds none."""
        for register in self.registers.values():
            if register.entries:
                register.tidy()
        if self.futures is not None and self.futures.entries and "future" not in self.registers:
            self.futures.tidy()

    def collected(self, phase: str, generation: int) -> None:
        """Let go of what has ended where the collector was at work anyway: after a burst nothing else might."""
        if phase == "stop" and generation:
            for register in self.registers.values():
                if len(register.entries) > SPARE:
                    register.tidy()

    def wrappers(self, cls: type) -> Iterator[tuple[str, Make]]:
        """What is to be wrapped on a class of loops: names, and what makes the wrapper."""
        if self.futures is not None:
            yield "create_future", functools.partial(self._create_future, self.futures)
        if "timer" in self.registers:
            yield "call_at", self._call_at
            if asyncio.BaseEventLoop not in cls.__mro__:  # whose `call_later` goes through `call_at`
                yield "call_later", self._call_at
        if "generator" in self.registers and hasattr(cls, "_asyncgen_firstiter_hook"):
            yield "_asyncgen_firstiter_hook", self._first_iteration
        yield from self._resources.wrappers(cls)

    def others(self) -> Iterator[tuple[type, str, Make]]:
        """What is to be wrapped on other classes: each with a name, and what makes the wrapper."""
        yield from self._resources.others()

    def _calls(self, frame: FrameType) -> tuple[Call, ...]:
        """The frames that made something; () where asyncio made it for itself."""
        code = frame.f_code
        whose = self._files[code.co_filename]
        if whose is _OWN:
            return ((code, frame.f_lasti),)
        return capture(frame, self._own) if whose is _OTHER else ()

    # The next two are alike, and written out: they run for every future and timer, and a call costs a tenth of each.

    def _create_future(self, register: Register, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        owner, busy, files = self._owner, self._busy, self._files
        entries, append = register.entries, register.append
        ref: Callable[[Any], weakref.ref[Any]] = weakref.ref

        def create_future(loop: asyncio.AbstractEventLoop, /) -> Any:
            if not patch.live:
                return patch.stale(loop)
            future: asyncio.Future[Any] = original(loop)
            try:
                frame = _frame(1)
                code = frame.f_code
                whose = files[code.co_filename]
                if whose is _ASYNCIOS:
                    return future
                calls = ((code, frame.f_lasti),) if whose is _OWN else self._calls(frame)
                append((ref(future), id(future), owner.get() or busy.current, busy.phase, calls))
                if len(entries) > register.limit:
                    register.tidy()
            except Exception as error:  # noqa: BLE001 - the user's future must be made whatever befalls the recorder
                self._listener.failed(error)
            return future

        return create_future

    def _call_at(self, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        register, owner, busy, files = self.registers["timer"], self._owner, self._busy, self._files
        entries, append = register.entries, register.append
        ref: Callable[[Any], weakref.ref[Any]] = weakref.ref
        module_at = MODULE_AT

        def call_at(loop: asyncio.AbstractEventLoop, /, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if not patch.live:
                return patch.stale(loop, *args, **kwargs)
            timer: asyncio.TimerHandle = original(loop, *args, **kwargs)
            try:
                # `call_later` is the only one there that calls it; without its frame, where that is not needed.
                frame = _frame(2 if module_at is not None and module_at(1) == "asyncio.base_events" else 1)
                code = frame.f_code
                whose = files[code.co_filename]
                if whose is _ASYNCIOS:
                    if code.co_name != "call_later" or frame.f_back is None:
                        return timer
                    frame = frame.f_back
                    code = frame.f_code
                    whose = files[code.co_filename]
                    if whose is _ASYNCIOS:
                        return timer
                calls = ((code, frame.f_lasti),) if whose is _OWN else self._calls(frame)
                made_by = owner.get() or busy.current
                append((ref(timer), id(timer), made_by, busy.phase, calls, id(loop)))
                if len(entries) > register.limit:
                    register.tidy()
            except Exception as error:  # noqa: BLE001 - the user's timer must be made whatever befalls the recorder
                self._listener.failed(error)
            return timer

        return call_at

    def _first_iteration(self, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        register, owner, busy = self.registers["generator"], self._owner, self._busy

        def _asyncgen_firstiter_hook(loop: asyncio.AbstractEventLoop, agen: AsyncGenerator[Any, Any], /) -> None:
            __tracebackhide__ = True
            if not patch.live:
                patch.stale(loop, agen)
                return
            try:
                calls = capture(_frame(1), self._own)
                made_by = owner.get() or busy.current
                register.append(Made(weakref.ref(agen), id(agen), made_by, busy.phase, calls, id(loop)))
                if len(register.entries) > register.limit:
                    register.tidy()
            except Exception as error:  # noqa: BLE001 - the iteration goes on whatever befalls the recorder
                self._listener.failed(error)
            original(loop, agen)

        return _asyncgen_firstiter_hook


_ASYNCIOS, _OWN, _OTHER = "asyncio", "own", "other"


class _Files(dict[str, str]):
    """Whose each file is, looked up once."""

    def __init__(self, own: Callable[[str], bool]) -> None:
        super().__init__()
        self._own = own

    def __missing__(self, filename: str) -> str:
        whose = _OWN if self._own(filename) else _OTHER
        if filename.startswith((ASYNCIO, _HERE)):
            whose = _ASYNCIOS
        self[filename] = whose
        return whose


_OVER: dict[Kind, Callable[[Any], bool]] = {
    # One with an exception that nobody has retrieved may yet be heard of, when it is freed.
    "future": lambda future: future.done() and not getattr(future, "_log_traceback", False),
    "timer": lambda timer: timer.cancelled(),
    "generator": lambda generator: generator.ag_frame is None,
    "transport": is_closing,
    "server": has_stopped,
    "subprocess": has_exited,
}
"""When a thing has ended, by kind."""
