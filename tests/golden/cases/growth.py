"""Sessions that a registry keeps, counted while the test is repeated."""

import pytest


class Session:
    registry = []

    def __init__(self, user):
        self.user = user
        self.registry.append(self)


@pytest.fixture
def user():
    return object()


@pytest.mark.taskleak(repeat=5)
async def test_session_opens(user):
    assert Session(user).user is user


@pytest.mark.taskleak(repeat=5)
def test_session_is_found():
    assert Session.registry[0].user
