"""The text that a person reads who has a red run and thirty seconds."""

from __future__ import annotations

import linecache
import os
import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from pytest_taskleak.leak import plain
from pytest_taskleak.report import growing
from pytest_taskleak.report.advice import advice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_taskleak.findings import Place
    from pytest_taskleak.leak import Leak

_WIDTH = 79
"""Columns for sentences; paths and source lines are as long as they are."""

_LONGEST_PATH = 4_096
"""Characters of a path: as many as Linux opens."""

LONGEST_LINE = 500
"""Characters of a line of source code: one that a program wrote may have megabytes."""

_FAR_AWAY = os.path.join("..", "..")  # noqa: PTH118 - compared as a string

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
        return f"the block {leak.owner}" if leak.scope != "unknown" else "an owner that nobody knows"
    for prefix, words in _XUNIT.items():
        if leak.owner.startswith(prefix):
            rest = leak.owner.removeprefix(prefix) if words.endswith(" ") else ""
            return f"{words}{rest}"
    scope = f" ({leak.scope} scope)" if leak.scope != "function" else ""
    return f"fixture `{leak.owner}`{scope}"


_NOUNS = {
    "pending": ("task", "tasks"),
    "destroyed": ("task", "tasks"),
    "running-loop": ("running loop", "running loops"),
    "lost-exception": ("task", "tasks"),
    "lost-callback": ("callback", "callbacks"),
    "never-awaited": ("coroutine", "coroutines"),
    "future": ("future", "futures"),
    "timer": ("timer", "timers"),
    "generator": ("async generator", "async generators"),
    "transport": ("transport", "transports"),
    "server": ("server", "servers"),
    "subprocess": ("subprocess", "subprocesses"),
    "thread": ("thread", "threads"),
    "executor": ("executor", "executors"),
    "open-loop": ("open loop", "open loops"),
    "growth": ("growing type", "growing types"),
    "blocked-loop": ("step", "steps"),
}
"""What one is called, and many; by kind."""

_FOUND = {
    "growth": ("growing type", "growing types"),
    "blocked-loop": ("blocked loop", "blocked loops"),
}
"""The same at the end of a run, where it is not that much leaked of it."""

_LABELS = {
    "running-loop": "an event loop in thread {task!r}",
    "future": "future made in {what}",
    "timer": "timer for {what}",
    "generator": "async generator {what}",
    "never-awaited": "coroutine {what}",
    "open-loop": "{what}",
    "transport": "{what} to {task}",
    "server": "{what} on {task}",
    "subprocess": "subprocess `{task}`",
}
"""How one is introduced where that is not by its noun."""


def task_label(leak: Leak) -> str:
    """What it is, its name, and what it runs."""
    if _blocked(leak) and not leak.task:
        return leak.coroutine
    kind = leak.called or leak.kind
    label = _LABELS.get(kind)
    if label is not None:
        nameless = "{task}" in label and not leak.task
        return leak.coroutine if nameless else label.format(task=leak.task, what=leak.coroutine)
    noun = "task" if _blocked(leak) else _NOUNS[kind][0]
    return f"{noun} {leak.task!r}, {leak.coroutine}" if leak.task else f"{noun} {leak.coroutine}"


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
    if leak.kind == "growth":
        return growing.headline([leak for leak, _ in groups], owner_label(leak))
    things = _things(leaks)
    owners = list(dict.fromkeys(owner_label(leak) for leak in leaks))
    causes = f" from {len(groups)} causes" if len(groups) > 1 else ""
    owner = owners[0] if len(owners) == 1 else f"{owners[0]} and {_count(len(owners) - 1, 'other')}"
    return f"{things}{causes} {_did(leaks)} {owner}: {task_label(leak)}, {leak.verdict}"


def line_label(leak: Leak, root: str) -> str:
    """The line to change, "bot.py:7"; "" where none is known."""
    place = leak.line_to_change
    return f"{_path(place, root)}:{place.line}" if place else ""


def one_line(leak: Leak, count: int, root: str) -> str:
    """A leak for `-q`: the line to change, what, and why."""
    where = f"{line}: " if (line := line_label(leak, root)) else ""
    if leak.kind == "growth":
        return f"{where}{growing.headline([leak], owner_label(leak))}"
    return f"{where}{task_label(leak)}{_times(count)} {_did([leak])} {owner_label(leak)}, {leak.verdict}"


def details(  # noqa: PLR0913 - all but the leaks are how they are shown
    leaks: Sequence[Leak],
    *,
    verbosity: int,
    root: str,
    command: str = "",
    rootdir: str = "",
    counts: Mapping[str, tuple[int, int]] | None = None,
) -> str:
    """The leaks of one owner.

    Args:
        leaks: At least one.
        verbosity: Below 0 a line a cause; 0 what is needed to mend it; 1 every frame; above, the await graph.
        root: The folder that paths are shown relative to.
        command: How the same is looked for in one test; "" where that is not known.
        rootdir: The folder that node ids begin at.
        counts: How much went on before the test and after it; shown where every frame is.
    """
    by_owner: dict[str, list[Leak]] = {}
    for leak in leaks:
        by_owner.setdefault(owner_label(leak), []).append(leak)
    groups = [group for same in by_owner.values() for group in grouped(same)]
    groups.sort(key=lambda group: group[0].in_library)
    if verbosity < 0:
        return "\n".join(one_line(leak, count, root) for leak, count in groups)
    numbered = len(groups) > 1
    parts: list[str] = []
    for number, (leak, count) in enumerate(groups, 1):
        lines = _one(leak, count, f"{number}. " if numbered else "", verbosity, root)
        lines += _wrapped(f"accepted: {leak.accepted}") if leak.accepted else []
        lines += advice(leak, command, rootdir, root) if verbosity > 0 else []
        parts.append("\n".join(lines))
    causes = _count(len({leak.fingerprint for leak in leaks}), "cause")
    heading = [f"{_things(leaks)} from {causes}"] if numbered else []
    around = [f"around the test: {_counts(counts)}"] if counts and verbosity > 0 else []
    return "\n\n".join([*heading, *parts, *around])


def _counts(counts: Mapping[str, tuple[int, int]]) -> str:
    return ", ".join(f"{name} {before}→{after}" for name, (before, after) in counts.items())


def summary(per_test: Sequence[tuple[str, Sequence[Leak]]], root: str) -> list[str]:
    """The whole run, by cause: how much, in how many tests, and the line to change of each."""
    leaks = [leak for _, found in per_test for leak in found]
    groups = grouped(leaks)
    tests = len({nodeid for nodeid, _ in per_test})
    lines = [f"{_count(len(groups), 'cause')}, {_causes(leaks)} in {_count(tests, 'test')}"]
    owners = {leak.fingerprint: set[tuple[str, str]]() for leak in leaks}
    for leak in leaks:
        owners[leak.fingerprint].add((leak.nodeid, owner_label(leak)))
    for leak, count in sorted(groups, key=lambda group: bool(group[0].accepted)):
        others = len(owners[leak.fingerprint]) - 1
        more = f", and {_count(others, 'other')}" if others else ""
        library = f"  [{leak.library or 'library'}]" if leak.in_library else ""
        accepted = f"  [accepted: {leak.accepted}]" if leak.accepted else ""
        lines.append(one_line(leak, count, root) + more + library + accepted)
    return lines


def _one(leak: Leak, count: int, number: str, verbosity: int, root: str) -> list[str]:
    """What is needed to mend it in the first lines: who, what, where it waits, how; then where it came from."""
    if leak.kind == "growth":
        return _grown(leak, number, root)
    library = f" ({leak.library})" if leak.library else ""
    whose = f"in a library{library}" if leak.in_library else "in your own code"
    things = _things([leak] * count)
    lines = _wrapped(f"{number}{things} {_did([leak])} {owner_label(leak)}{_since(leak)}, {whose}")
    detail = f" ({leak.detail})" if leak.detail else ""
    detail = f": {leak.detail}" if _blocked(leak) else detail
    lines += _wrapped(f"{task_label(leak)}: {leak.verdict}{detail}")
    lines += _frames(_stand(leak.waits, verbosity), root)
    lines += _wrapped(f"fix: {leak.hint}")
    if leak.created and verbosity <= 0 and not any(place.own for place in leak.created):
        lines.append(f"created by {leak.created[0].module}, at no line of your own code")
    elif leak.created:
        lines.append("first asked at" if leak.kind == "generator" else "created at")
        inner, creator, outer = _creators(leak, verbosity)
        lines += _frames([creator], root)
        lines += [f"    through {_at(place, root)}" for place in inner]
        lines += [f"    from {_at(place, root)}" for place in outer]
        lines += [
            f"    by the task {name}, created at {_path(place, root)}:{place.line}"
            for name, place in leak.ancestors
            if place is not None
        ]
    elif leak.kind == "pending":
        lines.append("created past `create_task`: nobody saw where")
    lines += held_by(leak) if leak.holders and verbosity > 0 else []
    lines += [f"    with it: {child}" for child in leak.children]
    lines += _awaits(leak, root) if verbosity > 1 else []
    lines += _wrapped(f"then: {leak.settled}")
    return lines


def _awaits(leak: Leak, root: str) -> list[str]:
    lines = ["the await graph"] if leak.awaits else []
    for depth, text, place in leak.awaits:
        words = f"{_path(place, root)}:{place.line}: in {text}" if place is not None else text
        lines.append(f"{'  ' * (depth + 1)}{words}")
    return lines


def held_by(leak: Leak) -> list[str]:
    """Who holds it, with the part to look at underlined."""
    lines: list[str] = []
    for line in _wrapped(f"held by {leak.holders}"):
        lines.append(line)
        if leak.suspect and leak.suspect in line:
            start = line.rindex(leak.suspect)
            lines.append(f"{' ' * start}{'~' * len(leak.suspect)}")
    return lines


def _grown(leak: Leak, number: str, root: str) -> list[str]:
    """What grows, who holds it, how to mend it; then where an instance was made, or its class."""
    lines = _wrapped(f"{number}{growing.headline([leak], owner_label(leak))}")
    for fact in growing.facts(leak):
        lines += _wrapped(fact)
    lines += _wrapped(f"fix: {leak.hint}")
    for words, places in (("one was created at", leak.created), ("its class is defined at", _places(leak))):
        lines += [words, *_frames(places, root)] if places else []
    return lines


def _places(leak: Leak) -> list[Place]:
    return [place for _, place in leak.ancestors if place is not None and not leak.created]


def _since(leak: Leak) -> str:
    """When it was started: the phase of the test, the test that a fixture was made for."""
    if leak.owner_kind == "fixture":
        return f" of {plain(leak.nodeid)}"
    return f" ({leak.phase})" if leak.phase else ""


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _creators(leak: Leak, verbosity: int) -> tuple[list[Place], Place, list[Place]]:
    """What the line to change called, the nearest first; that line; who called it, where wanted in every frame."""
    number = next((number for number, place in enumerate(leak.created) if place.own), 0)
    inner, outer = leak.created[:number][::-1], leak.created[number + 1 :]
    if verbosity > 0:
        return list(inner), leak.created[number], list(outer)
    return [], leak.created[number], [place for place in outer if place.own]


def _at(place: Place, root: str) -> str:
    return f"{_path(place, root)}:{place.line} in {plain(place.function)}"


def _stand(waits: Sequence[Place], verbosity: int) -> list[Place]:
    """The innermost line that is the project's own; every frame when asked for."""
    if verbosity > 0:
        return list(waits)
    own = [place for place in waits if place.own]
    return own[-1:] or list(waits[:1])


def _frames(places: Iterable[Place], root: str) -> list[str]:
    lines: list[str] = []
    for place in places:
        function = f" in {plain(place.function)}" if place.function else ""
        lines.append(f"{_path(place, root)}:{place.line}:{function}")
        source, span = source_of(place)
        if not source:
            continue
        lines.append(f"    {source}")
        if span and span != (0, len(source)):
            lines.append(f"    {' ' * span[0]}{'^' * (span[1] - span[0])}")
    return lines


def source_of(place: Place) -> tuple[str, tuple[int, int] | None]:
    """Its line of code without indentation, "" where it cannot be read, and where in it the expression stands.

    None where nobody knows, or where it goes on in another line; counted in characters from 0.
    """
    line = linecache.getline(place.path, place.line).rstrip()
    source = plain(line.strip(), LONGEST_LINE)
    if len(source) != len(line.strip()) or not source or place.column is None or place.end_column is None:
        return source, None
    indent = len(line) - len(line.lstrip())
    encoded = line.encode()
    start = len(encoded[: place.column].decode(errors="replace")) - indent
    end = len(encoded[: place.end_column].decode(errors="replace")) - indent
    return source, (start, end) if 0 <= start < end <= len(source) else None


def _path(place: Place, root: str) -> str:
    """Relative to `root` as long as that is no riddle, so that a terminal or an editor opens it."""
    try:
        relative = os.path.relpath(place.path, root)
    except ValueError:  # another drive
        relative = _FAR_AWAY
    return plain(place.path if relative.startswith(_FAR_AWAY) else relative, _LONGEST_PATH)


def _things(leaks: Sequence[Leak]) -> str:
    """How many there are, by what they are: "1 task and 50 futures"."""
    return _counted(_NOUNS[leak.called or leak.kind] for leak in leaks)


def _causes(leaks: Sequence[Leak]) -> str:
    """The same for the whole run: "1 leaked task and 2 blocked loops"."""
    return _counted(
        _FOUND.get(leak.kind) or tuple(f"leaked {noun}" for noun in _NOUNS[leak.called or leak.kind]) for leak in leaks
    )


def _counted(nouns: Iterable[tuple[str, ...]]) -> str:
    words = [_number(number, *noun) for noun, number in Counter(nouns).items()]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _number(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _did(leaks: Sequence[Leak]) -> str:
    """What it did to its owner."""
    if all(_blocked(leak) for leak in leaks):
        return "held up"
    return "outlived or held up" if any(_blocked(leak) for leak in leaks) else "outlived"


def _blocked(leak: Leak) -> bool:
    return leak.kind == "blocked-loop"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _times(count: int) -> str:
    return f" ×{count}" if count > 1 else ""
