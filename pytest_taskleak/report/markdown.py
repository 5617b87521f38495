"""Leaks as Markdown, for the summary of a CI job or a comment: a table, a graph, and the whole of each cause."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from pytest_taskleak.report.text import details, grouped, line_label, owner_label, summary, task_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_taskleak.leak import Leak

_MOST_BYTES = 900_000
"""GitHub takes summaries of up to 1 MiB for each step."""
_MOST_ROWS = 200
_MOST_NODES = 30
_MOST_TESTS = 20


def as_markdown(found: Sequence[tuple[str, str, Sequence[Leak]]], root: str) -> str:
    """The run in Markdown as GitHub writes it, in less than 900,000 bytes of UTF-8.

    Args:
        found: Of each test its node id, how it is judged, and what it left.
        root: The folder that paths are shown relative to.
    """
    if not found:
        return "### taskleak: nothing leaked\n"
    heading = summary([(nodeid, leaks) for nodeid, _, leaks in found], root)[0]
    groups = grouped(leak for _, _, leaks in found for leak in leaks)
    tests: dict[str, dict[str, None]] = {leak.fingerprint: {} for leak, _ in groups}
    for nodeid, _, leaks in found:
        for leak in leaks:
            tests[leak.fingerprint][nodeid or "of unknown owner"] = None
    head = [
        f"### taskleak: {heading}",
        "",
        "| line to change | what | × | tests |",
        "|---|---|--:|--:|",
        *(_row(leak, count, len(tests[leak.fingerprint]), root) for leak, count in groups[:_MOST_ROWS]),
        "",
        *_graph(groups[:_MOST_NODES]),
    ]
    parts = ["\n".join(head)]
    size = len(parts[0].encode(errors="backslashreplace"))
    for number, (leak, count) in enumerate(groups):
        part = _cause(leak, count, list(tests[leak.fingerprint]), root)
        size += len(part.encode(errors="backslashreplace"))
        if size > _MOST_BYTES - 1_000:
            parts.append(f"\n{len(groups) - number} more causes are not shown here; a JSON report has them.\n")
            break
        parts.append(part)
    return "\n".join(parts)


def _row(leak: Leak, count: int, tests: int, root: str) -> str:
    library = f" (in {_escaped(leak.library or 'a library')})" if leak.in_library else ""
    accepted = _escaped(f" (accepted: {leak.accepted})") if leak.accepted else ""
    what = _escaped(f"{task_label(leak)}: {leak.verdict}")
    return f"| {_escaped(line_label(leak, root))} | {what}{library}{accepted} | {count} | {tests} |"


def _cause(leak: Leak, count: int, tests: list[str], root: str) -> str:
    text = details([leak] * count, verbosity=0, root=root)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    more = [f"- and {len(tests) - _MOST_TESTS} more"] if len(tests) > _MOST_TESTS else []
    return "\n".join(
        [
            f"<details><summary>{html.escape(f'{task_label(leak)}: {leak.verdict}')}</summary>",
            "",
            f"{fence}text",
            text,
            fence,
            "",
            f"Fingerprint {leak.fingerprint}, in",
            "",
            *(f"- {_escaped(test)}" for test in tests[:_MOST_TESTS]),
            *more,
            "",
            "</details>",
            "",
        ]
    )


def _graph(groups: Sequence[tuple[Leak, int]]) -> list[str]:
    """Who started what, as Mermaid draws it."""
    nodes: dict[str, str] = {}
    edges: dict[str, None] = {}

    def node(key: str, label: str) -> str:
        if key not in nodes:
            nodes[key] = f'n{len(nodes)}["{_entities(label)}"]'
        return nodes[key].partition("[")[0]

    for leak, count in groups:
        owner = f"{owner_label(leak)} of {leak.nodeid}" if leak.owner_kind == "fixture" else owner_label(leak)
        above = node(f"owner {leak.nodeid} {owner}", owner)
        for name, place in reversed(leak.ancestors):
            below = node(f"task {leak.nodeid} {name} {place}", f"task {name}")
            edges[f"{above} --> {below}"] = None
            above = below
        times = f" ×{count}" if count > 1 else ""
        below = node(f"leak {leak.fingerprint}", f"{task_label(leak)}{times}: {leak.verdict}")
        edges[f"{above} --> {below}"] = None
    return ["```mermaid", "graph LR", *(f"    {line}" for line in (*nodes.values(), *edges)), "```", ""]


def _escaped(text: str) -> str:
    """A text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~$-])", r"\\\1", html.escape(text, quote=False))


def _entities(text: str) -> str:
    """A text that Mermaid shows as it is: what may mean something to it is written by its number."""
    return re.sub(r"[^\w .,:/×-]", lambda found: f"#{ord(found[0])};", text)
