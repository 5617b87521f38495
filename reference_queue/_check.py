"""Arguments of the public API: each error says what was given, what is valid and what to do."""

from __future__ import annotations

import math
from typing import Any

__all__ = [
    "check_bound",
    "check_callable",
    "check_choice",
    "check_count",
    "check_duration",
    "check_seconds",
    "check_text",
]


def check_count(name: str, count: Any) -> None:
    """Raise unless it is a positive int."""
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError(f"{name}={count!r} is not an int. Give a whole number of at least 1.")
    if count < 1:
        raise ValueError(f"{name}={count!r} is too small. Give a whole number of at least 1.")


def check_bound(name: str, bound: Any) -> None:
    """Raise unless it is a positive int, or None for no bound."""
    if bound is not None:
        try:
            check_count(name, bound)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{error} None means no bound; to take no message, close the queue.") from None


def check_callable(name: str, function: object, what: str) -> None:
    """Raise unless it can be called; ``what`` says what it is to be."""
    if not callable(function):
        raise TypeError(f"{name}={function!r} cannot be called. Give {what}.")


def check_choice(name: str, choice: Any, choices: tuple[str, ...]) -> None:
    """Raise unless it is one of the choices."""
    if choice not in choices:
        raise ValueError(f"{name}={choice!r} is unknown. Choose one of {', '.join(map(repr, choices))}.")


def check_seconds(name: str, seconds: Any, *, zero: bool = False) -> None:
    """Raise unless it is a finite number above 0 (or 0, where that has a meaning), or None for no limit."""
    if seconds is None:
        return
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{name}={seconds!r} is not a number. Give seconds, or None for no limit.")
    if not (math.isfinite(seconds) and (seconds > 0 or (zero and seconds == 0))):
        least = "of at least 0" if zero else "above 0"
        raise ValueError(f"{name}={seconds!r} is out of range. Give seconds {least}, or None for no limit.")


def check_text(name: str, text: object) -> None:
    """Raise unless it is a str that is not empty."""
    if not isinstance(text, str):
        raise TypeError(f"{name}={text!r} is not a str. Give text, which is the same in every process.")
    if not text:
        raise ValueError(f"{name}={text!r} is empty. Give text that tells it from others.")
    try:
        text.encode()
    except UnicodeEncodeError:  # it would fail on its way to the server, and those that are sent with it
        raise ValueError(f"{name}={text!r} has half a character in it (a surrogate). Give whole ones.") from None


def check_duration(name: str, seconds: Any) -> None:
    """Raise unless it is a finite number above 0."""
    if seconds is None:
        raise TypeError(f"{name}=None is not a number. Give seconds above 0.")
    check_seconds(name, seconds)
