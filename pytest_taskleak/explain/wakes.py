"""Whether anything that is alive could wake a task, or it waits for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_taskleak.explain.alive import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_taskleak.explain.heap import Heap


def asleep(heap: Heap, roots: Mapping[int, tuple[int, ...]]) -> set[int] | None:
    """The tasks that nothing alive leads to; None where the time did not suffice to say.

    Guarantees: a task is among them only where every reference to it, to the future that it waits for and to whatever
    leads to these was found, and leads to tasks of which the same is true.

    The holders of each are climbed (source of the algorithm: `gc.get_referrers`, breadth first, for all tasks
    together), weak references among them. References that are found nowhere are those of running frames, of threads
    and of C, which are alive.

    Args:
        heap: What was looked at so far.
        roots: Of each task by its id, the ids of it and of the future that it waits for.
    """
    heap.look_below()
    starts = set(roots)
    while True:
        reached = _climb(heap, (key for start in starts for key in roots[start]))
        if reached is None:
            return None
        woken = _woken(heap, reached)
        starts = {start for start in starts if not woken.intersection(roots[start])}
        lacking = [key for key in reached - woken - heap.searched if heap.lacks(key)]
        if not starts or not lacking:
            return starts
        if heap.is_late():
            return None
        heap.search(lacking)


def _climb(heap: Heap, keys: Iterable[int]) -> set[int] | None:
    """Whatever leads to `keys`, as far as it is known; None where it took too long."""
    reached: set[int] = set()
    todo = list(keys)
    while todo:
        key = todo.pop()
        if key in reached or heap.is_ours(key):
            continue
        reached.add(key)
        if not len(reached) % 1_000 and heap.is_late():
            return None
        if is_alive(heap.objects[key]):
            continue
        heap.take_weak(key)
        todo += heap.holders(key)
    return reached


def _woken(heap: Heap, reached: set[int]) -> set[int]:
    """The part of `reached` that something alive leads to."""
    held: dict[int, list[int]] = {}
    for key in reached:
        if not is_alive(heap.objects[key]):
            for holder in heap.holders(key):
                held.setdefault(holder, []).append(key)
    todo = [key for key in reached if is_alive(heap.objects[key]) or (key in heap.searched and heap.lacks(key))]
    woken: set[int] = set()
    while todo:
        key = todo.pop()
        if key not in woken:
            woken.add(key)
            todo += held.get(key, ())
    return woken
