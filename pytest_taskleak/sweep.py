"""What happens while a loop is closed over what is left in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pytest_taskleak.judge import Suspect

_HANGS_AFTER = 2.0
"""Seconds after which a sweep that still waits for a task is announced: it may wait for ever."""


class Sweep:
    """What happens to suspects while their loop is closed over them."""

    def __init__(
        self, hangs: Callable[[list[Suspect]], None], loop: asyncio.AbstractEventLoop, suspects: list[Suspect]
    ) -> None:
        """Watch a sweep that is about to begin.

        Args:
            hangs: Told when it has waited so long for suspects that it may wait for ever.
            loop: The loop that is being closed.
            suspects: What is left in it.
        """
        self._suspects = [suspect for suspect in suspects if not suspect.ended_in_grace]
        self._timer = loop.call_later(_HANGS_AFTER, hangs, self._suspects) if not loop.is_closed() else None

    def end(self) -> None:
        """The loop is closed."""
        if self._timer is not None:
            self._timer.cancel()
        for suspect in self._suspects:
            suspect.watch_for_stop()


def in_turn(*steps: Callable[[], None]) -> Callable[[], None]:
    """One call for several."""

    def all_steps() -> None:
        for step in steps:
            step()

    return all_steps
