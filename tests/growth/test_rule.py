"""When a row of counts is growth."""

import pytest

from pytest_taskleak.growth.rule import growth


@pytest.mark.parametrize(
    ("counts", "times"),
    [
        ([0, 1, 2, 3], 3),
        ([7, 9, 11, 13, 15, 17], 5),
        ([5, 6, 5, 7, 9, 10], None),
        ([0, 0, 1, 1, 2, 2], 2),
        ([0, 1, 1, 2, 2, 3], 3),
        ([0, 1, 1, 2], 2),
        ([0, 0, 1, 1], None),
        ([0, 1, 2, 2, 2, 2], None),
        ([0, 1, 2, 3, 0, 1], None),
        ([0, 2, 1, 3, 2, 4], None),
        ([4, 4, 4, 4], None),
        ([4, 3, 2, 1], None),
        ([0, 0, 0, 9, 9, 9], None),
    ],
)
def test_growth_is_in_every_repetition_or_in_every_other_one(counts, times):
    found = growth(counts)
    assert (found and found.times) == times


def test_what_was_added_is_told_of_the_repetitions_that_added_some():
    found = growth([0, 2, 2, 5])
    assert (found.steps, found.times, found.repetitions) == ([2, 3], 2, 3)
