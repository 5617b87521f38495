"""What becomes of workers when their program ends: in order, halfway, by Ctrl+C, by `kill -9`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]

PROLOGUE = f"""
import asyncio, os, sys
sys.path.insert(0, {str(TESTS)!r})
from blocking import visit
from reference_queue import MessageQueue
from reference_queue.executors import in_processes, in_threads

PORT = int(sys.argv[1])
"""

LEAVES_WORK = """
async def tell():
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("all cancelled", flush=True)
        raise

async def main():
    global queue, future, telling
    telling = asyncio.create_task(tell())
    queue = MessageQueue({executor}(visit, workers=1))
    future = queue.enqueue("a", (PORT, "a1"))
    await asyncio.to_thread(sys.stdin.readline)
"""

# Each of these programs is ended by a signal, or asks who its parent is.
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals that Windows lacks")


@pytest.fixture
def program(gate, tmp_path):
    """Run a program from a file, in a process group of its own, that can connect to the gate."""

    @asynccontextmanager
    async def program(source):
        path = tmp_path / "program.py"
        path.write_text(PROLOGUE + source, encoding="utf-8")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, path, str(gate.port)), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()

    return program


async def output(process):
    out, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    return out.decode()


RUNS = """
if __name__ == "__main__":
    asyncio.run(main())
    print(future.cancelled())
"""

LEAVES_ITS_LOOP = """
if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    print(future.done())
"""


async def test_a_loop_that_ends_waits_for_its_threads(program, gate):
    async with program(LEAVES_WORK.format(executor="in_threads") + RUNS) as process:
        visit = await gate.begun("a1")
        process.stdin.write(b"\n")
        assert await process.stdout.readline() == b"all cancelled\n"
        await visit.obeyed("keep")
        assert process.returncode is None
        visit.order("return")
        assert await output(process) == "True\n"


async def test_a_loop_that_ends_stops_its_processes(program, gate):
    async with program(LEAVES_WORK.format(executor="in_processes") + RUNS) as process:
        visit = await gate.begun("a1")
        process.stdin.write(b"\n")
        await visit.gone()
        assert await output(process) == "all cancelled\nTrue\n"


async def test_python_waits_for_a_thread_whose_loop_was_left_unfinished(program, gate):
    async with program(LEAVES_WORK.format(executor="in_threads") + LEAVES_ITS_LOOP) as process:
        visit = await gate.begun("a1")
        process.stdin.write(b"\n")
        assert await process.stdout.readline() == b"False\n"
        await visit.obeyed("keep")
        visit.order("return")
        out, _ = await process.communicate()  # its stderr is asyncio's own about the loop
        assert (process.returncode, out) == (0, b"")


async def test_python_kills_a_process_whose_loop_was_left_unfinished(program, gate):
    async with program(LEAVES_WORK.format(executor="in_processes") + LEAVES_ITS_LOOP) as process:
        visit = await gate.begun("a1")
        process.stdin.write(b"\n")
        assert await process.stdout.readline() == b"False\n"
        await visit.gone()
        await process.communicate()
        assert process.returncode == 0


async def test_python_ends_though_an_idle_process_was_never_let_go(program, gate):
    source = """
async def main():
    queue = MessageQueue(in_processes(visit, workers=1))
    print(await queue.enqueue("a", (PORT, "a1")))

if __name__ == "__main__":
    asyncio.run(main())
"""
    async with program(source) as process:
        visit = await gate.begun("a1")
        await visit.obeyed("ignore SIGTERM")
        visit.order("return")
        out, _ = await process.communicate()
        assert (process.returncode, out) == (0, b"A1\n")


@pytest.mark.parametrize("state", ["busy", "idle"])
async def test_processes_end_with_a_parent_that_is_killed(program, gate, state):
    async with program(LEAVES_WORK.format(executor="in_processes") + RUNS) as process:
        visit = await gate.begun("a1")
        if state == "idle":
            await visit.obeyed("keep")  # a connection that is open as long as the process lives
            visit.order("return")
        process.kill()
        await visit.gone()


async def test_an_interrupt_at_the_terminal_spares_a_process_that_is_starting(program, gate):
    """It is in the midst of importing the program's main module, and cannot have said yet what it ignores."""
    source = """
if __name__ == "__mp_main__":
    visit((PORT, "import"))

async def main():
    async with MessageQueue(in_processes(visit, workers=1)) as queue:
        print(await queue.enqueue("a", (PORT, "a1")))

if __name__ == "__main__":
    asyncio.run(main())
"""
    async with program(source) as process:
        visit = await gate.begun("import")
        os.kill(visit.pid, signal.SIGINT)
        visit.order("return")
        (await gate.begun("a1")).order("return")
        assert await output(process) == "A1\n"


async def test_a_program_without_a_main_guard_is_told_what_it_lacks(program):
    source = """
async def main():
    async with MessageQueue(in_processes(visit, workers=1)) as queue:
        await queue.enqueue("a", (PORT, "a1"))

asyncio.run(main())
"""
    async with program(source) as process:
        _, errors = await process.communicate()
        last = errors.decode().splitlines()[-1]
        assert "WorkerNotStarted: A worker process ended before it could take a message: exit code 1." in last
        assert 'needs `if __name__ == "__main__":`' in last
