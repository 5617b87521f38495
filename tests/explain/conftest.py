"""What the tests of hints share."""

import pytest

from pytest_taskleak.explain import hints


@pytest.fixture
def chosen(monkeypatch):
    """The causes that were chosen, by name."""
    names = []
    choose = hints.cause

    def cause(*args, **kwargs):
        names.append(choose(*args, **kwargs))
        return names[-1]

    monkeypatch.setattr(hints, "cause", cause)
    return names
