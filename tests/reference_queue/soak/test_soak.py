"""The soak: both queues under the same load, judged by what was measured."""

import asyncio
import dataclasses
import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from reference_queue.soak.command import main
from reference_queue.soak.files import write
from reference_queue.soak.load import LOADS, Load, Sample
from reference_queue.soak.plot import draw
from reference_queue.soak.run import Outcome, SoakFailed, side_by_side
from reference_queue.soak.trend import trend
from reference_queue.soak.verdict import checklist, table

MIB = 2**20
# The soak itself refuses to run elsewhere, and says why.
linux = pytest.mark.skipif(sys.platform != "linux", reason="the soak reads memory from /proc")
SHORT = dataclasses.replace(LOADS["incident"], minutes=60, speed=1_500)


def children():
    """The processes that this one has started and that are not gone."""
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(encoding="ascii").split())


@pytest.fixture
def childless():
    """After the test, no process is there that was not before."""
    before = children()
    yield
    assert children() <= before


# -- the load ---------------------------------------------------------------------------------------------


def test_both_queues_are_sent_the_same():
    def first(load):
        return list(itertools.islice(load.messages(), 500))

    assert first(SHORT) == first(SHORT)
    assert first(SHORT) != first(dataclasses.replace(SHORT, seed=2))


def test_the_load_has_messages_that_fail_and_messages_that_hang():
    kinds = [message.what for message in itertools.islice(SHORT.messages(), 20_000)]
    assert kinds.count("fail") == pytest.approx(200, abs=60)
    assert kinds.count("hang") == pytest.approx(20, abs=16)


def test_compressed_time_leaves_as_many_messages_under_way():
    """Rate times handling: the one grows by the speed, the other shrinks by it."""
    slow, fast = dataclasses.replace(SHORT, speed=1), SHORT
    for one, other in itertools.islice(zip(slow.messages(), fast.messages(), strict=False), 100):
        assert one.seconds == pytest.approx(other.seconds * SHORT.speed)
    assert slow.seconds == fast.seconds * SHORT.speed


def test_a_load_travels_as_text():
    assert Load.from_json(SHORT.to_json()) == SHORT


# -- the trend --------------------------------------------------------------------------------------------


def noise(seed, count, *, alike=0.0):
    chance, last = random.Random(seed), 0.0  # noqa: S311 - noise
    for _ in range(count):
        last = alike * last + chance.gauss(0, 1)
        yield last


def test_a_line_is_found_exactly():
    found = trend(range(20), [3 + 2 * it for it in range(20)])
    assert found.growth == pytest.approx(38)
    assert found.error == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("alike", [0.0, 0.6], ids=["white", "each sample is like the last"])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(alike):
    """Of 400 series around a known slope 380 are expected inside; without the correction for likeness it is 240."""
    times = list(range(150))
    inside = 0
    for seed in range(400):
        figures = [0.01 * time + it for time, it in zip(times, noise(seed, 150, alike=alike), strict=True)]
        found = trend(times, figures)
        inside += abs(found.growth - 1.49) <= found.error
    assert 360 <= inside <= 400


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="7 times and 7 figures tell no trend"):
        trend(range(7), range(7))


# -- the verdict ------------------------------------------------------------------------------------------


def samples(load, *, promises=lambda part: 10 + int(part * 100) % 3, memory=lambda _part: 22 * MIB, sent=1.0, alerts=0):
    parts = [number / 100 for number in range(101)]
    return [
        Sample(
            part * load.minutes,
            promises(part),
            int(memory(part)),
            int(part * load.minutes * load.rate * sent),
            alerts,
            0,
        )
        for part in parts
    ]


def judged(load, **reference):
    outcome = Outcome(load, 300 * MIB, {"broken": samples(load), "reference": samples(load, **reference)})
    return [item.passed for item in checklist(outcome)]


def test_a_queue_that_holds_passes():
    assert judged(LOADS["incident"]) == [True] * 4
    assert judged(LOADS["heavy"]) == [True] * 4


@pytest.mark.parametrize(
    ("failed", "reference"),
    [
        (0, {"alerts": 1}),
        (1, {"promises": lambda part: int(part * 49)}),
        (1, {"promises": lambda part: 50 + int(part * 100) % 3}),
        (2, {"memory": lambda part: (22 + 10 * part) * MIB}),
        (3, {"sent": 0.8}),
    ],
    ids=["alert", "promises only grow", "too many promises", "memory grows", "too slow"],
)
def test_what_does_not_hold_fails_its_item(failed, reference):
    assert judged(LOADS["incident"], **reference) == [number != failed for number in range(4)]


@pytest.mark.parametrize("name", LOADS)
def test_promises_that_climb_with_dips_between_fail(name):
    """At the heavy load nothing else bounds them."""
    dips = itertools.cycle([0, 300])
    assert not judged(LOADS[name], promises=lambda part: 100 + int(part * 4_500) - next(dips))[1]


def test_the_checklist_is_no_wider_than_a_terminal():
    load = LOADS["heavy"]
    climbs = samples(load, promises=lambda part: int(part * 5_000) - int(part * 100) % 7 * 90)
    for item in checklist(Outcome(load, 300 * MIB, {"broken": climbs, "reference": climbs})):
        assert len(str(item)) <= 80


def test_promises_that_go_up_and_down_at_the_heavy_load_pass():
    assert judged(LOADS["heavy"], promises=lambda part: 500 + int(part * 100) * 37 % 400)[1]


def test_less_than_an_hour_is_no_hour():
    load = dataclasses.replace(LOADS["incident"], minutes=59)
    assert judged(load) == [False, True, True, True]


def test_memory_that_finds_its_level_in_the_first_third_does_not_grow():
    assert judged(LOADS["incident"], memory=lambda part: (22 + min(part * 3, 1) * 50) * MIB)[2]


def test_a_queue_that_was_stopped_or_told_nothing_fails_everything():
    assert judged(LOADS["incident"], memory=lambda part: 22 * MIB if part < 1 else 301 * MIB) == [False] * 4
    outcome = Outcome(LOADS["incident"], 300 * MIB)
    assert [item.passed for item in checklist(outcome)] == [False] * 4


def test_the_table_is_the_incidents():
    load = LOADS["incident"]
    climbs = samples(load, promises=lambda part: int(part * 45_000), memory=lambda part: (22 + 556 * part) * MIB)
    outcome = Outcome(load, 300 * MIB, {"broken": climbs[:52], "reference": samples(load)})
    assert table(outcome).splitlines() == [
        "          |   before: the incident    |     after: this queue",
        "     time |  live promises     memory |  live promises     memory",
        "----------+---------------------------+--------------------------",
        "   10 min |          7,650    117 MiB |             12     22 MiB",
        "   20 min |         14,850    205 MiB |             10     22 MiB",
        "   30 min |         22,500    300 MiB |             12     22 MiB",
        "   31 min |         22,950    306 MiB |             10     22 MiB",
        "   40 min |                   stopped |             11     22 MiB",
        "   50 min |                   stopped |             12     22 MiB",
        "   60 min |                   stopped |             11     22 MiB",
        "The broken queue was stopped at 300 MiB, after 31 min.",
    ]


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_the_picture_is_written_whole(tmp_path, suffix):
    outcome = Outcome(SHORT, 300 * MIB, {"broken": samples(SHORT), "reference": samples(SHORT)})
    path = tmp_path / f"soak.{suffix}"
    draw([outcome], path)
    assert path.read_bytes().lstrip()[:5] in (b"<?xml", b"\x89PNG\r", b"%PDF-")
    assert list(tmp_path.iterdir()) == [path]


@linux
def test_a_file_is_readable_as_new_files_are(tmp_path):
    (tmp_path / "other").touch()
    write(tmp_path / "soak.json", b"[]")
    assert (tmp_path / "soak.json").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_file_that_cannot_be_put_in_place_leaves_nothing(tmp_path):
    (tmp_path / "soak.json").mkdir()
    with pytest.raises(OSError, match=r"soak\.json"):
        write(tmp_path / "soak.json", b"[]")
    assert [path.name for path in tmp_path.iterdir()] == ["soak.json"]


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "soak.nonsense"
    path.write_text("old")
    with pytest.raises(ValueError, match="nonsense"):
        draw([Outcome(SHORT, 300 * MIB, {"broken": samples(SHORT), "reference": samples(SHORT)})], path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# -- for real ---------------------------------------------------------------------------------------------


@linux
@pytest.mark.usefixtures("childless")
def test_the_soak_holds_the_reference_queue_and_stops_the_broken_one(tmp_path, capsys):
    """An hour of the incident's load in two to three seconds."""
    options = ["--load", "incident", "--speed", "1500", "--limit", "120"]
    status = main([*options, "--plot", str(tmp_path / "soak.svg"), "--json", str(tmp_path / "soak.json")])
    told = capsys.readouterr().out
    document = json.loads((tmp_path / "soak.json").read_text())
    broken, reference = (document[0]["samples"][name] for name in ("broken", "reference"))
    assert "The broken queue was stopped at 120 MiB" in told
    assert "PASS  one hour without a promise alert: 0 in 60 minutes" in told
    assert broken[-1]["alerts"] > 0
    assert broken[-1]["promises"] > 3_000
    assert broken[-1]["memory"] > 120 * MIB
    assert reference[-1]["alerts"] == 0
    assert reference[-1]["minute"] > 55
    # Whether all is sent in time, and how many wait meanwhile, is the machine's affair at this speed.
    assert status in (0, 1)
    assert reference[-1]["memory"] < 120 * MIB
    assert (tmp_path / "soak.svg").stat().st_size > 10_000


@linux
@pytest.mark.usefixtures("childless")
async def test_a_queue_is_stopped_at_the_limit_and_not_at_the_next_sample():
    """Samples of this run are four seconds apart, and the broken queue passes the limit before the second of them."""
    load, limit = dataclasses.replace(LOADS["heavy"], minutes=10), 32 * MIB
    last = asyncio.get_running_loop().create_future()

    def tell(name, sample):
        if name == "broken" and sample.memory > limit:
            last.set_result(sample)

    run = asyncio.create_task(side_by_side(load, limit, tell))
    try:
        sample = await asyncio.wait_for(last, timeout=60)
    finally:
        run.cancel()
        await asyncio.wait([run])
    assert sample.memory < limit + 6 * MIB


@linux
@pytest.mark.usefixtures("childless")
async def test_no_child_is_left_when_the_soak_is_cancelled():
    begun = asyncio.Event()
    load = dataclasses.replace(SHORT, speed=1)
    run = asyncio.create_task(side_by_side(load, 300 * MIB, lambda _name, _sample: begun.set()))
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


@linux
@pytest.mark.usefixtures("childless")
async def test_a_child_that_fails_is_told_with_what_it_said():
    load = dataclasses.replace(SHORT, chats=0)  # nobody to send to
    with pytest.RaisesGroup(
        pytest.RaisesExc(SoakFailed, match=r"ended with status 1:[\s\S]*ValueError"), allow_unwrapped=True
    ):
        await side_by_side(load, 300 * MIB, lambda _name, _sample: None)


@linux
@pytest.mark.parametrize(("fails", "holds"), [("incident", "heavy"), ("heavy", "incident")])
def test_a_load_that_fails_takes_nothing_from_the_other(monkeypatch, capsys, tmp_path, fails, holds):
    short = {"minutes": 1, "speed": 120, "rate": 1_000, "workers": 64}
    monkeypatch.setitem(LOADS, holds, dataclasses.replace(LOADS[holds], chats=10, **short))
    monkeypatch.setitem(LOADS, fails, dataclasses.replace(LOADS[fails], chats=0, **short))  # nobody to send to
    assert main(["--json", str(tmp_path / "samples.json")]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"{fails}: The process of the ")
    assert "live promises" in told.out
    assert [each["load"]["name"] for each in json.loads((tmp_path / "samples.json").read_bytes())] == [holds]


@linux
def test_a_child_ends_when_nobody_reads():
    """The parent was killed: there is no cleanup in it that could run."""
    load = dataclasses.replace(SHORT, speed=100)
    command = [sys.executable, "-m", "reference_queue.soak.child", "reference", load.to_json(), str(300 * MIB)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(timeout=60) == 0
        assert child.stderr.read() == ""


# -- the command line -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--minutes", "0"], "0 is out of range; give a number above 0"),
        (["--limit", "inf"], "inf is out of range"),
        (["--plot", "soak.gif"], "end it in .svg, .png, .pdf"),
        (["--plot", "nowhere/soak.svg"], "there is no folder nowhere"),
        (["--json", "nowhere/soak.json"], "there is no folder nowhere"),
        (["--load", "none"], "invalid choice"),
        (["--chats", "0"], "argument --chats: 0 is out of range; give a whole number of at least 1\n"),
    ],
)
def test_a_wrong_option_is_told_before_anything_runs(options, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


def run(*arguments):
    command = [sys.executable, "-m", "reference_queue", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_the_commands_are_listed_for_who_asks_and_for_who_errs():
    assert run("--help").returncode == 0
    assert "soak" in run("--help").stdout
    wrong = run("sok")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("'sok' is no command.")
    assert run().returncode == 2
