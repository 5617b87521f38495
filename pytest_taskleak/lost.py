"""Errors that nobody heard and coroutines that nobody awaited: asyncio and the interpreter tell, this says whose."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from pytest_taskleak import explain, judge
from pytest_taskleak.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_taskleak.findings import Unawaited
    from pytest_taskleak.leak import Leak
    from pytest_taskleak.model import Call, Owner
    from pytest_taskleak.places import Places
    from pytest_taskleak.watch import Watcher


class Lost:
    """Judges what is complained of, when it is: nothing of it is there later.

    What asyncio logs of an error is logged as ever, whether it is told here or not: a test may look for it (`caplog`),
    and a log that changes with a plugin misleads. A coroutine's warning is not a log: where a leak is told, it would
    say the same once more, and under `-W error` fail whatever test is running.

    Guarantees: nothing of the user's is kept alive but code; may be called in any thread, and from inside a
    collection, so that it waits for no lock.

    Attributes:
        strict: Whether what cannot be decided is a leak.
        heard: What was heard of and not told yet.
        judged: Whether what an owner leaves is told at all; otherwise all is as without the plugin.
    """

    def __init__(self, watcher: Watcher, places: Places, *, of_blocks: bool = False) -> None:
        """Make a judge of what `watcher` hears.

        Args:
            watcher: The recorder.
            places: Tells whose code is whose.
            of_blocks: Whether blocks answer for what is theirs; otherwise the test around them does.
        """
        self._of_blocks = of_blocks
        self._watcher = watcher
        self._places = places
        self.heard: deque[Verdict] = deque()
        self.strict = False
        self.judged: Callable[[Owner], bool] = _always
        self.test_at: Callable[[str, int], Owner | None] = _nobody

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.heard)

    def verdicts(self) -> list[Verdict]:
        """What was heard since the last time."""
        verdicts: list[Verdict] = []
        while self.heard:
            verdicts.append(self.heard.popleft())
        return verdicts

    def ours_to_tell(self, loop: asyncio.AbstractEventLoop, calls: Iterable[Call]) -> bool:
        """Whether a lost exception fails a test: not a library's own affair, nor one that the user's handler gets."""
        return self.strict or (self._any_own(calls) and loop.get_exception_handler() is None)

    def _any_own(self, calls: Iterable[Call]) -> bool:
        return any(self._places.own(code.co_filename) for code, _ in calls)

    # -- what a loop complains of

    def complained(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> bool:
        """Hear what a loop's exception handler is about to hear.

        Returns:
            Whether it is told, as a leak of a task.
        """
        message = str(context.get("message", ""))
        error: BaseException | None = context.get("exception")
        future = context.get("task") or context.get("future")
        if isinstance(future, asyncio.Task):
            if judge.tells_of_pending(message):
                if judge.ignored_by([future]):  # pyright: ignore[reportUnknownArgumentType] - a task of anything
                    return False
                return self._task(loop, future, None)  # pyright: ignore[reportUnknownArgumentType] - a task of anything
            if judge.tells_of_unretrieved(message) and error is not None:
                return self._task(loop, future, error)  # pyright: ignore[reportUnknownArgumentType] - as above
        if error is None or isinstance(error, asyncio.CancelledError):
            return False  # to be cancelled is no error; 3.11 complains of it where a server's handler was
        if future is not None and judge.tells_of_unretrieved(message):
            self._future(loop, future, error)  # pyright: ignore[reportUnknownArgumentType] - as above
        elif self.strict or judge.tells_of_callback(message):
            self._callback(loop, error, context)
        return False

    def _task(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any], error: BaseException | None) -> bool:
        origin = self._watcher.origin(task)
        if origin is None or origin.run is not self._watcher or origin.settled or origin.owner is None:
            return False
        if not self._may_tell(origin.owner):
            return False
        if error is not None and not self.ours_to_tell(loop, origin.calls):
            return False
        origin.settled = True
        self._tell(origin.owner, explain.describe_lost(task, origin, error, self._places))
        return True

    def _future(self, loop: asyncio.AbstractEventLoop, future: object, error: BaseException) -> None:
        """A library's future is the library's affair, unless it is the project's own error that is lost in it."""
        register = self._watcher.things.futures
        made = register.find(future) if register is not None else None
        owner = made.owner if made is not None else None
        calls = made.calls if made is not None else ()
        if not self._may_tell(owner) or not self.ours_to_tell(loop, calls):
            return
        own_made = self._any_own(calls[:1])
        if not (self.strict or own_made or self._any_own(explain.calls_of(error))):
            return
        phase = made.phase if made is not None else ""
        self._tell(owner, explain.describe_future(error, owner, phase, calls, self._places))

    def _callback(self, loop: asyncio.AbstractEventLoop, error: BaseException, context: dict[str, Any]) -> None:
        owner = self._owner_of(context)
        if not self._may_tell(owner) or not self.ours_to_tell(loop, explain.calls_of(error)):
            return
        self._tell(owner, explain.describe_callback(error, owner, self._watcher.phase, self._places))

    def _owner_of(self, context: dict[str, Any]) -> Owner | None:
        generator = context.get("asyncgen")
        register = self._watcher.things.registers.get("generator")
        if generator is not None and register is not None and (made := register.find(generator)) is not None:
            return made.owner
        return self._watcher.owner_of(context.get("handle"))

    def _may_tell(self, owner: Owner | None) -> bool:
        """Whether it is a leak, if it is that owner's."""
        owner = self._answers(owner)
        return self.strict if owner is None else not owner.interrupted and self.judged(owner)

    def _tell(self, owner: Owner | None, leak: Leak) -> None:
        self.heard.append(Verdict(self._answers(owner), leak))

    def _answers(self, owner: Owner | None) -> Owner | None:
        while owner is not None and owner.outer is not None and not self._of_blocks:
            owner = owner.outer
        return owner

    # -- coroutines

    def unawaited(self, found: Unawaited) -> bool:
        """Hear of a coroutine that was freed and never awaited.

        Returns:
            Whether it is told, so that no warning need be.
        """
        if judge.is_mocks(found.code) or not self._is_own(found):
            return False
        owner = found.busy
        if found.old or (found.dropped and judge.is_taken_from_store_at(found.dropped[0])):
            owner = self._maker(found)
        if not self._may_tell(owner):
            return False
        first = found.dropped[:1]
        created = found.dropped if first and self._any_own(first) and judge.is_discarded_at(first[0]) else ()
        self._tell(owner, explain.describe_unawaited(found, owner, created, self._places))
        return True

    def _is_own(self, found: Unawaited) -> bool:
        """Whether the project's own code defines it, or made it of a library's function."""
        if found.code is not None and self._places.own(found.code.co_filename):
            return True
        if found.origin:
            return self._places.own(found.origin[0][0])
        first = found.dropped[:1]
        return self._any_own(first) and judge.is_discarded_at(first[0])

    def _maker(self, found: Unawaited) -> Owner | None:
        """The test in whose function it was made, or defined; None where that is undecidable."""
        sites = [(path, line) for path, line, _ in found.origin]
        if found.code is not None:
            sites.append((found.code.co_filename, found.code.co_firstlineno))
        for path, line in sites:
            if (owner := self.test_at(path, line)) is not None:
                return owner
        return None


def _always(_owner: Owner) -> bool:
    return True


def _nobody(_path: str, _line: int) -> None:
    return None
