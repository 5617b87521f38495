"""Which of a loop's complaints are lost errors, and what tells whose an unawaited coroutine is."""

from __future__ import annotations

import dis
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType

    from pytest_taskleak.model import Call

_IN_CALLBACKS = (
    "Exception in callback ",  # call_soon, call_later, add_reader, a done-callback
    "Fatal error: protocol.",  # data_received, eof_received, buffer_updated: what asyncio calls of a protocol
    "Fatal error on transport",  # the same, in uvloop's words
    "Unhandled exception in client_connected_cb",  # the handler given to start_server
    "an error occurred during closing of asynchronous generator",  # its own `finally`
)
"""How complaints begin of an error in code that a loop called, which had nobody to raise it to.

Others tell of the network (a failed accept, a lost connection), or of an error that somebody else may hear as well.
"""


def tells_of_pending(message: str) -> bool:
    """Whether a task was collected before it was done."""
    return message.startswith("Task was destroyed but it is pending")


def tells_of_unretrieved(message: str) -> bool:
    """Whether a future, or a task, was freed with an exception that nobody retrieved; it is called by its type."""
    return message.endswith(" exception was never retrieved")


def tells_of_callback(message: str) -> bool:
    """Whether code that a loop called failed."""
    return message.startswith(_IN_CALLBACKS)


def is_mocks(code: CodeType | None) -> bool:
    """Whether a coroutine is a mock's: a test that calls one need not await it, and looks at its calls."""
    return code is not None and code.co_filename.replace("\\", "/").endswith("/unittest/mock.py")


def is_discarded_at(call: Call) -> bool:
    """Whether a frame stands where it discards what an expression gave: the line that made it, most likely."""
    name = _instruction(call)
    return name in ("POP_TOP", "TO_BOOL", "UNARY_NOT") or name.startswith("POP_JUMP")


def is_taken_from_store_at(call: Call) -> bool:
    """Whether a frame stands where an object lets go of what it kept, for how long nobody knows.

    So pytest drops the frames of the last failure when the next test is called, and a client what an earlier test
    gave it. What a function's own variables held was made while it ran.
    """
    code, position = call
    name = _instruction(call)
    if name.startswith(("STORE_", "DELETE_")):
        return name.endswith(("_ATTR", "_GLOBAL", "_NAME", "_SUBSCR"))
    before = [it for it in dis.get_instructions(code) if it.offset < position and it.opname not in _BETWEEN]
    return bool(before) and before[-1].argval == "clear"


_BETWEEN = ("CACHE", "CALL", "PRECALL", "PUSH_NULL")
"""What may stand between the name of a method and the end of its call."""


def _instruction(call: Call) -> str:
    code, position = call
    return dis.opname[code.co_code[position]] if position >= 0 else ""
