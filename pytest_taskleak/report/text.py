"""The text that a person reads who has a red run and thirty seconds."""

from __future__ import annotations

import linecache
import os
import textwrap
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_taskleak.model import Leak, Place

_WIDTH = 79
"""Columns for sentences; paths and source lines are as long as they are."""

_FAR_AWAY = os.path.join("..", "..", "..")  # noqa: PTH118 - compared as a string

_XUNIT = {
    "_xunit_setup_module_fixture_": "setup_module/teardown_module",
    "_xunit_setup_function_fixture_": "setup_function/teardown_function",
    "_xunit_setup_class_fixture_": "setup_class/teardown_class of ",
    "_xunit_setup_method_fixture_": "setup_method/teardown_method of ",
    "_unittest_setUpClass_fixture_": "setUpClass/tearDownClass of ",
    "_unittest_setUpModule_fixture_": "setUpModule/tearDownModule",
    "_unittest_setup_method_fixture_": "setup_method/teardown_method of ",
}


def owner_label(leak: Leak) -> str:
    """Who it outlived: "`test_a`", "fixture `server` (module scope)"."""
    if leak.owner_kind == "test":
        return f"`{leak.owner}`"
    if leak.owner_kind == "block":
        return f"the block {leak.owner}"
    for prefix, words in _XUNIT.items():
        if leak.owner.startswith(prefix):
            rest = leak.owner.removeprefix(prefix) if words.endswith(" ") else ""
            return f"{words}{rest}"
    scope = f" ({leak.scope} scope)" if leak.scope != "function" else ""
    return f"fixture `{leak.owner}`{scope}"


def task_label(leak: Leak) -> str:
    """The task's name and what it runs."""
    if leak.kind == "running-loop":
        return f"an event loop in thread {leak.task!r}"
    return f"task {leak.task!r}, {leak.coroutine}" if leak.task else f"task {leak.coroutine}"


def grouped(leaks: Iterable[Leak]) -> list[tuple[Leak, int]]:
    """One leak of each cause with its count: one's own before a library's, then in the order found."""
    leaks = list(leaks)
    counts = Counter(leak.fingerprint for leak in leaks)
    first = {leak.fingerprint: leak for leak in reversed(leaks)}
    ordered = sorted(dict.fromkeys(leak.fingerprint for leak in leaks), key=lambda key: first[key].in_library)
    return [(first[key], counts[key]) for key in ordered]


def headline(leaks: Sequence[Leak]) -> str:
    """One line: how much outlived whom, and the first of it."""
    groups = grouped(leaks)
    leak = groups[0][0]
    things = _count(len(leaks), _noun(leaks))
    owners = list(dict.fromkeys(owner_label(leak) for leak in leaks))
    causes = f" from {len(groups)} causes" if len(groups) > 1 else ""
    owner = owners[0] if len(owners) == 1 else f"{owners[0]} and {_count(len(owners) - 1, 'other')}"
    return f"{things}{causes} outlived {owner}: {task_label(leak)}, {leak.verdict}"


def one_line(leak: Leak, count: int, root: str) -> str:
    """A leak for `-q`: the line to change, what, and why."""
    place = leak.line_to_change
    where = f"{_path(place, root)}:{place.line}: " if place else ""
    return f"{where}{task_label(leak)}{_times(count)} outlived {owner_label(leak)}, {leak.verdict}"


def details(leaks: Sequence[Leak], *, verbosity: int, root: str) -> str:
    """The leaks of one owner.

    Args:
        leaks: At least one.
        verbosity: Below 0 a line a cause; 0 what is needed to mend it; above, every frame.
        root: The folder that paths are shown relative to.
    """
    by_owner: dict[str, list[Leak]] = {}
    for leak in leaks:
        by_owner.setdefault(owner_label(leak), []).append(leak)
    groups = [group for same in by_owner.values() for group in grouped(same)]
    groups.sort(key=lambda group: group[0].in_library)
    if verbosity < 0:
        return "\n".join(one_line(leak, count, root) for leak, count in groups)
    numbered = len(groups) > 1
    parts = (
        _one(leak, count, f"{number}. " if numbered else "", verbosity, root)
        for number, (leak, count) in enumerate(groups, 1)
    )
    causes = _count(len({leak.fingerprint for leak in leaks}), "cause")
    heading = [f"{_count(len(leaks), _noun(leaks))} from {causes}"] if numbered else []
    return "\n\n".join([*heading, *parts])


def summary(per_test: Sequence[tuple[str, Sequence[Leak]]], root: str) -> list[str]:
    """The whole run, by cause: how much, in how many tests, and the line to change of each."""
    leaks = [leak for _, found in per_test for leak in found]
    groups = grouped(leaks)
    tests = len({nodeid for nodeid, _ in per_test})
    lines = [
        f"{_count(len(groups), 'cause')}, {_count(len(leaks), 'leaked ' + _noun(leaks))} in {_count(tests, 'test')}"
    ]
    owners = {leak.fingerprint: set[tuple[str, str]]() for leak in leaks}
    for leak in leaks:
        owners[leak.fingerprint].add((leak.nodeid, owner_label(leak)))
    for leak, count in groups:
        others = len(owners[leak.fingerprint]) - 1
        more = f", and {_count(others, 'other')}" if others else ""
        library = "  [library]" if leak.in_library else ""
        lines.append(one_line(leak, count, root) + more + library)
    return lines


def _one(leak: Leak, count: int, number: str, verbosity: int, root: str) -> str:
    """What is needed to mend it in the first lines: who, what, where it waits, how; then where it came from."""
    whose = "in a library" if leak.in_library else "in your own code"
    things = _count(count, _noun([leak]))
    lines = _wrapped(f"{number}{things} outlived {owner_label(leak)}{_since(leak)}, {whose}")
    detail = f" ({leak.detail})" if leak.detail else ""
    lines += _wrapped(f"{task_label(leak)}: {leak.verdict}{detail}")
    lines += _frames(_stand(leak.waits, verbosity), root)
    lines += _wrapped(f"fix: {leak.hint}")
    if leak.created and verbosity <= 0 and not any(place.own for place in leak.created):
        lines.append(f"created by {leak.created[0].module}, at no line of your own code")
    elif leak.created:
        lines.append("created at")
        creators = _creators(leak, verbosity)
        lines += _frames(creators[:1], root)
        lines += [f"    from {_path(place, root)}:{place.line} in {place.function}" for place in creators[1:]]
        lines += [
            f"    by the task {name}, created at {_path(place, root)}:{place.line}"
            for name, place in leak.ancestors
            if place is not None
        ]
    elif leak.kind == "pending":
        lines.append("created past `create_task`: nobody saw where")
    lines += [f"    with it: {child}" for child in leak.children]
    lines += _wrapped(f"then: {leak.settled}")
    return "\n".join(lines)


def _since(leak: Leak) -> str:
    """When it was started: the phase of the test, the test that a fixture was made for."""
    if leak.owner_kind == "fixture":
        return f" of {leak.nodeid}"
    return f" ({leak.phase})" if leak.phase else ""


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _creators(leak: Leak, verbosity: int) -> list[Place]:
    """The line to change first, then who called it."""
    if verbosity > 0:
        return list(leak.created)
    return [place for place in leak.created if place.own]


def _stand(waits: Sequence[Place], verbosity: int) -> list[Place]:
    """The innermost line that is the project's own; every frame when asked for."""
    if verbosity > 0:
        return list(waits)
    own = [place for place in waits if place.own]
    return own[-1:] or list(waits[:1])


def _frames(places: Iterable[Place], root: str) -> list[str]:
    lines: list[str] = []
    for place in places:
        lines.append(f"{_path(place, root)}:{place.line}: in {place.function}")
        source = linecache.getline(place.path, place.line).rstrip()
        if not source.strip():
            continue
        indent = len(source) - len(source.lstrip())
        lines.append(f"    {source.strip()}")
        if place.column is not None and place.end_column is not None:
            encoded = source.encode()
            start = len(encoded[: place.column].decode(errors="replace")) - indent
            end = len(encoded[: place.end_column].decode(errors="replace")) - indent
            if 0 <= start < end and end - start < len(source.strip()):
                lines.append(f"    {' ' * start}{'^' * (end - start)}")
    return lines


def _path(place: Place, root: str) -> str:
    """Relative to `root` as long as that is no riddle, so that a terminal or an editor opens it."""
    try:
        relative = os.path.relpath(place.path, root)
    except ValueError:  # another drive
        return place.path
    return place.path if relative.startswith(_FAR_AWAY) else relative


def _noun(leaks: Sequence[Leak]) -> str:
    return "running loop" if all(leak.kind == "running-loop" for leak in leaks) else "task"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _times(count: int) -> str:
    return f" ×{count}" if count > 1 else ""
