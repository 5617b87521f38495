"""Names and texts that a program chose to trouble who reads them: shown whole enough, and harming nobody."""

from __future__ import annotations

import json

import pytest

from pytest_taskleak.leak import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("poll ×37", "poll ×37"),
        ("", ""),
        ("two\nlines\tand more", "two lines and more"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("x" * 300, "x" * 300),
        ("x" * 5_000_300, "x" * 300 + "… (5,000,000 more characters)"),
    ],
    ids=["plain", "empty", "lines", "control", "direction", "surrogate", "long", "too long"],
)
def test_a_text_is_made_plain(text, shown):
    assert plain(text) == shown


def test_a_task_with_a_hostile_name_is_told_of(judged):
    words, text = judged("""
        async def test_it():
            asyncio.create_task(forever(), name="\\x1b[2J\\r\\n<b>&" + "x" * 5_000_000)
            await asyncio.sleep(0)
    """)
    assert words == {"test_it": "FAILED"}
    assert "\\x1b[2J  <b>&xxx" in text
    assert "more characters)" in text
    assert "\x1b[2J" not in text
    assert len(text) < 20_000


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise RuntimeError('too bad')", "Mute: its text cannot be told, `str()` raised RuntimeError"),
        ("return '\\x1b[2J' * 1_000_000", r"Mute: \x1b[2J\x1b[2J"),
        ("return 5", "Mute: its text cannot be told, `str()` raised TypeError"),
    ],
    ids=["raises", "megabytes", "no text"],
)
def test_an_exception_with_a_hostile_text_is_told_of(judged, body, said):
    words, text = judged(f"""
        class Mute(Exception):
            def __str__(self):
                {body}

        async def fails():
            raise Mute

        async def test_it():
            asyncio.create_task(fails())
            await asyncio.sleep(0)
    """)
    assert words == {"test_it": "FAILED"}
    told = text[text.index("- taskleak -") : text.index("- Captured log")]  # asyncio's own words come there
    assert said in " ".join(told.split())
    assert "defect" not in text
    assert "\x1b[2J" not in told


def test_things_with_a_hostile_repr_are_told_of(judged):
    words, text = judged("""
        class Quiet(asyncio.Event):
            def __repr__(self):
                raise RuntimeError("no repr")

            __str__ = __repr__

        async def test_it():
            asyncio.create_task(Quiet().wait())
            asyncio.get_running_loop().call_later(1000, Quiet().set)
            await asyncio.sleep(0)
    """)
    assert words == {"test_it": "FAILED"}
    assert "waits on `Event.wait`" in text
    assert "no repr" not in text


def test_a_file_with_a_hostile_name_and_a_line_of_a_megabyte_is_told_of(project):
    folder = "a\x1b[31m\nb<script>"
    project.write(f"{folder}/helper.py", "def start(): return asyncio.create_task(forever()); " + "x = 0; " * 150_000)
    project.write(
        source="""
        import sys
        from pathlib import Path

        sys.path.insert(0, str(next(Path(__file__).parent.glob("a*b*"))))
        import helper

        async def test_it():
            helper.start()
        """
    )
    result = project.run("--taskleak-report=json:it.json", "--taskleak-report=md:it.md")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "a\\x1b[31m b<script>/helper.py:" in text
    assert "more characters)" in text
    markdown = (project.pytester.path / "it.md").read_text(encoding="utf-8")
    assert "\x1b" not in text + markdown
    assert len(text) + len(markdown) < 20_000
    document = json.loads((project.pytester.path / "it.json").read_text(encoding="utf-8"))
    assert document["leaks"][0]["path"] == f"{folder}/helper.py"
