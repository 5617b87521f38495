"""Which leaks are found, and which clean uses are blamed: this plugin, pyleak and pytest alone, in one run.

pyleak looks at the end of the call, where its marker `no_leaks` is put on every test here, with all that it looks
for. pytest alone has every warning turned into an error. A leak counts as found when the run fails (any failure
will do), a clean use as blamed when it does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PRELUDE = """
import asyncio, concurrent.futures, gc, threading, unittest
import pytest, pytest_asyncio

async def forever():
    await asyncio.Event().wait()

class Bot:
    task = None
    def start(self):
        self.task = asyncio.create_task(forever())
    def stop(self):
        self.task.cancel()
"""

LEAKS = {
    "task left on a function loop": """
async def test_it():
    kept.append(asyncio.create_task(forever()))
kept = []
""",
    "task left on a module's loop": """
@pytest.mark.asyncio(loop_scope="module")
async def test_it():
    asyncio.create_task(forever())
""",
    "started in an async fixture's setup": """
@pytest_asyncio.fixture
async def started():
    yield asyncio.create_task(forever())
async def test_it(started): pass
""",
    "started in an async fixture's teardown": """
@pytest_asyncio.fixture
async def started():
    yield
    asyncio.create_task(forever())
async def test_it(started): pass
""",
    "a module fixture's task, after its end": """
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started():
    yield asyncio.create_task(forever())
def test_it(started): pass
""",
    "fixture returns a bot that nobody stops": """
@pytest.fixture
def bot():
    return Bot()
async def test_it(bot):
    bot.start()
""",
    "each test leaves one more with a fixture": """
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bots():
    bots = []
    yield bots
    for bot in bots:
        bot.stop()
pytestmark = pytest.mark.asyncio(loop_scope="module")
async def leave_one(bots):
    bots.append(Bot())
    bots[-1].start()
async def test_one(bots): await leave_one(bots)
async def test_two(bots): await leave_one(bots)
""",
    "swallows cancellation": """
async def stubborn():
    try:
        await forever()
    except asyncio.CancelledError:
        await asyncio.sleep(0.3)
async def test_it():
    asyncio.create_task(stubborn())
    await asyncio.sleep(0)
""",
    "collected as garbage while pending": """
async def nobody():
    await asyncio.get_running_loop().create_future()
async def test_it():
    asyncio.create_task(nobody())
    await asyncio.sleep(0)
    gc.collect()
""",
    "asyncio.run in a sync test": """
def test_it():
    async def main():
        asyncio.create_task(forever())
    asyncio.run(main())
""",
    "hand-made loop, closed": """
def test_it():
    loop = asyncio.new_event_loop()
    loop.create_task(forever())
    loop.close()
""",
    "hand-made loop, left open": """
def test_it():
    loop = asyncio.new_event_loop()
    task = loop.create_task(forever())
""",
    "asyncio.run in a thread": """
def test_it():
    async def main():
        asyncio.create_task(forever())
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
""",
    "inner task of a shield after a timeout": """
async def test_it():
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(forever()), 0.01)
""",
    "IsolatedAsyncioTestCase": """
class TestIt(unittest.IsolatedAsyncioTestCase):
    async def test_it(self):
        asyncio.create_task(forever())
""",
    "exception that nobody retrieves": """
async def explode():
    raise ValueError
async def test_it():
    asyncio.create_task(explode())
    await asyncio.sleep(0)
""",
    "50 futures in a dict that nobody settles": """
WAITING = {}
async def test_it():
    for n in range(50):
        WAITING[n] = asyncio.get_running_loop().create_future()
""",
    "timer, an hour ahead": """
async def test_it():
    asyncio.get_running_loop().call_later(3600, print)
""",
    "async generator left suspended": """
KEPT = []
async def numbers():
    yield 1
    yield 2
async def test_it():
    KEPT.append(numbers())
    await anext(KEPT[0])
""",
    "server not closed": """
KEPT = []
async def test_it():
    KEPT.append(await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0))
""",
    "subprocess still running": """
KEPT = []
async def test_it():
    KEPT.append(await asyncio.create_subprocess_exec("sleep", "5"))
""",
    "thread still running": """
def test_it():
    threading.Thread(target=threading.Event().wait, daemon=True).start()
""",
    "executor never shut down": """
class Pool:
    def __init__(self):
        self.executor = concurrent.futures.ThreadPoolExecutor(1)
        self.executor.submit(int).result()
KEPT = []
def test_it():
    KEPT.append([Pool()])
""",
    "loop never closed": """
def test_it():
    loop = asyncio.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
""",
    "exception of a future that nobody retrieves": """
async def test_it():
    asyncio.get_running_loop().create_future().set_exception(ValueError())
""",
    "exception in a callback": """
def explode():
    raise ValueError
async def test_it():
    asyncio.get_running_loop().call_soon(explode)
    await asyncio.sleep(0)
""",
    "coroutine never awaited": """
async def test_it():
    forever()
""",
}

CLEAN = {
    "fixture cancels what the test started": """
@pytest_asyncio.fixture
async def bot():
    bot = Bot()
    yield bot
    bot.stop()
async def test_it(bot):
    bot.start()
""",
    "sync fixture stops what the test started": """
@pytest.fixture
def bot():
    bot = Bot()
    yield bot
    bot.stop()
async def test_it(bot):
    bot.start()
""",
    "module fixture owns a task": """
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot():
    bot = Bot()
    bot.start()
    yield bot
    bot.stop()
@pytest.mark.asyncio(loop_scope="module")
async def test_it(bot): pass
""",
    "pool in a module fixture starts lazily": """
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot():
    bot = Bot()
    yield bot
    bot.stop()
@pytest.mark.asyncio(loop_scope="module")
async def test_it(bot):
    bot.start()
@pytest.mark.asyncio(loop_scope="module")
async def test_other(bot): pass
""",
    "ends 20 ms after the test": """
async def test_it():
    asyncio.create_task(asyncio.sleep(0.02))
""",
    "cancelled as the last statement": """
async def test_it():
    bot = Bot()
    bot.start()
    await asyncio.sleep(0)
    bot.stop()
""",
    "idle thread of the default executor": """
async def test_it():
    await asyncio.to_thread(sum, [1])
""",
    "TaskGroup, used properly": """
async def test_it():
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0))
""",
    "plain sync test": """
def test_it():
    assert True
""",
    "future of an object that goes with the test": """
class Connection:
    def __init__(self):
        self.closed = asyncio.get_running_loop().create_future()
        self.me = self
async def test_it():
    Connection()
""",
    "timer that is cancelled": """
async def test_it():
    asyncio.get_running_loop().call_later(3600, print).cancel()
""",
    "generator closed": """
async def numbers():
    yield 1
    yield 2
async def test_it():
    async for number in numbers():
        pass
""",
    "server closed": """
async def test_it():
    async with await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0):
        pass
""",
    "executor used properly": """
async def test_it():
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        await asyncio.get_running_loop().run_in_executor(executor, int)
""",
    "exception that is retrieved": """
async def explode():
    raise ValueError
async def test_it():
    with pytest.raises(ValueError):
        await asyncio.create_task(explode())
""",
}

MARK_ALL = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.no_leaks)
"""

TOOLS = {
    "taskleak": ["-p", "taskleak"],
    "pyleak": ["-p", "pyleak.pytest_plugin", "-p", "mark_all"],
    "-W error": ["-W", "error"],
}


def fails(source: str, tool: str) -> bool:
    """Whether a run of the source under the tool fails."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "test_it.py").write_text(PRELUDE + source, encoding="utf-8")
        (folder / "mark_all.py").write_text(MARK_ALL, encoding="utf-8")
        ini = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
        (folder / "pytest.ini").write_text(ini, encoding="utf-8")
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "pytest_asyncio.plugin", *TOOLS[tool]],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": place, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    if result.returncode not in (0, 1):
        raise RuntimeError(result.stdout + result.stderr)
    return result.returncode == 1


def table(title: str, sources: dict[str, str], yes: str) -> None:
    """Print a row for each source, and the count."""
    print(f"\n{title:44}" + "".join(f"{tool:>12}" for tool in TOOLS))
    counts = dict.fromkeys(TOOLS, 0)
    for name, source in sources.items():
        words: list[str] = []
        for tool in TOOLS:
            failed = fails(source, tool)
            counts[tool] += failed
            words.append(yes if failed else "-")
        print(f"{name:44}" + "".join(f"{word:>12}" for word in words))
    print(f"{'of ' + str(len(sources)):44}" + "".join(f"{counts[tool]:>12}" for tool in TOOLS))


if __name__ == "__main__":
    table("leaks found", LEAKS, "found")
    table("clean uses blamed", CLEAN, "blamed")
