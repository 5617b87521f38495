"""What kept a loop from turning, and what mends it: by the call that blocked."""

from __future__ import annotations

import linecache
import re
from typing import TYPE_CHECKING

from pytest_taskleak.explain.awaiting import GIVEN_BY_ASYNCIO
from pytest_taskleak.explain.hints import hint
from pytest_taskleak.findings import blame
from pytest_taskleak.leak import Leak

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_taskleak.findings import Place, Stall
    from pytest_taskleak.model import Owner
    from pytest_taskleak.places import Places

_BY_MODULE = {
    "concurrent/futures/_base.py": "thread",
    "concurrent/futures/thread.py": "thread",
    "http/client.py": "io",
    "multiprocessing/popen_fork.py": "process",
    "queue.py": "thread",
    "selectors.py": "io",
    "socket.py": "io",
    "ssl.py": "io",
    "subprocess.py": "process",
    "threading.py": "thread",
}
"""The standard library's modules that wait, by what they wait for."""

_BY_NAME = {
    "sleep": "sleep",
    "acquire": "thread",
    "system": "process",
    "waitpid": "process",
    **dict.fromkeys(("accept", "connect", "recv", "recv_into", "recvfrom", "recvmsg", "sendall", "sendto"), "io"),
    **dict.fromkeys(("poll", "select"), "io"),
    **dict.fromkeys(("getaddrinfo", "gethostbyname", "gethostbyaddr"), "names"),
    **dict.fromkeys(("commit", "execute", "executemany", "executescript", "fetchall"), "database"),
    **dict.fromkeys(("fsync", "open", "read", "readinto", "readline", "readlines", "write"), "file"),
    "input": "input",
}
"""Functions written in C, which have no frame: by the name that they are called by."""

_LONG = 0.1
"""Seconds below which a tenth of one says too little."""


def describe_stall(stall: Stall, owner: Owner, places: Places) -> Leak:
    """Say what kept a loop from turning."""
    stack = places.places(stall.calls)
    kind, call = _why(stack, stall.runs)
    seconds = f"{stall.seconds:.{1 if stall.seconds >= _LONG else 2}f}"
    step = "one step of a task" if stall.is_task else "one callback"
    origin = stall.origin
    created = places.places(origin.calls) if origin is not None else ()
    # Runners wrap the user's coroutines, transports call the user's protocols: theirs is the name that says something.
    own = next((place.function for place in reversed(stack) if place.own), stall.runs)
    return Leak(
        kind="blocked-loop",
        task="" if GIVEN_BY_ASYNCIO.fullmatch(stall.task) else stall.task,
        coroutine=stall.runs if stack and stack[-1].own else own,
        verdict=f"blocked the loop for {seconds} s (threshold {stall.threshold:g} s)",
        detail=f"{step}, in `{call}`" if call else f"{step}, computing",
        hint=hint("blocked-loop", kind, waits=stack[::-1], created=created),
        settled="the loop went on when it was over",
        waits=stack[::-1],
        created=created if any(place.own for place in created) else (),
        ancestors=(),
        **blame(owner),
        phase=stall.phase,
        distribution=places.library(*stack),
    )


_WITH = re.compile(r"with (?P<what>[\w.\[\]'\"]+)(?: as [^:]+)?:")
"""A `with` whose blocking call is not written out: a lock's."""


def _why(stack: Sequence[Place], runs: str) -> tuple[str, str]:
    """What kind of work it was, by the innermost call that is known, and the call as the user wrote it."""
    if not stack:
        # A callback written in C.
        return _BY_NAME.get(runs, "computes"), "time.sleep" if runs == "sleep" else runs
    number, place = next(((number, place) for number, place in enumerate(stack) if place.own), (0, None))
    call = _call(place) if place is not None else ""
    for inner in stack[:number] if place is not None else stack:
        if inner.path.startswith("<frozen importlib"):
            return "import", call
        if inner.module in _BY_MODULE:
            called = stack[number - 1]
            names = called.module == "socket.py" and _BY_NAME.get(called.function) == "names"
            return "names" if names else _BY_MODULE[inner.module], call or inner.function
    innermost = call if number == 0 else _call(stack[0])
    if innermost.startswith("with "):
        return "thread", call
    kind = _BY_NAME.get(innermost.rsplit(".", 1)[-1], "computes")
    if kind == "sleep":
        return ("sleep", "time.sleep") if number == 0 else ("io", call)
    return kind, call


def _call(place: Place) -> str:
    """What is called at a place, as written: "time.sleep", "with self.lock"; "" where it is no call."""
    line = linecache.getline(place.path, place.line).rstrip()
    if line.lstrip().startswith(("import ", "from ")):
        return line.strip()
    start, end = place.column, place.end_column
    text = line.encode()[start:end].decode(errors="replace") if start is not None else line
    entered = _WITH.match(line.lstrip())
    if entered is not None and (text.lstrip().startswith("with ") or text == entered["what"]):
        return f"with {entered['what']}"
    function = _before_last_parenthesis(text) if end is not None else text.partition("(")[0]
    found = re.search(r"[A-Za-z_][\w.]*$", function)
    return found[0] if found else ""


def _before_last_parenthesis(text: str) -> str:
    """What stands before the parenthesis that the last one closes; "" where the text is no call."""
    if not text.endswith(")"):
        return ""
    depth = 0
    for position in range(len(text) - 1, -1, -1):
        depth += (text[position] == ")") - (text[position] == "(")
        if not depth:
            return text[:position]
    return ""
