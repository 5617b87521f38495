"""Who is said to hold a thing."""

import types

from pytest_taskleak.explain.holders import held_by


def test_what_pytest_has_in_hand_holds_nothing():
    """Of what is collected, pytest keeps the objects: whoever the collector names first, the module's name is told."""
    recorded = type("RecordedHookCall", (), {"__module__": "_pytest.pytester"})()
    recorded.obj = {"job": types.SimpleNamespace()}
    assert held_by(recorded.obj["job"]) == ""
    app = types.ModuleType("app")
    app.WAITING = recorded.obj
    assert held_by(app.WAITING["job"]) == "`app.WAITING`"
