"""Outcomes as they travel: JSON text, of which nothing is ever executed or unpickled."""

from __future__ import annotations

import builtins
import json
from typing import TYPE_CHECKING, Any

from reference_queue import errors
from reference_queue.distributed.errors import HandlerFailed, MessageDead, OutcomeLost
from reference_queue.errors import DeadlineExceeded

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["CANCELLED", "EXPIRED", "UNKNOWN", "dead", "fail", "failure", "name_of", "remakeable", "result", "settle"]

CANCELLED = '{"cancelled":true}'
"""The handler raised `asyncio.CancelledError` of its own accord."""

EXPIRED = '{"expired":true}'
"""The deadline passed before the message was handled."""

UNKNOWN = '{"unknown":true}'
"""For engines: the message was stored, and the server knows neither it nor its outcome any more."""

_PLAIN = (str, int, float, bool, type(None))


def dead(deliveries: int) -> str:
    """Return the outcome of a message that was given up after so many deliveries; for engines."""
    return json.dumps({"dead": deliveries})


def result(text: str) -> str:
    """Return the outcome of a handler that returned what the queue's `dumps` made this text of."""
    return json.dumps({"result": text})


def failure(error: BaseException) -> str:
    """Return the outcome of a handler that raised."""
    if isinstance(error, HandlerFailed):  # of a handler further on
        return json.dumps({"error": error.type_name, "text": error.text, "args": None})
    plain = all(isinstance(each, _PLAIN) for each in error.args)
    return json.dumps({"error": name_of(type(error)), "text": str(error), "args": error.args if plain else None})


def name_of(kind: type) -> str:
    """Return the full name of a class; for a built-in one the name alone."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def remakeable(more: Iterable[type[Exception]]) -> dict[str, type[Exception]]:
    """Return the exceptions that may be made again where the future is: Python's own, the queue's and `more`."""
    named = [vars(builtins).values(), (getattr(errors, name) for name in errors.__all__), more]
    kinds = (kind for group in named for kind in group if isinstance(kind, type) and issubclass(kind, Exception))
    # A future refuses StopIteration, and no coroutine can raise it.
    return {name_of(kind): kind for kind in kinds if not issubclass(kind, StopIteration)}


def settle(
    future: asyncio.Future[Any],
    outcome: str,
    *,
    loads: Callable[[str], Any],
    kinds: Mapping[str, type[Exception]],
    chat_id: str,
) -> None:
    """Settle a future that is not done with what became of its message."""
    try:
        fields = _read(outcome)
    except ValueError as error:
        fail(future, error)
        return
    if "cancelled" in fields:
        future.cancel()
    elif "result" in fields:
        try:
            value = loads(fields["result"])
        except Exception as error:  # noqa: BLE001 - of a `loads` that does not match: the caller's to see
            fail(future, error)
        else:
            future.set_result(value)
    else:
        fail(future, _error(fields, kinds, chat_id))


def _read(outcome: str) -> dict[str, Any]:
    """Return what an outcome says; raise if this queue has not written it."""
    try:
        fields: dict[str, Any] = json.loads(outcome)
        # Whatever else speaks to the server may have answered, in JSON of its own.
        failed = isinstance(fields.get("error"), str) and isinstance(fields.get("text"), str) and "args" in fields
        if (
            failed
            or isinstance(fields.get("result"), str)
            or {"cancelled", "expired", "dead", "unknown"} & fields.keys()
        ):
            return fields
    except (ValueError, AttributeError, RecursionError):
        pass
    raise ValueError(f"The outcome {outcome:.200} was written by something else than this queue. Look for it.")


def fail(future: asyncio.Future[Any], error: Exception) -> None:
    """Settle a future, unless it is done; whoever drops it is not warned of the error, as in process."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # which counts as retrieving it


def _error(fields: dict[str, Any], kinds: Mapping[str, type[Exception]], chat_id: str) -> Exception:
    if "expired" in fields:
        return DeadlineExceeded(
            f"The message of chat {chat_id!r} came to its handler, or was still with it, when its deadline was over. "
            "Allow more time, or run more workers: `await queue.get_server_stats()` shows how much is queued."
        )
    if "dead" in fields:
        return MessageDead(
            f"The message of chat {chat_id!r} was given up after {fields['dead']} deliveries that all ended without "
            "an outcome: each time the worker died or was silent for longer than its lease. Look for what in the "
            "message kills its handler (memory, a native crash) or blocks the event loop; the messages behind it go on."
        )
    if "unknown" in fields:
        return OutcomeLost(
            f"The message of chat {chat_id!r} was stored, and the server knows nothing of it any more: it was handled, "
            "and forgotten since, or the server has lost its data. Let the engine remember more, or the server write "
            "to its disk."
        )
    kind, args = kinds.get(fields["error"]), fields["args"]
    if kind is not None and args is not None:
        try:
            return kind(*args)
        except Exception:  # noqa: BLE001, S110 - a class that cannot be made of its `args` is told by name, below
            pass
    return HandlerFailed(fields["error"], fields["text"])
