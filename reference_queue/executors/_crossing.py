"""What crosses to another process or interpreter and back: handlers, messages, results, exceptions, as pickles."""

from __future__ import annotations

import functools
import inspect
import pickle
import traceback
from typing import TYPE_CHECKING, Any, cast

from reference_queue.errors import NotSendable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["answer", "answer_with", "is_async", "load_handler", "pack_handler", "pack_message", "unpack"]

_RESULT, _RAISED, _UNSENT = b"R", b"E", b"U"
"""The first byte of an answer: a result, an exception of the handler, a text that says what could not cross."""


def is_async(handler: Any) -> bool:
    """Say whether calling it gives a coroutine instead of doing the work."""
    kind = cast("Any", type(handler))
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(kind.__call__)


def pack_handler(handler: object) -> bytes:
    """Return the handler's pickle."""
    try:
        return _pickled(handler)
    except Exception as error:
        raise NotSendable(
            f"The handler {handler!r} cannot be sent to a worker: {_told(error)}. "
            "Define it with `def` at the top of a module that can be imported, under a name that stays its own."
        ) from error


def load_handler(packed: bytes) -> Callable[[Any], Any]:
    """Return the handler, in the worker."""
    try:
        handler: Callable[[Any], Any] = pickle.loads(packed)  # noqa: S301 - the parent's own
    except BaseException as error:
        raise NotSendable(
            f"The handler could not be loaded in the worker: {_told(error)}. "
            "Define it at the top of a module that can be imported: not in a shell, in `python -c` or in a test's body."
        ) from error
    if is_async(handler):
        raise NotSendable(
            f"The handler was loaded in the worker as {handler!r}, which is not a plain function. "
            "Does its module give that name to something else? Keep the function and its executor under two names."
        )
    return handler


def pack_message(message: object) -> bytes:
    """Return the message's pickle."""
    try:
        return _pickled(message)
    except Exception as error:
        raise NotSendable(
            f"The message, of type {type(message).__qualname__}, could not be sent to a worker: {_told(error)}. "
            "It was not handled. Send plain data, and let the handler open what cannot be pickled."
        ) from error


def answer(handler: Callable[[Any], Any], packed: bytes | bytearray) -> bytes:
    """Handle a message in the worker and return what came of it, packed; never raise."""
    try:
        message: Any = pickle.loads(packed)  # noqa: S301 - the parent's own
    except BaseException as error:  # noqa: BLE001 - told to the parent
        return _unsent(
            f"The message could not be loaded in the worker: {_told(error)}. It was not handled. "
            "Its class has to be importable there, and to take what its pickle gives it."
        )
    try:
        result = handler(message)
    except BaseException as error:  # noqa: BLE001 - told to the parent
        return _pack_error(error)
    try:
        return _RESULT + _pickled(result)
    except Exception as error:  # noqa: BLE001 - told to the parent
        return _unsent(
            f"The result, of type {type(result).__qualname__}, could not be sent back from the worker: "
            f"{_told(error)}. The message was handled. Return plain data."
        )


def answer_with(packed_handler: bytes, packed: bytes) -> bytes:
    """Do the same with a handler that is loaded at the first message: for interpreters, which keep nothing else."""
    try:
        handler = _loaded(packed_handler)
    except NotSendable as error:
        return _unsent(str(error))
    return answer(handler, packed)


_loaded = functools.cache(load_handler)


def unpack(answered: bytes | bytearray) -> Any:
    """Return the handler's result, or raise what it raised, in the parent."""
    kind, content = answered[:1], memoryview(answered)[1:]
    if kind == _UNSENT:
        raise NotSendable(str(content, "utf-8"))
    if kind == _RESULT:
        try:
            return pickle.loads(content)  # noqa: S301 - our own worker's
        except Exception as error:
            raise NotSendable(
                f"The result came back from the worker and could not be loaded here: {_told(error)}. "
                "The message was handled. Return plain data."
            ) from error
    raise _unpack_error(*pickle.loads(content))  # noqa: S301 - our own worker's


def _pack_error(error: BaseException) -> bytes:
    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next  # without `answer` itself
    story = "".join(traceback.format_exception(error)).rstrip()
    told = _told(error)
    try:
        packed, reason = _pickled(error), ""
    except Exception as why:  # noqa: BLE001 - told to the parent
        packed, reason = b"", _told(why)
    return _RAISED + _pickled((packed, reason, told, story))


def _unpack_error(packed: bytes, reason: str, told: str, story: str) -> BaseException:
    error: Any = None
    if packed:
        try:
            error = pickle.loads(packed)  # noqa: S301 - our own worker's
        except Exception as why:  # noqa: BLE001 - told below
            reason = _told(why)
        else:
            reason = f"its pickle gives {type(error).__name__}, which is no exception"
    if isinstance(error, BaseException):
        raised = error
    else:
        raised = NotSendable(
            f"The handler raised {told}, and the exception could not be sent back from the worker: {reason}. "
            "The message was handled. An exception is made anew from its `args`: hand them all to `super().__init__`."
        )
    raised.add_note(f"In the worker:\n{story}")
    return raised


def _pickled(thing: object) -> bytes:
    return pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)


def _unsent(text: str) -> bytes:
    return _UNSENT + text.encode("utf-8", "backslashreplace")


def _told(error: BaseException) -> str:
    """Return an error's class and text, in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - a user's `__str__` that fails must not take the place of the error
        text = ""
    name = type(error).__qualname__
    return f"{name}: {text}" if text else name
