"""Loops that nobody closes: one without work, and one with a timer, which is told in its place."""

import asyncio

kept = []


def remind():
    pass


def make():
    loop = asyncio.new_event_loop()
    kept.append(loop)
    return loop


def test_leaves_a_loop():
    make().run_until_complete(asyncio.sleep(0))


def test_leaves_a_timer_in_a_loop():
    make().call_later(3600, remind)


def test_closes_them():
    for loop in kept:
        loop.close()
