"""From a thing that is left to a leak: what it is, what is known of it, and what mends it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_taskleak.callbacks import callbacks_of
from pytest_taskleak.explain.hints import hint
from pytest_taskleak.explain.holders import held_by
from pytest_taskleak.explain.transports import TOLD
from pytest_taskleak.findings import blame
from pytest_taskleak.leak import Leak

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, FrameType

    from pytest_taskleak.findings import Place
    from pytest_taskleak.model import Call, Kind, Owner
    from pytest_taskleak.places import Places


@dataclasses.dataclass(frozen=True, slots=True)
class Sketch:
    """A thing in words, taken while it is as it was found.

    Attributes:
        what: What it is or runs, by name: a callback, a generator, an address.
        verdict: What became of it, in a few words.
        detail: What else is known, "" for nothing.
        sort: Which sort of its kind it is, by a name that hints know it by; "" for no sort.
        stands: Where it stands, the outermost first.
        name: The name that somebody gave it, "" for none.
    """

    what: str
    verdict: str
    detail: str
    sort: str
    stands: tuple[Place, ...] = ()
    name: str = ""


def sketch(  # noqa: PLR0913, PLR0917 - each kind is told from others of these
    kind: Kind, thing: Any, calls: Sequence[Call], now: float, places: Places, note: str = ""
) -> Sketch:
    """Put a thing into words.

    Args:
        kind: What it is.
        thing: The thing.
        calls: The frames that made it.
        now: The time of its loop.
        places: Tells whose code is whose.
        note: What was noted of it when it was made.
    """
    if kind in TOLD:
        told = TOLD[kind](thing, note)
        return Sketch(told.what, told.verdict, told.detail, told.sort, name=told.name)
    return _SKETCHES[kind](thing, calls, now, places)


def _future(future: Any, calls: Sequence[Call], _now: float, places: Places) -> Sketch:
    holder = held_by(future)
    return Sketch(
        what=places.maker(calls),
        verdict=f"held by {holder}" if holder else "pending",
        detail="nobody has settled it",
        sort="",
    )


def _timer(timer: Any, calls: Sequence[Call], now: float, _places: Places) -> Sketch:
    name = next((name for piece in callbacks_of(timer) if (name := getattr(piece, "__qualname__", ""))), "a callback")
    repeats = bool(calls) and calls[0][0].co_qualname == name
    return Sketch(name, f"fires in +{max(0.0, timer.when() - now):.0f} s", "", "repeats" if repeats else "")


def _generator(generator: Any, _calls: Sequence[Call], _now: float, places: Places) -> Sketch:
    frame: FrameType | None = generator.ag_frame
    code: CodeType = generator.ag_code
    stands = (places.place((code, frame.f_lasti)),) if frame is not None else ()
    return Sketch(generator.__qualname__, "left suspended", "", "", stands)


_SKETCHES: dict[Kind, Callable[[Any, Sequence[Call], float, Places], Sketch]] = {
    "future": _future,
    "timer": _timer,
    "generator": _generator,
}


def describe_thing(  # noqa: PLR0913 - a leak is told from many sides, and each is one argument
    kind: Kind,
    words: Sketch,
    owner: Owner,
    *,
    phase: str,
    calls: Sequence[Call],
    settled: str,
    piled_up: Sequence[str],
    places: Places,
) -> Leak:
    """Say what is wrong with a thing that outlived its owner."""
    verdict, detail = words.verdict, words.detail
    created = places.places(calls)
    if piled_up:
        verdict, detail = f"accumulates, {verdict}", f"{len(piled_up)} tests each left more"
    return Leak(
        kind=kind,
        task=words.name,
        coroutine=words.what,
        verdict=verdict,
        detail=detail,
        hint=hint(kind, words.sort, waits=words.stands, created=created),
        settled=settled,
        waits=words.stands,
        created=created,
        ancestors=(),
        **blame(owner),
        phase=phase,
        distribution=places.library(*created, *words.stands),
    )
