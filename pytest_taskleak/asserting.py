"""`assert_no_leaks`: the same judgement around a block, for scripts and for other test runners."""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pytest_taskleak import explain, judge, report
from pytest_taskleak.model import Leak, Owner
from pytest_taskleak.places import Places
from pytest_taskleak.watch import Watcher, origin_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_log = logging.getLogger(__name__)


class assert_no_leaks:  # noqa: N801 - used as a statement, like `contextlib.suppress`
    """Raise `TaskLeakError` when tasks that the block started are alive when it ends.

        async with assert_no_leaks():
            await bot.handle(message)

    Guarantees: only tasks of the block are judged (those that it makes, and those that they make), not what
    other tasks of the loop start meanwhile. A block that raises keeps its exception; the leaks are added to it as a
    note. KeyboardInterrupt, SystemExit and cancellation pass without a word. Inside a test that the plugin
    watches, what is raised here is not reported a second time.

    Raises:
        TaskLeakError: With the line that made the task as the end of its traceback, and `leaks` in words.
        ValueError: For a grace that is no time.
    """

    def __init__(
        self, *, grace: float = 0.1, strict: bool = False, cancel: bool = False, expect: Sequence[str] = ()
    ) -> None:
        """Make a block's judge.

        Args:
            grace: Seconds that suspects are given to end; without suspects nothing waits.
            strict: Report tasks that were cancelled and not awaited too.
            cancel: Cancel what is reported, and let it end.
            expect: Names of tasks or coroutines that may be left; `*` and `?` match.
        """
        if not 0 <= grace < float("inf"):
            raise ValueError(f"grace={grace!r} is not valid; give seconds, 0 or more")
        self._grace = grace
        self._strict = strict
        self._cancel = cancel
        self._expect = (expect,) if isinstance(expect, str) else tuple(expect)
        self._places = Places(Path.cwd())

    async def __aenter__(self) -> None:
        """Begin: from here on, what the current task starts is the block's."""
        frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the line of the block
        where = f"`assert_no_leaks` at {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        self._block = Owner("block", "", where)
        self._watcher = Watcher.active() or Watcher(
            _Listener(self._places), carriers=judge.CARRIERS, carries=judge.carries, own=self._places.own
        )
        self._watcher.start()
        self._watcher.users += 1
        self._task = asyncio.current_task()
        self._before = self._watcher.lend(self._task, self._block)
        self._block.outer = self._before
        self._block.nodeid = self._before.nodeid if self._before is not None else ""

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End: what the block started must be over."""
        self._watcher.lend(self._task, self._before)
        self._block.ended = True
        try:
            if error is not None and not isinstance(error, Exception):
                return
            leaks = await self._judge()
        finally:
            self._watcher.users -= 1
            if not self._watcher.users:
                self._watcher.stop()
            del self._task
        if not leaks:
            return
        text = report.details(leaks, verbosity=0, root=str(Path.cwd()))
        if error is not None:
            error.add_note(f"{report.headline(leaks)}\n{text}")
            return
        raise report.grafted(leaks, f"{report.headline(leaks)}\n{text}")

    async def _judge(self) -> list[Leak]:
        loop = asyncio.get_running_loop()
        tasks = [task for task in judge.pending_tasks(loop) if self._is_mine(task)]
        spoken = judge.ignored_by(tasks)
        suspects = [task for task in tasks if task not in spoken and not self._expected(task)]
        asked = {task for task in suspects if judge.cancel_requested(task)}
        for _ in range(judge.TURNS):
            if all(task.done() for task in suspects):
                break
            await asyncio.sleep(0)
        if any(not task.done() for task in suspects) and self._grace:
            await asyncio.wait(suspects, timeout=self._grace)
        listener = self._watcher.listener
        leaks = listener.take(self._block) if isinstance(listener, _Listener) else []
        for task in suspects:
            ended = task.done()
            if ended and not (self._strict and task in asked and task.cancelled()):
                continue
            origin = self._watcher.origin(task)
            if origin is not None:
                origin.settled = True
            words = explain.portrait(task, self._places)[0]
            found = explain.Found(asked_to_end=task in asked, ended_in_grace=ended, grace=self._grace)
            leaks.append(explain.describe(task, origin, self._block, words, found, self._places))
        if self._cancel:
            left = [task for task in suspects if not task.done() and task.cancel()]
            if left:
                await asyncio.wait(left, timeout=self._grace)
        return leaks

    def _is_mine(self, task: asyncio.Task[Any]) -> bool:
        origin = self._watcher.origin(task)
        return origin is not None and origin.owner is self._block and not origin.settled

    def _expected(self, task: asyncio.Task[Any]) -> bool:
        names = (task.get_name(), getattr(task.get_coro(), "__qualname__", ""))
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._expect for name in names)


class _Listener:
    """Hears what the recorder that all blocks share tells, where no plugin records."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lost: list[tuple[Owner, Leak]] = []

    def take(self, block: Owner) -> list[Leak]:
        """What was destroyed while pending, of one block."""
        mine = [leak for owner, leak in self._lost if owner is block]
        self._lost = [(owner, leak) for owner, leak in self._lost if owner is not block]
        return mine

    def closing(self, _loop: asyncio.AbstractEventLoop, /) -> None:
        """A loop is closed: the block's own is not, while it runs."""

    def complained(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any], /) -> None:
        """A task was destroyed while it was pending."""
        if not str(context.get("message")).startswith("Task was destroyed"):
            return
        task = cast("asyncio.Task[Any]", context.get("task"))
        origin = origin_of(task)
        if origin is not None and origin.owner is not None and not origin.settled and not origin.owner.ended:
            origin.settled = True
            self._lost.append((origin.owner, explain.describe_lost(task, origin, None, self._places)))

    def failed(self, error: Exception, /) -> None:
        """Note a defect of the recorder's own: it changes nothing, and is not raised into the block."""
        _log.error("a defect of pytest-taskleak itself; please report it", exc_info=error)
