"""What travels from the process that runs a test to the one that writes reports, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_taskleak.leak import Leak

_ATTRIBUTE = "taskleak"


class Found:
    """The leaks of one test or fixture.

    Attributes:
        nodeid: The test, "" where nobody knows whose they are.
        location: The test's file, line and domain.
        mode: How they are judged: fail, warn, or accepted.
        leaks: At least one.
    """

    def __init__(self, nodeid: str, location: Sequence[Any], mode: str, leaks: list[Leak]) -> None:
        self.nodeid = nodeid
        self.location = location
        self.mode = mode
        self.leaks = leaks

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` makes it again."""
        leaks = [leak.to_json() for leak in self.leaks]
        return {"nodeid": self.nodeid, "location": list(self.location), "mode": self.mode, "leaks": leaks}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Found:
        """What `to_json` was asked of."""
        from pytest_taskleak.leak import Leak  # noqa: PLC0415 - needed only when something leaks

        return cls(data["nodeid"], data["location"], data["mode"], [Leak.from_json(leak) for leak in data["leaks"]])


class Letter:
    """What one report, or the end of one process, has to tell.

    Attributes:
        shown: Found, and shown in a report where it fails anything.
        late: Found when its test was over: to be reported by itself.
        defects: The plugin's own failures, in words.
        counts: How much went on before a test and after it, by what it is; {} for a test that started nothing.
    """

    def __init__(
        self,
        *,
        shown: list[Found] | None = None,
        late: list[Found] | None = None,
        defects: list[str] | None = None,
        counts: dict[str, tuple[int, int]] | None = None,
    ) -> None:
        """Write one: empty where nothing is given."""
        self.shown = shown or []
        self.late = late or []
        self.defects = defects or []
        self.counts = counts or {}

    def to_json(self) -> dict[str, Any]:
        """Plain values, {} where there is nothing to say; `from_json` makes it again."""
        values = {
            "shown": [found.to_json() for found in self.shown],
            "late": [found.to_json() for found in self.late],
            "defects": self.defects,
            "counts": {name: list(pair) for name, pair in self.counts.items()},
        }
        return {name: value for name, value in values.items() if value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Letter:
        """What `to_json` was asked of."""
        return cls(
            shown=[Found.from_json(found) for found in data.get("shown", ())],
            late=[Found.from_json(found) for found in data.get("late", ())],
            defects=list(data.get("defects", ())),
            counts={name: (before, after) for name, (before, after) in data.get("counts", {}).items()},
        )


def by_mode(nodeid: str, location: Sequence[Any], mode: str, leaks: Sequence[Leak]) -> list[Found]:
    """The leaks of one test or fixture, those that may stay apart from the others."""
    fresh = [leak for leak in leaks if not leak.accepted]
    known = [leak for leak in leaks if leak.accepted]
    return [Found(nodeid, location, how, some) for how, some in ((mode, fresh), ("accepted", known)) if some]


def carry(report: object, letter: Letter) -> None:
    """Give a report more to take along."""
    known = read(report)
    for name in ("shown", "late", "defects"):
        getattr(known, name).extend(getattr(letter, name))
    known.counts |= letter.counts
    values = known.to_json()
    if values:
        setattr(report, _ATTRIBUTE, values)


def carries(report: object) -> bool:
    """Whether a report took anything along."""
    return hasattr(report, _ATTRIBUTE)


def read(report: object) -> Letter:
    """What a report took along."""
    values = getattr(report, _ATTRIBUTE, None)
    return Letter.from_json(values) if values else Letter()
