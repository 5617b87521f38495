"""The recorder of what asyncio opens: transports, servers, subprocesses."""

from __future__ import annotations

import asyncio
import asyncio.base_events
import functools
import sys
import weakref
from typing import TYPE_CHECKING, Any, cast

from pytest_taskleak.attributes import attributes
from pytest_taskleak.descriptors import PIPE
from pytest_taskleak.watch.calls import capture
from pytest_taskleak.watch.registers import Made, Register

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from pytest_taskleak.model import Call, Kind, Origin, Owner
    from pytest_taskleak.watch.patching import Make, Patch
    from pytest_taskleak.watch.records import Busy, Listener

_frame: Callable[[int], FrameType] = sys._getframe  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
# `inspect.currentframe` gives the frame of this module, and what is wanted is the caller's

_running_loop = asyncio._get_running_loop  # noqa: SLF001 - documented for writers of event loops; never raises

_DEEPEST = 80
"""Frames looked at, at most: between a test and the transport are a client, its pool and asyncio's own coroutines."""

_OPENERS: dict[str, Kind] = {
    "create_connection": "transport",
    "create_unix_connection": "transport",
    "create_datagram_endpoint": "transport",
    "connect_accepted_socket": "transport",
    "connect_read_pipe": "transport",
    "connect_write_pipe": "transport",
    "create_server": "server",
    "create_unix_server": "server",
    "subprocess_exec": "subprocess",
    "subprocess_shell": "subprocess",
    "start_tls": "transport",
}
"""By a loop's coroutine, what it opens; for loops whose transports are written in C and share no constructor."""


class Resources:
    """Records who opens what, once `things` was asked to.

    The stack at the creation of a transport leads through the awaits to the line that asked for it. Where a task of a
    library's made it, the stack of that task's creation goes on from there.

    Guarantees: those of the recorder of tasks. What a user's own class of transports does is never looked at.
    """

    def __init__(
        self,
        registers: Mapping[Kind, Register],
        busy: Busy,
        owner: contextvars.ContextVar[Owner | None],
        *,
        own: Callable[[str], bool],
        listener: Listener,
    ) -> None:
        """Make a recorder that wraps nothing yet; `registers` are written to."""
        self._registers = registers
        self._busy = busy
        self._owner = owner
        self._own = own
        self._listener = listener

    def others(self) -> Iterator[tuple[type, str, Make]]:
        """What is to be wrapped on other classes than loops."""
        if "transport" in self._registers:
            yield asyncio.BaseTransport, "__init__", self._init
            yield asyncio.base_events.Server, "__init__", self._init

    def wrappers(self, cls: type) -> Iterator[tuple[str, Make]]:
        """What is to be wrapped on a class of loops that makes its transports in its own way."""
        makes: object = cls
        if "transport" in self._registers and not issubclass(cls, asyncio.BaseEventLoop):
            for name, kind in _OPENERS.items():
                if hasattr(makes, name):
                    yield name, functools.partial(self._opener, kind)

    def _init(self, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        def __init__(thing: Any, /, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - the name that it takes the place of
            __tracebackhide__ = True
            if not patch.live:
                patch.stale(thing, *args, **kwargs)
                return
            original(thing, *args, **kwargs)
            try:
                # A bare `asyncio.Transport`, of which no weak reference can be had, is open to nothing.
                if type(thing).__module__.startswith("asyncio.") and type(thing).__weakrefoffset__:
                    self._record(_kind(thing), thing, weakref.ref(thing), _frame(1))
            except Exception as error:  # noqa: BLE001 - the transport must be made whatever befalls the recorder
                self._listener.failed(error)

        return __init__

    def _opener(self, kind: Kind, original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
        upgrades = original.__name__ == "start_tls"

        async def opener(loop: asyncio.AbstractEventLoop, /, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if not patch.live:
                return await patch.stale(loop, *args, **kwargs)
            opened: Any = await original(loop, *args, **kwargs)
            try:
                if upgrades:
                    plain = args[0] if args else kwargs["transport"]
                    self._upgrade(plain, opened, args[1] if len(args) > 1 else kwargs["protocol"])
                    return opened
                thing, protocol = (opened, None) if kind == "server" else opened
                seen = self._registers[kind].find(thing)
                if seen is not None and seen.ref() is thing:
                    return opened  # one way of connecting leads through another
                if (ref := _reference(thing, protocol)) is not None:
                    self._record(kind, thing, ref, _frame(1), note=_note(original.__name__, args, kwargs))
            except Exception as error:  # noqa: BLE001 - as above
                self._listener.failed(error)
            return opened

        return opener

    def _record(self, kind: Kind, thing: object, ref: Any, frame: FrameType, note: str = "") -> None:
        loop = _running_loop()
        if loop is None:
            return  # made by hand, outside of a loop: nobody's connection
        origin = self._busy.maker()
        owner = (origin.owner if origin is not None else None) or self._owner.get() or self._busy.current
        calls = self._calls(frame, origin)
        register = self._registers[kind]
        register.append(Made(ref, id(thing), owner, self._busy.phase, calls, id(loop), note))
        if len(register.entries) > register.limit:
            register.tidy()

    def _calls(self, frame: FrameType, origin: Origin | None) -> tuple[Call, ...]:
        calls = capture(frame, self._own, _DEEPEST)
        while origin is not None and not any(self._own(code.co_filename) for code, _ in calls):
            calls += origin.calls
            origin = origin.parent
        return calls

    def _upgrade(self, plain: object, thing: object, protocol: object) -> None:
        """A connection goes on under TLS, as another object."""
        register = self._registers["transport"]
        made, ref = register.find(plain), _reference(thing, protocol)
        if made is None or ref is None:
            return  # an accepted connection is its server's
        register.replace(made.key, made._replace(ref=ref, key=id(thing)))


def is_closing(transport: Any) -> bool:
    """Whether a transport's end was asked for, or has come; not while it is still being made."""
    try:
        return bool(transport.is_closing())
    except AttributeError:
        return False


def has_stopped(server: Any) -> bool:
    """Whether a server has no socket any more; not while it is still being made."""
    try:
        return not server.sockets
    except AttributeError:
        return False


def has_exited(transport: Any) -> bool:
    """Whether the end of a subprocess is known; not while it is still being started."""
    try:
        return transport.get_returncode() is not None
    except AttributeError:
        return False


def _kind(thing: object) -> Kind:
    if isinstance(thing, asyncio.SubprocessTransport):
        return "subprocess"
    return "transport" if isinstance(thing, asyncio.BaseTransport) else "server"


class _Through:
    """A reference, as weak as one can be, to an object that takes none: by the protocol that holds it."""

    __slots__ = ("_key", "_protocol")

    def __init__(self, thing: object, protocol: object) -> None:
        self._key = id(thing)
        self._protocol = weakref.ref(protocol)

    def __call__(self) -> object:
        return next((value for _, value in attributes(self._protocol()) if id(value) == self._key), None)


def _reference(thing: object, protocol: object) -> Callable[[], object] | None:
    """A weak reference to a thing; uvloop's transports under TLS and of subprocesses take none.

    Returns:
        None where there is no way to see when it is gone.
    """
    for make in (lambda: weakref.ref(thing), lambda: _Through(thing, protocol)):
        try:
            return cast("Callable[[], object]", make())
        except TypeError:
            continue
    return None


def _note(opener: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """What nobody can ask the thing later: what a subprocess runs, as its caller wrote it; that it is for a pipe."""
    if opener in ("connect_read_pipe", "connect_write_pipe"):
        return PIPE
    if opener == "subprocess_shell":
        words = [args[1] if len(args) > 1 else kwargs.get("cmd", "")]
    else:
        words = list(args[1:]) if opener == "subprocess_exec" else []
    return " ".join(word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in words)
