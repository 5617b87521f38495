"""The memory breaker: when it opens, and when it lets messages pass again."""

import logging

import pytest

from reference_queue import MemoryBreaker, Reading


def test_it_opens_at_80_percent_and_closes_below_70(memory):
    breaker = memory.breaker()
    states = [memory.at(percent, breaker) for percent in (79, 80, 79, 70, 69, 79, 95)]
    assert states == ["closed", "open", "open", "open", "closed", "closed", "open"]
    assert breaker.opened == 2
    assert breaker.reading == Reading(95, 100, "a test")


def test_the_marks_can_be_set(memory):
    breaker = memory.breaker(open_at=0.5, close_at=0.4)
    assert [memory.at(percent, breaker) for percent in (49, 50, 41, 39)] == ["closed", "open", "open", "closed"]


def test_it_looks_at_memory_at_most_once_in_a_second(memory):
    breaker = memory.breaker()
    for _ in range(100):
        breaker.allows()
    assert memory.looks == 1
    memory.now += 0.99
    breaker.allows()
    assert memory.looks == 1
    memory.now += 0.02
    breaker.allows()
    assert memory.looks == 2


def test_memory_that_stays_between_the_marks_lets_one_message_try_and_then_all(memory):
    breaker = memory.breaker(retry_after=30)
    memory.at(85, breaker)
    assert memory.at(75, breaker, after=29) == "open"
    assert memory.at(75, breaker, after=2) == "half-open"
    assert breaker.allows()
    breaker.passed()
    assert not breaker.allows()
    assert memory.at(75, breaker) == "closed"


def test_memory_that_stays_high_lets_one_message_through_now_and_then_and_no_more(memory):
    breaker = memory.breaker(retry_after=30)
    memory.at(85, breaker)
    passed = 0
    for _ in range(301):
        memory.now += 1
        while breaker.allows():
            breaker.passed()
            passed += 1
    assert passed == 9  # one each 31 to 32 seconds: thirty open, one until the next look, which may come a moment late
    assert breaker.opened == 1


def test_a_trial_lasts_until_a_message_comes(memory):
    breaker = memory.breaker(retry_after=30, trial=2)
    memory.at(85, breaker)
    assert memory.at(85, breaker, after=31) == "half-open"
    assert memory.at(85, breaker, after=3600) == "half-open"
    breaker.passed()
    assert memory.at(85, breaker) == "half-open"
    breaker.passed()
    assert memory.at(85, breaker) == "open"


def test_each_change_is_logged_once(memory, caplog):
    caplog.set_level(logging.INFO, "reference_queue")
    breaker = memory.breaker(retry_after=30)
    for percent in (85, 86, 87, 69, 68):
        memory.at(percent, breaker)
    memory.at(90, breaker)
    memory.at(90, breaker, after=31)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "Memory breaker open at 85%, 0 MiB of 0 MiB (a test): no more messages are taken in"),
        ("INFO", "Memory breaker closed at 69%, 0 MiB of 0 MiB (a test)"),
        ("WARNING", "Memory breaker open at 90%, 0 MiB of 0 MiB (a test): no more messages are taken in"),
        ("INFO", "Memory breaker half-open at 90%, 0 MiB of 0 MiB (a test): 1 messages may pass"),
    ]


def test_a_meter_that_fails_keeps_nobody_out_and_is_told_once(memory, caplog):
    breaker = memory.breaker()
    memory.at(85, breaker)
    assert memory.at(None, breaker) == "closed"
    memory.at(None, breaker)
    assert breaker.reading is None
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "Memory breaker: the meter failed, so messages pass until it works again"
    ]
    assert memory.at(85, breaker) == "open"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"open_at": 0.7, "close_at": 0.8}, "open_at=0.7 and close_at=0.8 are no marks"),
        ({"open_at": 80, "close_at": 70}, "Give parts of the limit"),
        ({"every": 0}, "every=0 is out of range"),
        ({"retry_after": -1}, "retry_after=-1 is out of range"),
        ({"trial": 0}, "trial=0 is too small"),
        ({"limit": 0}, "limit=0 is too small"),
        ({"limit": 1000}, "limit=1000 is for the meter of the system"),
    ],
)
def test_what_makes_no_sense_is_refused(memory, options, text):
    with pytest.raises(ValueError, match=text):
        memory.breaker(**options)


@pytest.mark.parametrize("option", ["every", "retry_after"])
def test_no_time_at_all_is_refused(memory, option):
    with pytest.raises(TypeError, match=f"{option}=None"):
        memory.breaker(**{option: None})


@pytest.mark.parametrize("wrong", [0.5, None, Reading(1, 0, "a group that is no more")])
def test_a_meter_that_returns_no_reading_is_logged_once_and_messages_pass(memory, wrong, caplog):
    breaker = memory.breaker()
    memory.at(85, breaker)
    found = []
    breaker._meter = lambda: found.append(1) or wrong
    for _ in range(3):
        memory.now += 1
        assert breaker.allows()
    assert len(found) == 3
    assert [record.levelname for record in caplog.records if "the meter failed" in record.message] == ["ERROR"]
    assert breaker.reading is None


class _Turns(int):
    """A count that lets another thread have its turn between the look at it and what is made of it."""

    def __bool__(self):
        other, _Turns.other = _Turns.other, None
        if other is not None:
            other()
        return int(self) != 0


def test_two_threads_that_pass_on_trial_at_the_same_time_do_not_wear_the_breaker_out(memory):
    breaker = memory.breaker(retry_after=30)
    memory.at(85, breaker)
    assert memory.at(85, breaker, after=31) == "half-open"
    breaker._left = _Turns(1)
    _Turns.other = breaker.passed
    breaker.passed()
    assert memory.at(85, breaker) == "open"
    assert memory.at(85, breaker, after=31) == "half-open"
    assert breaker.allows()


class _Due(float):
    """A time that lets another thread have its turn between the look at it and what is made of it."""

    def __le__(self, now):
        other, _Due.other = _Due.other, None
        if other is not None:
            other()
        return float(self) <= now


def test_only_one_of_two_threads_that_ask_at_the_same_time_looks(memory):
    breaker = memory.breaker()
    memory.percent = 85
    breaker._due = _Due(breaker._due)
    _Due.other = breaker.allows
    assert not breaker.allows()
    assert (memory.looks, breaker.opened) == (1, 1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"open_at": "0.8"}, r"open_at='0\.8' is not a number\. Give a part of the limit"),
        ({"meter": 5}, r"meter=5 cannot be called\. Give a function that returns a Reading"),
        ({"clock": 5}, r"clock=5 cannot be called"),
    ],
)
def test_what_is_of_no_use_to_it_is_refused_when_it_is_made(options, text):
    with pytest.raises(TypeError, match=text):
        MemoryBreaker(**options)
