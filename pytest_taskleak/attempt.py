"""One attempt at one test: what is known of it from its setup until its reports are out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from pytest_taskleak.model import Owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_taskleak.settings import Settings
    from pytest_taskleak.verdicts import Verdict


@dataclasses.dataclass(slots=True, eq=False)
class Attempt:
    """One attempt at one test.

    Attributes:
        owner: The attempt as an owner; another attempt at the same test is another owner.
        settings: How it is judged.
        seen: How much the run had recorded when it began.
        owners: The attempt and the fixtures made for it alone.
        ended_fixtures: The wider fixtures that ended with it.
        closing: Whether the first of them has begun to end.
        reports: Its reports so far.
        logged: The phases whose report was handed out already.
        verdicts: What was found when it was over.
        counts: How much went on before it and after it, by the names of `model.COUNTED`.
    """

    owner: Owner
    settings: Settings
    seen: int
    owners: set[Owner] = dataclasses.field(default_factory=set[Owner])
    ended_fixtures: set[Owner] = dataclasses.field(default_factory=set[Owner])
    closing: bool = False
    reports: dict[str, pytest.TestReport] = dataclasses.field(default_factory=dict[str, pytest.TestReport])
    logged: set[str] = dataclasses.field(default_factory=set[str])
    verdicts: Sequence[Verdict] = ()
    counts: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict[str, tuple[int, int]])
