"""Leaks as a graph in graphviz's language: who owns, who started, what it awaits and who holds it."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from pytest_taskleak.leak import plain
from pytest_taskleak.report.text import grouped, line_label, owner_label, task_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_taskleak.leak import Leak

_MOST_CAUSES = 200
_MOST_OWNERS = 20
"""Tests and fixtures that are drawn for one cause."""
_WIDTH = 48
"""Columns of a label."""

_STYLES = {
    "owner": "shape=folder, fillcolor=white",
    "creator": "fillcolor=white",
    "leak": 'fillcolor="#ffdddd"',
    "library": 'fillcolor="#e8e8e8"',
    "awaited": 'shape=note, fillcolor="#eef4ff"',
    "holder": 'shape=component, fillcolor="#fff6d6"',
    "more": "shape=plaintext, fillcolor=none",
}


def as_dot(found: Sequence[tuple[str, str, Sequence[Leak]]], root: str) -> str:
    """The run as one graph: a node for each cause, its owners and creators to the left, what it awaits to the right.

    Args:
        found: Of each test its node id, how it is judged, and what it left.
        root: The folder that paths are shown relative to.
    """
    every = [leak for _, _, leaks in found for leak in leaks]
    graph = _Graph()
    groups = grouped(every)
    same: dict[str, list[Leak]] = {leak.fingerprint: [] for leak, _ in groups}
    for leak in every:
        same[leak.fingerprint].append(leak)
    for leak, count in groups[:_MOST_CAUSES]:
        _draw(graph, leak, count, same[leak.fingerprint], root)
    if len(groups) > _MOST_CAUSES:
        graph.node("more", "more", f"and {len(groups) - _MOST_CAUSES} more causes")
    head = [
        'graph [rankdir=LR, fontname="sans-serif", labelloc=t, label="taskleak: nothing leaked"]'
        if not every
        else 'graph [rankdir=LR, fontname="sans-serif"]',
        'node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=11]',
        'edge [fontname="sans-serif", fontsize=9]',
    ]
    return "\n".join(["digraph taskleak {", *(f"  {line}" for line in (*head, *graph.lines())), "}"]) + "\n"


def _draw(graph: _Graph, leak: Leak, count: int, same: Sequence[Leak], root: str) -> None:
    times = f" ×{count}" if count > 1 else ""
    style = "library" if leak.in_library or leak.accepted else "leak"
    accepted = f"accepted: {leak.accepted}" if leak.accepted else ""
    key = f"leak {leak.fingerprint}"
    library = f"in {leak.library or 'a library'}" if leak.in_library else ""
    graph.node(key, style, f"{task_label(leak)}{times}", line_label(leak, root), library, accepted)
    owners = {(it.nodeid, owner_label(it)): it for it in same}
    for (nodeid, owner), it in list(owners.items())[:_MOST_OWNERS]:
        above = graph.node(f"owner {nodeid} {owner}", "owner", owner if it.owner else "of unknown owner", nodeid)
        for name, place in reversed(it.ancestors):
            below = graph.node(f"task {nodeid} {name} {place}", "creator", f"task {name}")
            graph.edge(above, below, "starts")
            above = below
        graph.edge(above, graph.node(key, style), "starts")
    if len(owners) > _MOST_OWNERS:
        more = graph.node(f"more {key}", "more", f"and {len(owners) - _MOST_OWNERS} more owners")
        graph.edge(more, graph.node(key, style), "starts")
    stands = next((place.function for place in reversed(leak.waits) if place.own), "")
    detail = f"({leak.detail})" if leak.detail else ""
    wait = graph.node(f"wait {key}", "awaited", f"{leak.verdict} {detail}", f"in {stands}" if stands else "")
    graph.edge(graph.node(key, style), wait, "")
    for child, number in Counter(leak.children).items():
        text = f"{child} ×{number}" if number > 1 else child
        graph.edge(graph.node(key, style), graph.node(f"child {key} {child}", "awaited", text), "with it")
    for holder in dict.fromkeys(it.holders for it in same if it.holders and it.holders != "nobody"):
        graph.edge(graph.node(f"holder {holder}", "holder", holder), graph.node(key, style), "holds")


class _Graph:
    """Nodes and edges, each once."""

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[str, str]] = {}
        self._edges: dict[str, None] = {}

    def node(self, key: str, style: str, *texts: str) -> str:
        """The name of a node; it is made of these lines where it is new."""
        if key not in self._nodes:
            name = f"n{len(self._nodes)}"
            self._nodes[key] = name, f'{name} [{_STYLES[style]}, label="{_label(texts)}"]'
        return self._nodes[key][0]

    def edge(self, start: str, end: str, label: str) -> None:
        """An edge from a node to another."""
        self._edges[f'{start} -> {end} [label="{_escaped(label)}"]' if label else f"{start} -> {end}"] = None

    def lines(self) -> list[str]:
        """Everything, the nodes first."""
        return [*(line for _, line in self._nodes.values()), *self._edges]


def _label(texts: Sequence[str]) -> str:
    lines = [line for text in texts for line in textwrap.wrap(plain(text), _WIDTH, break_on_hyphens=False)]
    return "".join(f"{_escaped(line)}\\l" for line in lines)  # `\l` ends a line that begins at the left


def _escaped(text: str) -> str:
    """A text that graphviz shows as it is: it knows escapes with a backslash, and entities of HTML."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
