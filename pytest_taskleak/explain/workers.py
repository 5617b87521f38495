"""From a thread, an executor or a loop that is left to words."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_taskleak.explain.things import Sketch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_taskleak.model import Call
    from pytest_taskleak.places import Places

_NAMED_BY_DEFAULT = re.compile(r"Thread-\d+( \(.*\))?")
_POOL_NAMED_BY_DEFAULT = re.compile(r"ThreadPoolExecutor-\d+")

_HERE = str(Path(__file__).parent.parent)
_TIMER_RUN = threading.Timer.run.__code__
_BEGINNING = {
    function.__code__
    for name in ("_bootstrap", "_bootstrap_inner", "run")
    if (function := getattr(threading.Thread, name, None)) is not None
}


def sketch_thread(thread: threading.Thread, calls: Sequence[Call], places: Places) -> Sketch:
    """Put a thread into words.

    Args:
        thread: The thread.
        calls: Where it stands, the innermost frame first.
        places: Tells whose code is whose.
    """
    name = "" if _NAMED_BY_DEFAULT.fullmatch(thread.name) else thread.name
    calls = [
        (code, at) for code, at in calls if code not in _BEGINNING and not code.co_filename.startswith(_HERE)
    ]  # what every thread begins with tells nothing
    if isinstance(thread, threading.Timer) and len(calls) > 1 and calls[-1][0] is _TIMER_RUN:
        inside = calls[-2][0]
        if inside is threading.Event.wait.__code__:
            verdict = f"waits to be called, {thread.interval:g} s after its start"
            return Sketch(_qualified(thread.function), verdict, "", "timer", name=name)
    what = getattr(thread, "_target", None)
    return Sketch(
        what=_qualified(what if what is not None else type(thread).run),
        verdict="still running",
        detail=_call_of_the_library(calls, places),
        sort="daemon" if thread.daemon else "",
        stands=places.places(reversed(calls)),
        name=name,
    )


def sketch_executor(
    executor: Any, threads: Sequence[threading.Thread], busy: Sequence[str], stands: Sequence[Call], places: Places
) -> Sketch:
    """Put an executor that was never shut down into words.

    Args:
        executor: The executor.
        threads: Those of its threads that are alive.
        busy: What is running in them, by name.
        stands: Where the first of these stands, the innermost frame first.
        places: Tells whose code is whose.
    """
    processes = getattr(executor, "_processes", None)
    prefix = str(getattr(executor, "_thread_name_prefix", ""))
    return Sketch(
        what=type(executor).__qualname__,
        verdict=f"never shut down, {_busy(busy)}" if busy else "never shut down",
        detail="" if busy else _idle(len(processes or threads), "worker process" if processes else "thread"),
        sort="processes" if processes is not None else "",
        stands=places.places(reversed(_of_the_function(stands))),
        name="" if _POOL_NAMED_BY_DEFAULT.fullmatch(prefix) else prefix,
    )


def sketch_busy(busy: Sequence[str], stands: Sequence[Call], places: Places) -> Sketch:
    """Put threads into words that are still at work for an executor which was shut down, or dropped."""
    return Sketch(
        what="ThreadPoolExecutor",
        verdict=f"still {_busy(busy)}",
        detail="nobody waited for it when the executor was shut down or dropped",
        sort="busy",
        stands=places.places(reversed(_of_the_function(stands))),
    )


def sketch_loop() -> Sketch:
    """Put a loop into words that nobody closed."""
    return Sketch("an event loop", "never closed", "", "")


def _qualified(function: object) -> str:
    function = getattr(function, "func", function)  # a partial's
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _busy(functions: Sequence[str]) -> str:
    return "busy in " + " and ".join(f"`{name}`" for name in dict.fromkeys(functions))


def _idle(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} idle {noun}{plural if number > 1 else ''}"


def _call_of_the_library(calls: Sequence[Call], places: Places) -> str:
    """What the innermost line of the project's own code has called: "in `Event.wait`"."""
    inside = ""
    for code, _ in calls:
        if places.own(code.co_filename):
            return f"in `{inside}`" if inside else ""
        inside = code.co_qualname
    return ""


def _of_the_function(calls: Sequence[Call]) -> list[Call]:
    """The frames from the submitted function on: what is below it is the executor's."""
    inner: list[Call] = []
    for code, at in calls:
        if code.co_filename.endswith(_WORKER_FILE):
            break
        inner.append((code, at))
    return inner


_WORKER_FILE = str(Path("concurrent", "futures", "thread.py"))
