"""Leaks as one HTML page that works from a file, without a network: for the person who has to mend them.

It needs jinja2, which the extra `html` brings.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup, escape

from pytest_taskleak.leak import plain
from pytest_taskleak.report import growing
from pytest_taskleak.report.document import document
from pytest_taskleak.report.text import grouped, owner_label, summary, task_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_taskleak.findings import Place
    from pytest_taskleak.leak import Leak

    Found = Sequence[tuple[str, str, Sequence[Leak]]]
    View = dict[str, Any]

_MOST_BYTES = 4_900_000
"""What browsers open in a moment, and services that keep such files take."""
_MOST_BYTES_OF_OWNERS = 900_000
_MOST_BYTES_OF_LINES = 400_000
_MOST_TESTS = 50
_MOST_NAMES = 8
_FEW_OWNERS = 50
"""So many are unfolded."""
_LONGEST = 600
"""Characters of one text."""

_KINDS = {"pending": "pending task", "destroyed": "destroyed task", "growth": "growing type"}
"""What a kind is called where its name does not say it."""

_STANDS = {
    "lost-exception": "raised at",
    "lost-callback": "raised at",
    "never-awaited": "coroutine",
    "destroyed": "coroutine",
    "blocked-loop": "blocked in",
    "growth": "grows in",
}
"""What the line is at which it waits, where it does not stand there."""


def as_html(found: Found, root: str) -> str:
    """The run as one page of less than 5,000,000 bytes of UTF-8, which asks no network for anything.

    Guarantees: what a program, a path or a line of code may say is shown as it is, and means nothing to the browser:
    all of it is escaped, and a policy in the page lets no script run but its own.

    Args:
        found: Of each test its node id, how it is judged, and what it left.
        root: The folder that paths are shown relative to.
    """
    folder = resources.files(__package__ or "") / "html"

    def file(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _with_code
    style, script = file("style.css"), file("script.js")
    told = document(found, root)
    causes = _causes(found, told["leaks"])
    owners = list(_owners(causes))
    tree = _tree(environment.get_template("owner.html"), owners, _MOST_BYTES_OF_OWNERS)
    size = _bytes("".join(tree))
    articles, brief, left = _within(environment.get_template("cause.html"), causes, _MOST_BYTES - size)
    if left:
        tree = _tree(environment.get_template("owner.html"), owners, size)  # with no links to where nothing is
    page = environment.get_template("page.html")
    return page.render(
        heading=summary([(nodeid, leaks) for nodeid, _, leaks in found], root)[0] if found else "nothing leaked",
        style=Markup(style),  # noqa: S704 - the package's own file
        script=Markup(script),  # noqa: S704 - the same
        policy=Markup(_policy(style, script)),  # noqa: S704 - hashes
        tool=told["tool"],
        python=told["python"],
        kinds=Counter(cause["kind_words"] for cause in causes).most_common(),
        causes=len(causes),
        own=articles[: sum(not cause["library"] for cause in causes)],
        library=articles[sum(not cause["library"] for cause in causes) :],
        brief=brief,
        left=left,
        leaks=len(told["leaks"]),
        lead=_lead(causes, Counter(leak["mode"] for leak in told["leaks"])),
        owners=tree,
        more_owners=len(owners) - len(tree),
    )


def _lead(causes: Sequence[View], modes: Mapping[str, int]) -> str:
    """In whose code they are, and what follows for the run."""
    library = sum(bool(cause["library"]) for cause in causes)
    own = len(causes) - library
    if not library:
        whose = "All in your own code"
    elif not own:
        whose = "All in libraries"
    else:
        verb, where = "is" if own == 1 else "are", "a library" if library == 1 else "libraries"
        whose = f"{own} of the causes {verb} in your own code, {library} in {where}"
    fail, warn, accepted = (modes.get(mode, 0) for mode in _MODES)
    then = [f"{fail} {'leak fails' if fail == 1 else 'leaks fail'} the run"] if fail and (warn or accepted) else []
    then += [f"{warn} only {'warns' if warn == 1 else 'warn'}"] if warn and (fail or accepted) else []
    then += [f"{accepted} {'is' if accepted == 1 else 'are'} accepted"] if accepted and (fail or warn) else []
    if not fail and not then:
        then = ["the run does not fail, they are only warned of" if warn else "the run does not fail, all are accepted"]
    return f"{whose}{'; ' if then else ''}{', '.join(then)}."


_MODES = {"fail": "fails", "warn": "warns", "accepted": "accepted"}
"""How a leak may be judged, in words."""


def _policy(style: str, script: str) -> str:
    """Nothing from anywhere; of scripts and styles only these."""
    style, script = (
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in (style, script)
    )
    return f"default-src 'none'; style-src {style}; script-src {script}; img-src data:; base-uri 'none'"


def _within(template: jinja2.Template, causes: Sequence[View], most: int) -> tuple[list[Markup], int, int]:
    """The causes as far as there is room: in full, then in short; how many are in short, and how many left out."""
    parts: list[str] = []
    size = 0
    for cause in causes:
        part = template.render(cause, brief=False)
        if size + _bytes(part) > most:
            break
        size += _bytes(part)
        parts.append(part)
    full = len(parts)
    if full < len(causes):
        while size > most - _MOST_BYTES_OF_LINES and parts:
            size -= _bytes(parts.pop())
        full = len(parts)
        for cause in causes[full:]:
            part = template.render(cause, brief=True)
            size += _bytes(part)
            if size > most:
                break
            parts.append(part)
        for cause in causes[len(parts) :]:
            cause["is_shown"] = False
    # A template's, in which all is escaped.
    return [Markup(part) for part in parts], len(parts) - full, len(causes) - len(parts)  # noqa: S704


def _tree(template: jinja2.Template, owners: Sequence[View], most: int) -> list[Markup]:
    """The owners as far as there is room."""
    parts: list[Markup] = []
    size = 0
    for owner in owners:
        part = template.render(owner=owner, few=len(owners) <= _FEW_OWNERS)
        size += _bytes(part)
        if size > most:
            break
        parts.append(Markup(part))  # noqa: S704 - a template's, in which all is escaped
    return parts


def _bytes(text: str) -> int:
    return len(text.encode(errors="backslashreplace"))


def _causes(found: Found, told: Sequence[View]) -> list[View]:
    """What is shown of each cause, the project's own first, and last what it accepts."""
    flat = [(nodeid, mode, leak) for nodeid, mode, leaks in found for leak in leaks]
    members: dict[str, list[tuple[str, str, Leak]]] = {}
    words: dict[str, View] = {}
    for (nodeid, mode, leak), view in zip(flat, told, strict=True):
        members.setdefault(view["fingerprint"], []).append((nodeid, mode, leak))
        words.setdefault(view["fingerprint"], view)
    causes = [
        _cause(leak, words[key], members[key])
        for leak, _ in grouped(leak for _, _, leak in flat)
        for key in [leak.fingerprint]
    ]
    return sorted(causes, key=lambda cause: (bool(cause["library"]), bool(cause["accepted"])))


def _cause(leak: Leak, told: View, members: Sequence[tuple[str, str, Leak]]) -> View:
    leaks = [each for _, _, each in members]
    tests = list(dict.fromkeys(nodeid or "of unknown owner" for nodeid, _, _ in members))
    names = list(dict.fromkeys(each.task for each in leaks if each.task))
    verdicts = list(dict.fromkeys(each.verdict for each in leaks))[1:]
    owners = list(dict.fromkeys((owner_label(each), each.nodeid) for each in leaks))
    waits = _frames(leak.waits, told["waits"])
    created = _frames(leak.created, told["created"])
    line = _same(leak.line_to_change, (*leak.created, *leak.waits), (*created, *waits))
    stand = next((frame for frame in reversed(waits) if frame["own"]), waits[0] if waits else None)
    grows = leak.kind == "growth"
    did = "held up" if leak.kind == "blocked-loop" else "outlived"
    return {
        **told,
        "kind_words": _KINDS.get(leak.kind, leak.kind.replace("-", " ")),
        "label": "" if grows else task_label(leak),
        "did": "objects grow with each repetition of" if grows else did,
        "whose": owner_label(leak),
        "since": f" of {leak.nodeid}" if leak.owner_kind == "fixture" else f" ({leak.phase})" if leak.phase else "",
        "others": len(owners) - 1,
        "count": len(leaks),
        "modes": _words_of(Counter(mode for _, mode, _ in members)),
        "accepted": leak.accepted,
        "library_name": leak.library or "library",
        "held": _split(leak.holders, leak.suspect),
        "frame": line,
        "stand": stand if stand is not line else None,
        "stand_words": _STANDS.get(leak.kind, "stands at"),
        "waits": waits if len(waits) > 1 else [],
        "created": created if len(created) > 1 else [],
        "unseen": leak.kind == "pending" and not created,
        "creators_words": ("its class is defined at" if not created else "") if grows else "by the task",
        "creators": [
            (text, _frame(place, view["created"]) if place else None)
            for (text, place), view in zip(leak.ancestors, told["creators"], strict=True)
        ],
        "created_words": {"growth": "one was created at", "generator": "first asked at"}.get(leak.kind, "created at"),
        "detail": growing.facts(leak)[0] if grows else leak.detail,
        "tests": tests[:_MOST_TESTS],
        "more_tests": max(0, len(tests) - _MOST_TESTS),
        "names": names[:_MOST_NAMES] if len(names) > 1 else [],
        "more_names": max(0, len(names) - _MOST_NAMES),
        "verdicts": verdicts[:_MOST_NAMES],
        "more_verdicts": max(0, len(verdicts) - _MOST_NAMES),
        "members": leaks,
        "is_shown": True,
    }


def _words_of(modes: Mapping[str, int]) -> list[tuple[str, str]]:
    """Each mode with its words, and with how many where there is more than one."""
    return [
        (mode, words if len(modes) == 1 else f"{words} {modes[mode]}")
        for mode, words in _MODES.items()
        if modes.get(mode)
    ]


def _split(text: str, part: str) -> tuple[str, str, str]:
    """What is before a part of a text, the part and what is after it; all of it before where there is none."""
    start = text.rfind(part) if part else -1
    return (text[:start], part, text[start + len(part) :]) if start >= 0 else (text, "", "")


def _same(place: Place | None, places: Iterable[Place], frames: Iterable[View]) -> View | None:
    return next((frame for each, frame in zip(places, frames, strict=True) if each is place), None)


def _frames(places: Iterable[Place], told: Iterable[View]) -> list[View]:
    return [_frame(place, view) for place, view in zip(places, told, strict=True)]


def _frame(place: Place, told: View) -> View:
    """A frame, its source in three parts: the middle one is the expression."""
    source: str = told["source"].replace("\t", "    ") if told["column"] is None else told["source"]
    start, end = (told["column"], told["end_column"]) if told["column"] is not None else (0, 0)
    return {
        "path": told["path"] if place.own else place.module,
        "line": place.line,
        "function": place.function,
        "own": place.own,
        "source": (source[:start], source[start:end], source[end:]) if source else None,
    }


def _owners(causes: Sequence[View]) -> Iterable[View]:
    """Who started what: each owner with the tasks that made more, and what was left of whom."""
    owners: dict[tuple[str, str], View] = {}
    for cause in causes:
        for leak in cause["members"]:
            key = (owner_label(leak), leak.nodeid)
            owner = owners.setdefault(key, {"name": key, "place": _place(leak), **_node(), "count": 0})
            owner["count"] += 1
            at = owner
            # Of growing objects these are no tasks, but where their class is.
            for name, place in () if leak.kind == "growth" else leak.ancestors[::-1]:
                at = at["below"].setdefault((name, place), {"name": name, **_node()})
            entry = at["leaks"].setdefault(leak.fingerprint, {"label": task_label(leak), "cause": cause, "count": 0})
            entry["count"] += 1
    return owners.values()


def _node() -> View:
    return {"below": {}, "leaks": {}}


def _place(leak: Leak) -> str:
    """Where an owner is: of a test the rest of its node id, of a fixture the test that it was made for."""
    own = leak.owner_kind == "test" and leak.nodeid.endswith(f"::{leak.owner}")
    return leak.nodeid.removesuffix(f"::{leak.owner}") if own else leak.nodeid


def _shown(value: object) -> object:
    """A text as the page shows it: in one line, what is not printable as Python would write it, and no megabytes."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else plain(value, _LONGEST)


def _with_code(text: str) -> Markup:
    """A sentence with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(_shown(text)))))  # noqa: S704 - it is escaped first
