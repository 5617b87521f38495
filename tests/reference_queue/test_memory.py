"""How full memory is: every limit that a system can set, in files as they are written, and set for real."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from reference_queue import MemoryUnknown, Meter, Reading
from reference_queue.memory import resident

MIB = 2**20
MEMINFO = "MemTotal:       16384 kB\nMemFree:         1024 kB\nMemAvailable:    8192 kB\n"
STATUS = "Name:\tpython\nVmSize:\t    4096 kB\nVmRSS:\t    2048 kB\nVmData:\t    1024 kB\n"
CGROUP2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
CGROUP1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"


@pytest.fixture
def system(tmp_path):
    """Write the files of a system; those of this process are there already."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    write({"proc/meminfo": MEMINFO, "proc/self/status": STATUS})
    return write


def group2(folder, limit, usage, inactive=0):
    return {
        f"sys/fs/cgroup{folder}/memory.max": f"{limit}\n",
        f"sys/fs/cgroup{folder}/memory.current": f"{usage}\n",
        f"sys/fs/cgroup{folder}/memory.stat": f"anon 5\nfile 7\ninactive_file {inactive}\nactive_file 3\n",
    }


def group1(folder, limit, usage, inactive=0):
    return {
        f"sys/fs/cgroup/memory{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"sys/fs/cgroup/memory{folder}/memory.usage_in_bytes": f"{usage}\n",
        f"sys/fs/cgroup/memory{folder}/memory.stat": f"cache 9\ninactive_file 1\ntotal_inactive_file {inactive}\n",
    }


def test_a_machine_without_other_limits_is_the_limit(system):
    assert Meter(root=system({}))() == Reading(8 * MIB, 16 * MIB, "the machine")


def test_a_group_of_version_2_is_the_limit_without_the_files_that_can_be_dropped(system):
    root = system(
        {
            "proc/self/cgroup": "0::/app\n",
            "proc/self/mountinfo": CGROUP2,
            **group2("/app", 10 * MIB, 9 * MIB, 1 * MIB),
        }
    )
    assert Meter(root=root)() == Reading(8 * MIB, 10 * MIB, "cgroup /app")


def test_every_group_above_counts_and_the_one_nearest_to_its_limit_is_told(system):
    root = system(
        {
            "proc/self/cgroup": "0::/slice/app\n",
            "proc/self/mountinfo": CGROUP2,
            **group2("/slice/app", 4 * MIB, 1 * MIB),
            **group2("/slice", 10 * MIB, 9 * MIB),
            **group2("", "max", 20 * MIB),
        }
    )
    assert Meter(root=root)() == Reading(9 * MIB, 10 * MIB, "cgroup /slice")


@pytest.mark.parametrize(
    ("high", "told"),
    [
        (8 * MIB, Reading(6 * MIB, 8 * MIB, "cgroup /app, memory.high")),
        (12 * MIB, Reading(6 * MIB, 10 * MIB, "cgroup /app")),
        ("max", Reading(6 * MIB, 10 * MIB, "cgroup /app")),
    ],
)
def test_the_limit_above_which_a_group_is_slowed_down_counts_like_the_one_at_which_it_is_killed(system, high, told):
    root = system(
        {
            "proc/self/cgroup": "0::/app\n",
            "proc/self/mountinfo": CGROUP2,
            **group2("/app", 10 * MIB, 6 * MIB),
            "sys/fs/cgroup/app/memory.high": f"{high}\n",
        }
    )
    assert Meter(root=root)() == told


@pytest.mark.parametrize("limit", ["max", "9223372036854771712"])
def test_a_group_without_a_limit_limits_nothing(system, limit):
    root = system(
        {
            "proc/self/cgroup": "0::/app\n",
            "proc/self/mountinfo": CGROUP2,
            **group2("/app", limit, 9 * MIB),
        }
    )
    assert Meter(root=root)().source == "the machine"


def test_a_group_of_version_1_is_found_among_the_other_controllers(system):
    root = system(
        {
            "proc/self/cgroup": "9:name=systemd:/x\n4:cpu,memory:/app\n1:cpu:/y\n0::/\n",
            "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
            "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" + CGROUP1,
            **group1("/app", 10 * MIB, 9 * MIB, 3 * MIB),
            **group1("", 9223372036854771712, 12 * MIB),
        }
    )
    assert Meter(root=root)() == Reading(6 * MIB, 10 * MIB, "cgroup /app")


@pytest.mark.parametrize(
    ("path", "top"),
    [("/", "/"), ("/docker/1234", "/docker/1234"), ("/../..", "/"), ("/../../elsewhere", "/docker/1234")],
    ids=["own namespace", "seen from outside", "above the mount", "beside the mount"],
)
def test_a_container_finds_its_own_group_however_its_path_is_written(system, path, top):
    root = system(
        {
            "proc/self/cgroup": f"0::{path}\n",
            "proc/self/mountinfo": CGROUP2.replace(" / /sys", f" {top} /sys"),
            **group2("", 10 * MIB, 9 * MIB),
        }
    )
    assert Meter(root=root)() == Reading(9 * MIB, 10 * MIB, "cgroup /")


def test_a_group_that_goes_away_or_writes_nonsense_limits_nothing(system):
    root = system(
        {
            "proc/self/cgroup": "0::/app\n",
            "proc/self/mountinfo": CGROUP2,
            **group2("/app", 10 * MIB, 9 * MIB),
        }
    )
    meter = Meter(root=root)
    system({"sys/fs/cgroup/app/memory.current": "nonsense\n"})
    assert meter().source == "the machine"
    (root / "sys/fs/cgroup/app/memory.max").unlink()
    assert meter().source == "the machine"


def test_a_limit_that_is_raised_meanwhile_is_seen(system):
    root = system(
        {
            "proc/self/cgroup": "0::/app\n",
            "proc/self/mountinfo": CGROUP2,
            **group2("/app", 10 * MIB, 9 * MIB),
        }
    )
    meter = Meter(root=root)
    system({"sys/fs/cgroup/app/memory.max": f"{12 * MIB}\n"})
    assert meter() == Reading(9 * MIB, 12 * MIB, "cgroup /app")


def test_a_limit_of_ones_own_is_compared_with_the_resident_set(system):
    assert Meter(3 * MIB, root=system({}))() == Reading(2 * MIB, 3 * MIB, "the limit given")


def test_a_system_that_tells_nothing_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(MemoryUnknown, match=r"cannot be read on this system .* MemoryBreaker\(meter=\.\.\.\)"):
        Meter(root=tmp_path)


def test_a_kernel_that_estimates_no_available_memory_is_told_of(tmp_path, system):
    system({"proc/meminfo": "MemTotal: 16384 kB\n"})
    with pytest.raises(MemoryUnknown):
        Meter(root=tmp_path)


def test_a_reading_says_what_it_is():
    assert str(Reading(430 * MIB, 512 * MIB, "cgroup /app")) == "84%, 430 MiB of 512 MiB (cgroup /app)"


LIMITED = """
import resource, sys
from reference_queue import Meter
name, limit = sys.argv[1], int(sys.argv[2])
resource.setrlimit(getattr(resource, name), (limit, limit))
kept = bytearray(limit // 2)
for page in range(0, len(kept), 4096):
    kept[page] = 1
reading = Meter()()
print(reading.source, reading.limit, reading.used >= len(kept), reading.ratio < 1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells the memory that counts towards these limits")
@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_real_limit_of_a_process_is_compared_with_what_counts_towards_it(name):
    limit = 600 * MIB
    command = [sys.executable, "-c", LIMITED, name, str(limit)]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert result.stdout.split() == [name, str(limit), "True", "True"]


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_the_resident_set_is_about_what_the_system_says_it_was_at_most():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert MIB < resident() <= peak + 16 * MIB
    assert Path("/proc/self/status").exists()
