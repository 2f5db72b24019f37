"""What control groups allow, read from trees like the kernel's."""

from pathlib import Path

import pytest

from agent.probes.cgroup import cpu_limit, memory_limit_bytes

GIB = 1 << 30


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_no_control_groups_means_no_limit(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path) is None
    assert cpu_limit(tmp_path) is None


def test_version_2_limit_of_a_container_stands_at_its_root(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{4 * GIB}\n"})
    assert memory_limit_bytes(root) == 4 * GIB


def test_the_smallest_limit_above_the_process_wins(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/muster.slice/agent.service\n",
        "sys/fs/cgroup/muster.slice/agent.service/memory.max": f"{8 * GIB}\n",
        "sys/fs/cgroup/muster.slice/memory.max": f"{6 * GIB}\n",
        "sys/fs/cgroup/other.slice/memory.max": f"{1 * GIB}\n",
    }
    assert memory_limit_bytes(tree(tmp_path, files)) == 6 * GIB


def test_max_is_no_limit(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/a\n",
        "sys/fs/cgroup/a/memory.max": "max\n",
        "sys/fs/cgroup/a/cpu.max": "max 100000\n",
    }
    assert memory_limit_bytes(tree(tmp_path, files)) is None
    assert cpu_limit(tmp_path) is None


def test_a_group_outside_this_name_space_leaves_the_mount_itself(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/../../other\n",
        "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
        "sys/other/memory.max": f"{1 * GIB}\n",
    }
    assert memory_limit_bytes(tree(tmp_path, files)) == 2 * GIB


def test_version_1_limit_is_read(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "5:cpuset:/\n4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{3 * GIB}\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    assert memory_limit_bytes(tree(tmp_path, files)) == 3 * GIB
    assert cpu_limit(tmp_path) == 1.5


def test_version_1_unlimited_is_no_limit(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/\n1:cpu:/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    assert memory_limit_bytes(tree(tmp_path, files)) is None
    assert cpu_limit(tmp_path) is None


def test_version_2_processor_limit_is_quota_over_period(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}
    assert cpu_limit(tree(tmp_path, files)) == 4.0


@pytest.mark.parametrize("text", ["", "garbage", "-5", "0", "400000"])
def test_what_makes_no_sense_is_no_limit(tmp_path: Path, text: str) -> None:
    files = {
        "proc/self/cgroup": "0::/\nnonsense\n",
        "sys/fs/cgroup/memory.max": text if text != "400000" else "",
        "sys/fs/cgroup/cpu.max": text,
    }
    assert memory_limit_bytes(tree(tmp_path, files)) is None
    assert cpu_limit(tmp_path) is None
