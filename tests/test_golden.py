"""A report for each kind of leak, to the letter; `make golden` writes them anew."""

import pytest
from golden.make import CASES, expected, report


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_report_is_the_expected_one(case, tmp_path):
    assert report(case, tmp_path) == expected(case).read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_sentences_of_the_report_fit_80_columns(case):
    """Paths, source lines and one-line verdicts are as long as they are; sentences are wrapped."""
    inside = False
    for line in expected(case).read_text(encoding="utf-8").splitlines():
        if line.startswith(("---", "===", "___")):
            inside = line.strip("-") == " taskleak "
        elif inside:
            assert len(line) <= 80, line
