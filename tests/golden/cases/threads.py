"""A thread that nobody stops, a timer, and executors: one never shut down, one whose function runs on."""

import threading
from concurrent.futures import ThreadPoolExecutor

hold = threading.Event()
kept = []


def poll():
    while not hold.is_set():
        hold.wait(1)


def ring():
    pass


def test_thread():
    threading.Thread(target=poll, name="poller", daemon=True).start()


def test_timer():
    timer = threading.Timer(3600, ring)
    timer.daemon = True
    timer.start()


def test_idle_executor():
    pool = ThreadPoolExecutor(thread_name_prefix="io")
    kept.append(pool)
    pool.submit(int).result()


def test_busy_executor():
    pool = ThreadPoolExecutor()
    pool.submit(poll)
    pool.shutdown(wait=False)


def test_ends_what_is_left():
    hold.set()
    kept.pop().shutdown()
