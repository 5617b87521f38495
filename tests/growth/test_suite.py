"""Objects over a whole run: the slope, the drawing, and how the file is written."""

import gc
import random
import xml.etree.ElementTree as ET

import pytest

from pytest_taskleak.growth import plot
from pytest_taskleak.growth.suite import Series, Suite, slope

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([0, 0, 0, 0, 0], 0),
        ([3, 6, 9, 12, 15], 3),
        ([900, 900, 900, 900, 900, 900, 900, 900], 0),
        ([0, 0, 0, 500, 500, 500, 500, 500, 500, 500, 500, 500], 0),
        ([10, 8, 6, 4, 2], -2),
        (list(range(0, 50_000, 5)), 5),
    ],
    ids=["nothing", "steady", "a jump first", "a jump amid", "less", "many"],
)
def test_the_slope_is_that_of_most_tests(counts, expected):
    assert slope(counts) == pytest.approx(expected)


def test_the_slope_is_not_led_astray_by_noise():
    noise = random.Random(7)  # noqa: S311 - no secret
    counts = [4 * number + noise.choice([0, 0, 0, 300]) for number in range(400)]
    assert slope(counts) == pytest.approx(4, abs=0.5)


def test_of_a_few_tests_no_slope_is_told():
    assert Series("", counts=[1, 2, 3]).slope is None
    assert Series("", counts=list(range(10))).slope == 1


def test_a_series_travels_as_plain_values():
    series = Series("gw1", ["a", "b"], [5, 3], {"Session": 3})
    assert Series.from_json(series.to_json()) == series
    assert series.steps == [("a", 5), ("b", -2)]


def test_what_stays_is_counted_and_reports_are_not(request):
    suite = Suite("")
    suite.start()
    try:
        frozen = gc.get_freeze_count()
        suite.count("warm up")
        kept = [[] for _ in range(100)]
        suite.count("a")
        reports = [pytest.TestReport("x", ("x", 1, "x"), {"x": 1}, "passed", None, "call") for _ in range(100)]
        for report in reports:
            suite.logged(report)
        suite.count("b")
        report = None
        reports.clear()
        suite.count("c")
    finally:
        series = suite.stop()
    warm, a, b, c = series.counts
    assert frozen > 0
    assert gc.get_freeze_count() == 0
    assert a - warm == len(kept) + 1
    assert 0 <= b - a < 250  # of 600 that the reports consist of
    assert abs(c - a) < 5
    assert series.types["list"] >= 100


def test_what_the_user_froze_stays_frozen():
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        suite = Suite("")
        suite.start()
        assert gc.get_freeze_count() <= frozen
        suite.stop()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_what_the_user_freezes_meanwhile_stays_frozen():
    suite = Suite("")
    suite.start()
    kept = [[] for _ in range(1000)]
    try:
        gc.freeze()
        suite.stop()
        assert gc.get_freeze_count() > len(kept)
    finally:
        gc.unfreeze()


# -- the drawing


def test_a_line_is_drawn_for_each_process():
    lines = [Series("gw0", counts=[0, 10, 20]), Series("gw1", counts=[0, -5])]
    root = ET.fromstring(plot.draw(lines, "a title"))  # noqa: S314 - drawn here
    assert [line.get("points") for line in root.iter(f"{SVG}polyline")] == [
        "60.0,284.0 286.7,284.0 513.3,172.0 740.0,60.0 740.0,60.0",
        "60.0,284.0 286.7,284.0 513.3,340.0 513.3,340.0",
    ]
    assert [text.text for text in root.iter(f"{SVG}text")] == ["a title", "+20", "-5", "3 tests", "gw0", "gw1"]


def test_names_are_escaped():
    text = plot.draw([Series("<&>", counts=[1])], "</svg><script>")
    root = ET.fromstring(text)  # noqa: S314 - drawn here
    assert "<script" not in text
    assert [it.text for it in root.iter(f"{SVG}text")][0::5] == ["</svg><script>"]
    assert "<&>" in [it.text for it in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("lines", [[], [Series("", counts=[])], [Series("", counts=[0])]], ids=["none", "empty", "one"])
def test_little_is_drawn_too(lines):
    assert ET.fromstring(plot.draw(lines, "")).tag == f"{SVG}svg"  # noqa: S314 - drawn here


def test_of_many_tests_some_are_drawn_and_the_last():
    series = Series("", counts=list(range(50_000)))
    root = ET.fromstring(plot.draw([series], ""))  # noqa: S314 - drawn here
    points = next(root.iter(f"{SVG}polyline")).get("points").split()
    assert len(points) < 1100
    assert points[-1] == "740.0,60.0"
