"""What is never a leak, each with its reason; a runner's peculiarity is a rule here and nowhere else."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable


class Rule:
    """Tasks that are not looked at.

    Attributes:
        name: Short, unique.
        reason: Why they are no leak, for the person who wonders.
        coroutine: Qualified name of the coroutine, or the name of its type where it has no frame.
        file: What the path of its file must contain, with forward slashes; "" for any.
        carries: Whether other people's work runs inside the task, so that what it starts is theirs.
        at_most: How many of them a loop may have; None for any number.
    """

    def __init__(  # noqa: PLR0913 - all that a rule says
        self,
        name: str,
        reason: str,
        coroutine: str,
        *,
        file: str = "",
        carries: bool = False,
        at_most: int | None = None,
    ) -> None:
        self.name = name
        self.reason = reason
        self.coroutine = coroutine
        self.file = file
        self.carries = carries
        self.at_most = at_most

    def matches(self, coroutine: object) -> bool:
        """Whether the rule speaks of a task that runs `coroutine`."""
        name = getattr(coroutine, "__qualname__", None) or type(coroutine).__qualname__
        if name != self.coroutine and type(coroutine).__qualname__ != self.coroutine:
            return False
        return self.file in _file(coroutine)


BUILT_IN = (
    Rule(
        "anyio-test-runner",
        "anyio's plugin runs fixtures and tests inside this one task, which ends when its loop is closed",
        "TestRunner._run_tests_and_fixtures",
        file="anyio/",
        carries=True,
    ),
    Rule(
        "anyio-process-pool",
        "anyio keeps one task for a loop's life to end its worker processes with the loop",
        "_shutdown_process_pool_on_exit",
        file="anyio/",
        at_most=1,
    ),
    *(
        Rule(
            f"asyncgen-finalizer-{verb}",
            "asyncio itself finishes an async generator that was collected; it takes one turn of the loop",
            f"async_generator_{verb}",
        )
        for verb in ("athrow", "asend")
    ),
)


CARRIERS = frozenset(rule.coroutine for rule in BUILT_IN if rule.carries)
"""Qualified names of coroutines that may carry other people's work."""


def carries(coroutine: object, rules: Iterable[Rule] = BUILT_IN) -> bool:
    """Whether other people's work runs inside a task of this coroutine."""
    return any(rule.carries and rule.matches(coroutine) for rule in rules)


def ignored_by(tasks: Iterable[asyncio.Task[Any]], rules: Iterable[Rule] = BUILT_IN) -> dict[asyncio.Task[Any], Rule]:
    """The tasks of one loop that a rule speaks for, and the rule.

    Where a rule allows only so many, those made first are allowed.
    """
    rules = tuple(rules)
    spoken: dict[asyncio.Task[Any], Rule] = {}
    seen: Counter[Rule] = Counter()
    for task in tasks:
        coroutine = task.get_coro()
        rule = next((rule for rule in rules if rule.matches(coroutine)), None)
        if rule is None:
            continue
        seen[rule] += 1
        if rule.at_most is None or seen[rule] <= rule.at_most:
            spoken[task] = rule
    return spoken


def _file(coroutine: object) -> str:
    for name in ("cr_code", "gi_code", "ag_code"):
        code = getattr(coroutine, name, None)
        if code is not None:
            return str(code.co_filename).replace("\\", "/")
    return ""
