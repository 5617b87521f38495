"""`assert_no_leaks`: the same judgement around a block, for scripts and for other test runners."""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_taskleak import explain, judge, report
from pytest_taskleak.findings import NOT_EXAMINED
from pytest_taskleak.leftovers import Leftovers
from pytest_taskleak.lost import Lost
from pytest_taskleak.model import GRACE, KINDS, SEARCH, Owner
from pytest_taskleak.places import Places
from pytest_taskleak.stalls import Stalls
from pytest_taskleak.verdicts import outlooks
from pytest_taskleak.watch import Watcher
from pytest_taskleak.workplaces import Workplaces

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, TracebackType

    from pytest_taskleak.findings import Unawaited
    from pytest_taskleak.leak import Leak
    from pytest_taskleak.verdicts import Verdict

_log = logging.getLogger(__name__)

_STEP = 0.002
"""Seconds between two looks at threads while time is given."""


class assert_no_leaks:  # noqa: N801 - used as a statement, like `contextlib.suppress`
    """Raise `TaskLeakError` when what the block started goes on when it ends.

        async with assert_no_leaks():
            await bot.handle(message)

    Guarantees: only what the block starts is judged, tasks and all the rest (and what they start), not what other
    tasks of the loop start meanwhile. What its own variables hold dies with them, and is no leak. A block that raises
    keeps its exception; the leaks are added to it as a note. KeyboardInterrupt, SystemExit and cancellation pass
    without a word. Inside a test that the plugin watches, what is raised here is not reported a second time.

    Raises:
        TaskLeakError: With the line that made the task as the end of its traceback, and `leaks` in words.
        ValueError: For a grace, a limit or a time for the search that is no time.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own, and none need be given
        self,
        *,
        grace: float = GRACE,
        strict: bool = False,
        cancel: bool = False,
        blocked: float = 0.0,
        search: float = SEARCH,
        expect: Sequence[str] = (),
    ) -> None:
        """Make a block's judge.

        Args:
            grace: Seconds that suspects are given to end; without suspects nothing waits.
            strict: Report tasks that were cancelled and not awaited too, and what the block's variables hold.
            cancel: Cancel what is reported, and let it end.
            blocked: Seconds that one step of a task of the block may keep the loop from turning; 0 for no limit. A
                thread looks on meanwhile.
            search: Seconds of processor time that the search for who could wake leaked tasks may take; 0 for no search.
            expect: Names of tasks, coroutines or callbacks that may be left, or may block; `*` and `?` match.
        """
        if not 0 <= grace < float("inf"):
            raise ValueError(f"grace={grace!r} is not valid; give seconds, 0 or more")
        if not 0 <= blocked < float("inf"):
            raise ValueError(f"blocked={blocked!r} is not valid; give seconds, 0 for off")
        if not 0 <= search < float("inf"):
            raise ValueError(f"search={search!r} is not valid; give seconds, 0 for no search")
        self._grace = grace
        self._blocked = blocked
        self._search = search
        self._stalls: Stalls | None = None
        self._strict = strict
        self._cancel = cancel
        self._expect = (expect,) if isinstance(expect, str) else tuple(expect)
        self._places = Places(Path.cwd(), whole=False)

    async def __aenter__(self) -> None:
        """Begin: from here on, what the current task starts is the block's."""
        frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the line of the block
        where = f"`assert_no_leaks` at {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        self._block = Owner("block", "", where)
        self._watcher = Watcher.active() or _recorder(self._places)
        self._watcher.start()
        self._watcher.users += 1
        self._task = asyncio.current_task()
        self._before = self._watcher.lend(self._task, self._block)
        self._block.outer = self._before
        self._block.nodeid = self._before.nodeid if self._before is not None else ""
        if self._blocked:
            self._stalls = Stalls(self._watcher, self._places, self._watcher.listener.failed)
            self._stalls.monitor.watch(self._blocked)
            self._stalls.monitor.follow(asyncio.get_running_loop(), threading.get_ident())

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End: what the block started must be over."""
        stalled = self._stalled()
        self._watcher.lend(self._task, self._before)
        self._block.ended = True
        try:
            if error is not None and not isinstance(error, Exception):
                return
            leaks = [*await self._judge(), *stalled]
            frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the block's
            leaks += await self._left_besides_tasks(frame)
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
        heard = listener.take(self._block) if isinstance(listener, _Listener) else []
        leaks = [leak for leak in heard if not self._is_expected(leak.task, leak.coroutine)]
        told = outlooks(
            suspects,
            self._search,
            self._watcher.listener.failed,
            origin=self._watcher.origin,
            own=self._places.own,
        )
        for task in suspects:
            ended = task.done()
            if ended and not (self._strict and task in asked and task.cancelled()):
                continue
            origin = self._watcher.origin(task)
            if origin is not None:
                origin.settled = True
            words = explain.portrait(task, self._places, told.get(id(task), NOT_EXAMINED))[0]
            found = explain.Found(asked_to_end=task in asked, ended_in_grace=ended, grace=self._grace)
            leaks.append(explain.describe(task, origin, self._block, words, found, self._places))
        if self._cancel:
            left = [task for task in suspects if not task.done() and task.cancel()]
            if left:
                await asyncio.wait(left, timeout=self._grace)
        return leaks

    async def _left_besides_tasks(self, frame: FrameType) -> list[Leak]:
        leftovers = Leftovers(self._watcher.things, self._places, {}, judge.Adoptions())
        leftovers.strict = self._strict
        leftovers.passing = lambda: list(frame.f_locals.values())
        leftovers.owner_of = self._owner_of
        leftovers.look([asyncio.get_running_loop()], of=self._block)
        found = leftovers.verdicts()  # what was found is let go of, and what it alone holds
        leftovers.look_for_survivors(None, of=self._block)
        workplaces = Workplaces(self._watcher, self._places, {}, leftovers)
        if workplaces:
            for _ in range(round(self._grace / _STEP)):
                if not workplaces.at_work(self._block):
                    break
                await asyncio.sleep(_STEP)  # a thread may need the loop to end
            workplaces.look(0.0, of=self._block, waited=self._grace)
        found += leftovers.verdicts() + workplaces.verdicts()
        return [leak for _, leak in found if not self._is_expected(leak.task, leak.coroutine)]

    def _stalled(self) -> list[Leak]:
        """What blocked the loop in the block; what is told here is told once."""
        if self._stalls is None:
            return []
        stalled = self._stalls.of_block(self._block)
        self._stalls.stop()
        self._block.blamed = bool(stalled)
        return [leak for leak in stalled if not self._is_expected(leak.task, leak.coroutine)]

    def _owner_of(self, task: asyncio.Task[Any]) -> Owner | None:
        origin = self._watcher.origin(task)
        return origin.owner if origin is not None else None

    def _is_mine(self, task: asyncio.Task[Any]) -> bool:
        origin = self._watcher.origin(task)
        return origin is not None and origin.owner is self._block and not origin.settled

    def _expected(self, task: asyncio.Task[Any]) -> bool:
        return self._is_expected(task.get_name(), getattr(task.get_coro(), "__qualname__", ""))

    def _is_expected(self, *names: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._expect for name in names)


class _Listener:
    """Hears what the recorder that all blocks share tells, where no plugin records."""

    lost: Lost

    def __init__(self) -> None:
        self._lost: list[Verdict] = []

    def take(self, block: Owner) -> list[Leak]:
        """What was heard of and not retrieved or awaited, of one block."""
        verdicts = [*self._lost, *self.lost.verdicts()]
        self._lost = [verdict for verdict in verdicts if verdict.owner is not block]
        return [verdict.leak for verdict in verdicts if verdict.owner is block]

    def closing(self, _loop: asyncio.AbstractEventLoop, /, *, by_runner: bool) -> None:
        """A loop is closed: the block's own is not, while it runs."""

    def complained(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any], /) -> None:
        """A task was destroyed while it was pending, or an error was lost."""
        self.lost.complained(loop, context)

    def unawaited(self, found: Unawaited, /) -> bool:
        """A coroutine was freed and never awaited."""
        return self.lost.unawaited(found)

    def failed(self, error: Exception, /) -> None:
        """Note a defect of the recorder's own: it changes nothing, and is not raised into the block."""
        _log.error("a defect of pytest-taskleak itself; please report it", exc_info=error)


def _goes_on(owner: Owner) -> bool:
    return not owner.ended


def _recorder(places: Places) -> Watcher:
    """A recorder for blocks alone."""
    listener = _Listener()
    watcher = Watcher(
        listener,
        carriers=judge.CARRIERS,
        carries=judge.carries,
        own=places.own,
        kinds=KINDS,
    )
    listener.lost = Lost(watcher, places, of_blocks=True)
    listener.lost.judged = _goes_on
    watcher.coroutines.begins()
    return watcher
