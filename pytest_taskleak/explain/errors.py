"""From an error that nobody heard, or a coroutine that nobody awaited, to a leak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_taskleak.explain.hints import hint
from pytest_taskleak.findings import blame
from pytest_taskleak.leak import Leak

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, TracebackType

    from pytest_taskleak.findings import Place
    from pytest_taskleak.model import Call, Kind, Owner
    from pytest_taskleak.places import Places


def raised(error: BaseException, places: Places) -> tuple[str, tuple[Place, ...]]:
    """An exception in words, and where it was raised, the outermost place first."""
    try:
        lines = str(error).splitlines()
    except Exception as its_own:  # noqa: BLE001 - an exception of the user's may raise anything when it is asked
        lines = [f"its text cannot be told, `str()` raised {type(its_own).__qualname__}"]
    words = type(error).__qualname__ + (f": {lines[0]}" if lines else "")
    return words, places.places(calls_of(error))


def calls_of(error: BaseException) -> list[Call]:
    """The frames of an exception's traceback, the outermost first."""
    calls: list[Call] = []
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        calls.append((trace.tb_frame.f_code, trace.tb_lasti))
        trace = trace.tb_next
    return calls


def describe_future(
    error: BaseException, owner: Owner | None, phase: str, calls: Sequence[Call], places: Places
) -> Leak:
    """Say that a future's exception was never retrieved."""
    detail, stands = raised(error, places)
    return _leak(
        ("lost-exception", "future"),
        places.maker(calls),
        ("its exception was never retrieved", detail, "it had ended"),
        (owner, phase),
        (stands, places.places(calls)),
        places,
    )


def describe_callback(error: BaseException, owner: Owner | None, phase: str, places: Places) -> Leak:
    """Say that code that a loop called failed, and nobody heard it."""
    detail, stands = raised(error, places)
    first = next((place for place in stands if place.own), stands[-1] if stands else None)
    return _leak(
        ("lost-callback", ""),
        # What was handed to the loop and never raised has no place; its type is a name that a reader can look for.
        first.function if first is not None else type(error).__qualname__,
        ("its exception was never handled", detail, "its loop went on"),
        (owner, phase),
        (stands, ()),
        places,
    )


def describe_unawaited(found: Any, owner: Owner | None, created: Sequence[Call], places: Places) -> Leak:
    """Say that a coroutine was made and never awaited.

    Args:
        found: What is known of it, a `findings.Unawaited`.
        owner: Who made it.
        created: The frames that made it, the innermost first, where they are known other than by its origin.
        places: Tells whose code is whose.
    """
    code: CodeType | None = found.code
    sites = places.places(created) or tuple(places.line(*origin) for origin in found.origin)
    return _leak(
        ("never-awaited", ""),
        found.name,
        ("never awaited", "", "freed before it had begun"),
        (owner, found.phase),
        ((places.definition(code),) if code is not None else (), sites),
        places,
    )


def _leak(  # noqa: PLR0913, PLR0917 - a leak is told from many sides, and each is one argument
    kind: tuple[Kind, str],
    what: str,
    text: tuple[str, str, str],
    whose: tuple[Owner | None, str],
    where: tuple[tuple[Place, ...], tuple[Place, ...]],
    places: Places,
) -> Leak:
    owner, phase = whose
    verdict, detail, settled = text
    return Leak(
        kind=kind[0],
        task="",
        coroutine=what,
        verdict=verdict,
        detail=detail,
        hint=hint(kind[0], kind[1], waits=where[0], created=where[1]),
        settled=settled,
        waits=where[0],
        created=where[1],
        ancestors=(),
        **blame(owner),
        phase=phase,
        called=kind[1],
        distribution=places.library(*where[1], *where[0]),
    )
