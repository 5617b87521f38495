"""From a suspect to a leak: everything into words, nothing of the user's kept."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_taskleak.explain.awaiting import GIVEN_BY_ASYNCIO, waiting
from pytest_taskleak.explain.errors import raised
from pytest_taskleak.explain.graph import await_graph
from pytest_taskleak.explain.hints import hint
from pytest_taskleak.explain.waits import Wait, foretold
from pytest_taskleak.findings import NOT_EXAMINED, blame
from pytest_taskleak.leak import Leak

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import CodeType, FrameType

    from pytest_taskleak.findings import Outlook, Place
    from pytest_taskleak.leak import Link
    from pytest_taskleak.model import Call, Kind, Origin, Owner
    from pytest_taskleak.places import Places


@dataclasses.dataclass(frozen=True, slots=True)
class Portrait:
    """A pending task in words, taken while it still waits.

    Attributes:
        coroutine: Qualified name of what it runs.
        wait: The thing it waits for.
        stands: The places it waits at, the outermost first.
        on: The ids of the tasks it waits for.
        outlook: Whether anything that is alive could wake it, and who holds it.
        awaits: The whole await graph around it; empty where it was not asked for.
    """

    coroutine: str
    wait: Wait
    stands: tuple[Place, ...]
    on: frozenset[int]
    outlook: Outlook
    awaits: tuple[Link, ...] = ()


def portrait(
    task: asyncio.Task[Any], places: Places, outlook: Outlook = NOT_EXAMINED, *, graph: bool = False
) -> tuple[Portrait, list[object]]:
    """Put a pending task into words.

    Args:
        task: The task.
        places: Gives the lines of code.
        outlook: Whether anything that is alive could wake it, and who holds it.
        graph: Whether the await graph is told, with local variables, whose `__repr__` is the user's code.

    Returns:
        The words, and the objects that it works on: in whose methods it stands, and what it waits on. They are the
        user's: keep them no longer than the suspect.
    """
    now = waiting(task)
    words = Portrait(
        coroutine=_coroutine(task),
        wait=foretold(now.wait, outlook.prospect),
        outlook=outlook,
        stands=_stands(now.frames, task, places),
        on=frozenset(id(future) for future in now.on),
        awaits=await_graph(task, places) if graph and not task.done() else (),
    )
    return words, _works_on(now.frames)


def _works_on(frames: Iterable[FrameType]) -> list[object]:
    found: list[object] = []
    for frame in frames:
        code = frame.f_code
        first = code.co_varnames[:1]
        if first in (("self",), ("cls",)):
            found.append(frame.f_locals.get(first[0]))
        found += (
            value
            for value in list(frame.f_locals.values())
            # a stop event, handed to a function; a promise that it is to keep
            if isinstance(value, (asyncio.Event, asyncio.Queue, asyncio.Future)) and not isinstance(value, asyncio.Task)
        )
    return [thing for thing in found if thing is not None]


def _coroutine(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return str(getattr(coroutine, "__qualname__", None) or type(coroutine).__qualname__)


def _stands(frames: Sequence[FrameType], task: asyncio.Task[Any], places: Places) -> tuple[Place, ...]:
    if frames:
        return places.places((frame.f_code, frame.f_lasti) for frame in frames)
    coroutine = task.get_coro()
    code: CodeType | None = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
    return (places.definition(code),) if code is not None else ()


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What the judgement knows of a leaked task beyond its portrait.

    Attributes:
        swept: Its loop was closed over it, which cancelled it.
        swallows: It was still alive well after it had been cancelled.
        asked_to_end: It was cancelled before anybody looked.
        ended_in_grace: It ended while the loop was given time.
        stop_tried: Its owner tried to stop it when the loop was closed already.
        piled_up: The tests that each left one with the same fixture; empty where it is no pile.
        keeper: The fixture that keeps it, "" for none.
        promises: The futures that it leaves unsettled, in words.
        grace: Seconds that the loop was given.
    """

    swept: bool = False
    swallows: bool = False
    asked_to_end: bool = False
    ended_in_grace: bool = False
    stop_tried: bool = False
    piled_up: tuple[str, ...] = ()
    keeper: str = ""
    promises: tuple[str, ...] = ()
    grace: float = 0.0


def describe(  # noqa: PLR0913, PLR0917 - a leak is told from six sides, and each is one argument
    task: asyncio.Task[Any],
    origin: Origin | None,
    owner: Owner | None,
    words: Portrait,
    found: Found,
    places: Places,
) -> Leak:
    """Say what is wrong with a pending task that outlived its owner."""
    verdict, detail = words.wait.verdict, words.wait.detail
    state = ""
    if words.wait.on == "cancelled":
        state = "cancelled"
    if found.swallows:
        verdict, state = f"swallows cancellation, {verdict}", "swallows"
    elif found.ended_in_grace:
        verdict, detail, state = "cancelled, not awaited", "", "cancelled"
    elif found.asked_to_end:
        verdict, state = f"cancelled but not finished, {verdict}", "cancelled"
    if found.piled_up:
        detail = f"{len(found.piled_up)} tests each left one more with the fixture `{found.keeper}`"
        verdict = f"accumulates, {verdict}"
    settled = f"still pending {found.grace:g} s after its owner ended"
    if found.swept:
        settled += "; closing the loop cancelled it"
    if found.stop_tried:
        settled += ", and only then did its owner try to stop it"
    leak = _leak("pending", task, origin, owner, places, words, (verdict, detail, settled), state)
    _, holders, suspect = words.outlook if not found.ended_in_grace else NOT_EXAMINED
    return dataclasses.replace(leak, children=found.promises, holders=holders, suspect=suspect)


def describe_lost(task: asyncio.Task[Any], origin: Origin, error: BaseException | None, places: Places) -> Leak:
    """Say what is wrong with a task that was destroyed while pending, or whose exception nobody retrieved."""
    words = portrait(task, places)[0]
    if error is None:
        settled = "collected as garbage before it was done"
        text = (
            f"destroyed while pending, {words.wait.verdict}",
            words.wait.detail,
            settled,
        )
        return _leak("destroyed", task, origin, origin.owner, places, words, text)
    what, stands = raised(error, places)
    text = ("its exception was never retrieved", what, "it had ended")
    if stands:
        words = dataclasses.replace(words, stands=stands)
    return _leak("lost-exception", task, origin, origin.owner, places, words, text)


def describe_running(thread: str, owner: Owner, phase: str, calls: tuple[Call, ...], places: Places) -> Leak:
    """Say that a loop still runs in a thread whose owner has ended."""
    created = places.places(calls)
    return Leak(
        kind="running-loop",
        task=thread,
        coroutine="an event loop",
        verdict="runs on in its thread",
        detail="",
        hint=hint("running-loop", created=created),
        settled="still running after its owner ended",
        waits=(),
        created=created,
        ancestors=(),
        **blame(owner),
        phase=phase,
        distribution=places.library(*created),
    )


def _leak(  # noqa: PLR0913, PLR0917 - as above
    kind: Kind,
    task: asyncio.Task[Any],
    origin: Origin | None,
    owner: Owner | None,
    places: Places,
    words: Portrait,
    text: tuple[str, str, str],
    state: str = "",
) -> Leak:
    name = task.get_name()
    verdict, detail, settled = text
    created = places.places(origin.calls) if origin is not None else ()
    wait = words.wait
    return Leak(
        kind=kind,
        task="" if GIVEN_BY_ASYNCIO.fullmatch(name) else name,
        coroutine=words.coroutine,
        verdict=verdict,
        detail=detail,
        hint=hint(kind, wait.on, state=state, never=wait.never, waits=words.stands, created=created),
        settled=settled,
        waits=words.stands,
        created=created,
        ancestors=_ancestors(origin, places),
        **blame(owner),
        phase=origin.phase if origin is not None else "",
        distribution=places.library(*created, *words.stands),
        awaits=words.awaits,
    )


def _ancestors(origin: Origin | None, places: Places) -> tuple[tuple[str, Place | None], ...]:
    """The creating tasks that the project's own code made; the test itself, which a runner made, is none."""
    chain: list[tuple[str, Place | None]] = []
    above = origin.parent if origin is not None else None
    while above is not None:
        site = next((call for call in above.calls if places.own(call[0].co_filename)), None)
        if site is not None:
            chain.append((above.name, places.place(site)))
        above = above.parent
    return tuple(chain)
