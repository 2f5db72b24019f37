"""Processor, memory, disk, operating system, and the signs of a GPU."""

from pathlib import Path

import pytest

from agent.probes.cpu import cpu_model, cpu_part, cpu_probe
from agent.probes.disk import disk_part
from agent.probes.memory import gib, memory_bytes, memory_part
from agent.probes.nvidia_devices import has_driver, nvidia_devices
from agent.probes.os_release import os_part, os_probe, own_words, parse_os_release

EPYC = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 7763\n\nprocessor\t: 1\n"


def test_the_processor_names_itself() -> None:
    assert cpu_model(EPYC) == "AMD EPYC 7763"
    assert cpu_model("processor : 0\nCPU part : 0xd4f\n") is None
    assert cpu_model("model name : \n") is None


def test_processor_facts_that_are_unknown_are_left_out() -> None:
    assert cpu_part(model=None, cores=None, threads=None, limit=None) == {}
    assert cpu_part(model="M", cores=None, threads=4, limit=None) == {"cpu": {"model": "M", "threads": 4}}


@pytest.mark.parametrize(
    ("limit", "cores", "threads"),
    [(None, 16, 32), (64.0, 16, 32), (20.0, 16, 20), (3.5, 4, 4), (0.5, 1, 1)],
)
def test_a_limited_process_tells_no_more_than_it_may_use(limit: float | None, cores: int, threads: int) -> None:
    assert cpu_part(model=None, cores=16, threads=32, limit=limit) == {"cpu": {"cores": cores, "threads": threads}}


async def test_the_processor_of_this_machine_is_read(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(EPYC)
    cpu = (await cpu_probe(tmp_path).read())["cpu"]
    assert cpu["model"] == "AMD EPYC 7763"
    assert cpu["threads"] >= 1


@pytest.mark.parametrize(
    ("size_bytes", "told"),
    [
        (24_564 << 20, 24.0),  # RTX 4090
        (81_559 << 20, 79.6),  # H100, "80 GB"
        (23_034 << 20, 22.5),  # L4, "24 GB"
    ],
)
def test_gib_is_rounded_to_a_tenth(size_bytes: int, told: float) -> None:
    assert gib(size_bytes) == told


def test_memory_is_what_the_control_group_allows(tmp_path: Path) -> None:
    for name, text in {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1048576\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory_bytes(tmp_path) == 1 << 20


def test_memory_without_a_limit_is_all_there_is(tmp_path: Path) -> None:
    assert memory_bytes(tmp_path) > 1 << 20
    assert memory_part(8 << 30) == {"ram_gb": 8.0}
    assert memory_part(0) == {}


def test_disk_is_that_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert disk_part(tmp_path / "not" / "yet") == disk_part(tmp_path)
    assert disk_part(tmp_path)["disk_gb"] > 0
    assert disk_part(Path("relative/nowhere")) == disk_part(Path.cwd())


def test_os_release_is_unquoted_and_comments_are_skipped() -> None:
    text = '# comment=1\nID=ubuntu\nVERSION_ID="22.04"\nNAME=\'Some "OS"\'\nBROKEN="x\n\nnonsense\n'
    assert parse_os_release(text) == {"ID": "ubuntu", "VERSION_ID": "22.04", "NAME": 'Some "OS"', "BROKEN": '"x'}


def test_a_rolling_distribution_has_no_version() -> None:
    assert os_part({"ID": "arch"}, arch="x86_64") == {"os": {"name": "arch", "arch": "x86_64"}}
    assert os_part({}, arch="") == {}


def test_a_platform_without_such_a_file_says_what_it_is() -> None:
    assert own_words("Darwin", "15.1") == {"ID": "macos", "VERSION_ID": "15.1"}
    assert own_words("Windows", "11") == {"ID": "windows", "VERSION_ID": "11"}
    assert own_words("Linux") == {}


async def test_the_first_os_release_file_counts(tmp_path: Path) -> None:
    for name, text in {"usr/lib/os-release": "ID=fallback\n", "etc/os-release": "ID=debian\nVERSION_ID=12\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    system = (await os_probe(tmp_path).read())["os"]
    assert (system["name"], system["version"]) == ("debian", "12")
    (tmp_path / "etc/os-release").unlink()
    assert (await os_probe(tmp_path).read())["os"]["name"] == "fallback"


def pci_device(root: Path, address: str, vendor: str, pci_class: str) -> None:
    folder = root / "sys/bus/pci/devices" / address
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "class").write_text(f"{pci_class}\n")


def test_a_machine_without_a_sign_of_a_gpu_has_none(tmp_path: Path) -> None:
    pci_device(tmp_path, "0000:00:02.0", "0x8086", "0x030000")
    pci_device(tmp_path, "0000:01:00.1", "0x10de", "0x040300")  # the sound part of a graphics card
    (tmp_path / "sys/bus/pci/devices/0000:02:00.0").mkdir()  # tells nothing
    assert nvidia_devices(tmp_path) == 0


def test_gpus_are_seen_on_the_bus(tmp_path: Path) -> None:
    pci_device(tmp_path, "0000:01:00.0", "0x10de", "0x030000")
    pci_device(tmp_path, "0000:02:00.0", "0x10de", "0x030200")
    assert nvidia_devices(tmp_path) == 2


def test_device_files_count_before_the_bus(tmp_path: Path) -> None:
    pci_device(tmp_path, "0000:01:00.0", "0x10de", "0x030000")
    pci_device(tmp_path, "0000:02:00.0", "0x10de", "0x030000")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    assert nvidia_devices(tmp_path) == 1


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_a_container_only_has_the_gpus_it_was_given(tmp_path: Path, mark: str) -> None:
    pci_device(tmp_path, "0000:01:00.0", "0x10de", "0x030000")
    pci_device(tmp_path, "0000:02:00.0", "0x10de", "0x030200")
    (tmp_path / mark).parent.mkdir(exist_ok=True)
    (tmp_path / mark).touch()
    assert nvidia_devices(tmp_path) == 0
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    assert nvidia_devices(tmp_path) == 1


def test_a_container_may_see_the_driver_of_gpus_that_it_was_not_given(tmp_path: Path) -> None:
    assert not has_driver(tmp_path)
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").touch()
    assert has_driver(tmp_path)
