"""A process whose memory is limited, and which would die without the breaker."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import asyncio, mmap, os, resource, sys
from reference_queue import MemoryBreaker, MessageQueue

MIB = 2**20
how, limit, with_breaker = sys.argv[1], int(sys.argv[2]) * MIB, sys.argv[3] == "breaker"
if how == "rlimit":
    size = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize")))
    resource.setrlimit(resource.RLIMIT_AS, (size * 1024 + limit,) * 2)
else:
    with open(os.path.join(how, "cgroup.procs"), "w") as file:
        file.write(str(os.getpid()))

async def handler(body):
    await asyncio.sleep(0)

filling = b"x" * MIB

async def main():
    breaker = MemoryBreaker(every=0.001, retry_after=60) if with_breaker else None
    async with MessageQueue(handler, workers=4, breaker=breaker) as queue:
        for number in range(700):
            # What is freed of the heap stays address space, so that the limit of that needs memory outside the heap.
            body = mmap.mmap(-1, MIB) if how == "rlimit" else bytearray(MIB)
            body[:] = filling
            await queue.post(number % 10, body)
            del body
        await queue.join()
        stats = queue.get_memory_stats()
    print(stats.completed, breaker.opened > 0)

asyncio.run(main())
"""


@pytest.fixture
def limited_group():
    """A real cgroup of at most 128 MiB, of whichever version this machine has."""
    limit = str(128 * 2**20)
    if sys.platform != "linux":
        pytest.skip("cgroups are Linux's")
    for parent, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        folder = Path(parent) / f"reference-queue-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / name).write_text(limit)
        except OSError:
            folder.rmdir()
            continue
        yield folder
        folder.rmdir()
        return
    pytest.skip("this user may not make a cgroup with a memory limit here")


def child(how, *options):
    command = [sys.executable, "-c", CHILD, str(how), *options]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells how much counts towards the limit")
def test_a_process_with_a_real_limit_lives_with_the_breaker_and_dies_without_it():
    """700 MiB of messages through 300 MiB."""
    lives = child("rlimit", "300", "breaker")
    assert (lives.returncode, lives.stdout.split()) == (0, ["700", "True"]), lives.stderr
    assert "(RLIMIT_AS)" in lives.stderr
    dies = child("rlimit", "300", "none")
    assert dies.returncode == 1
    assert "Cannot allocate memory" in dies.stderr


def test_a_process_in_a_real_cgroup_lives_with_the_breaker_and_is_killed_without_it(limited_group):
    lives = child(limited_group, "0", "breaker")
    assert (lives.returncode, lives.stdout.split()) == (0, ["700", "True"]), lives.stderr
    assert f"(cgroup /{limited_group.name})" in lives.stderr
    dies = child(limited_group, "0", "none")
    assert dies.returncode == -9
