"""The way in from other threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import weakref
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from reference_queue._check import check_seconds
from reference_queue._message import FromThread
from reference_queue._refusals import closed
from reference_queue.errors import QueueError, WrongLoop

if TYPE_CHECKING:
    from collections.abc import Hashable

    from reference_queue._intake import Intake

__all__ = ["send"]

M = TypeVar("M")
R = TypeVar("R")


def send(
    intake: Intake[M, R],
    loop: asyncio.AbstractEventLoop,
    chat_id: Hashable,
    body: M,
    deadline: float | None,
) -> concurrent.futures.Future[R]:
    """Send a message to the intake's loop and return the future of its result, which is always settled."""
    check_seconds("deadline", deadline)
    if intake.closed:
        raise closed()
    if deadline is None:
        deadline = intake.default_deadline
    message: FromThread[M, R] = FromThread()
    message.gone = True  # it is in no lane yet
    answer: concurrent.futures.Future[R] = concurrent.futures.Future()
    message.answer = answer
    message.since = now = loop.time()
    until = None if deadline is None else now + deadline
    try:
        loop.call_soon_threadsafe(_arrive, intake, message, chat_id, body, until)
    except RuntimeError as error:
        answer.cancel()
        raise WrongLoop(
            "The event loop of the queue is closed. A queue ends with its loop: make a new one in the new loop."
        ) from error
    # A weak reference: the thread's hold on the answer must not keep the message alive in a dead loop.
    reference = weakref.ref(message)

    def withdraw(answer: concurrent.futures.Future[R]) -> None:
        if answer.cancelled():
            with suppress(RuntimeError):  # the loop is closed: there is nothing left to withdraw from
                loop.call_soon_threadsafe(_withdraw, reference)

    answer.add_done_callback(withdraw)
    return answer


def _arrive(intake: Intake[M, R], message: FromThread[M, R], chat_id: Hashable, body: M, until: float | None) -> None:
    if message.answer.cancelled():
        return
    message.context = copy_context()  # a copy of the thread's, which the loop has entered for this call
    # One that is too late already expires in the next round, like any other.
    left = None if until is None else max(until - asyncio.get_running_loop().time(), 1e-9)
    try:
        intake.take(message, chat_id, body, left)
    except (QueueError, TypeError) as error:
        message.fail(error)


def _withdraw(reference: weakref.ref[FromThread[Any, Any]]) -> None:
    message = reference()
    if message is not None and not message.gone:
        message.chat.pool.withdraw(message)
