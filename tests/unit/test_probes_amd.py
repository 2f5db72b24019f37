"""AMD GPUs out of a tree that looks like `/sys`."""

import os
import threading
from pathlib import Path

import pytest

from agent.probes.amd_smi import read_amd
from agent.probes.gpu_amd import AmdReader, amd_reading
from agent.probes.gpu_reading import GpuLive
from agent.workers import worker_environment
from tests.support.waiting import wait_until

MI300X_BYTES = 206_141_652_992
MARKETING = "# List of AMDGPU IDs\n1.0.0\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n744C,\tCC,\tAMD Radeon RX 7900 XT\n"
PCI_IDS = "10de  NVIDIA Corporation\n\t744c  not this\n1002  Advanced Micro Devices\n\t744c  Navi 31 [Radeon RX 7900]\n"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return folder


def card(root: Path, number: int = 0, **files: str) -> Path:
    """A Radeon RX 7900 XTX."""
    real = root / f"sys/devices/pci0000:00/0000:0{number + 3}:00.0"
    usual = {
        "vendor": "0x1002",
        "device": "0x744c",
        "revision": "0xc8",
        "unique_id": f"a1b2c3d4e5f6070{number}",
        "mem_info_vram_total": str(24 << 30),
        "mem_info_vram_used": str(2 << 30),
    }
    write(real, **{**usual, **files})
    (real / f"drm/renderD{128 + number}").mkdir(parents=True)
    link = root / f"sys/class/drm/card{number}"
    link.mkdir(parents=True)
    (link / "device").symlink_to(real)
    (root / f"sys/class/drm/card{number}-HDMI-A-1").mkdir()
    return real


def test_a_machine_without_amd_has_none(tmp_path: Path) -> None:
    card(tmp_path, vendor="0x10de")
    reading = amd_reading(tmp_path)
    assert (reading.gpus, reading.fault) == ((), None)
    assert amd_reading(tmp_path / "nowhere").gpus == ()


def test_every_fact_of_a_card_is_read(tmp_path: Path) -> None:
    card(tmp_path, product_name="AMD Instinct MI300X", mem_info_vram_total=str(MI300X_BYTES))
    write(tmp_path, sys__module__amdgpu__version="6.10.5")
    (gpu,) = amd_reading(tmp_path).gpus
    assert (gpu.index, gpu.uuid, gpu.vendor, gpu.model) == (0, "GPU-a1b2c3d4e5f60700", "amd", "AMD Instinct MI300X")
    assert (gpu.memory_bytes, gpu.driver, gpu.address) == (MI300X_BYTES, "6.10.5", "0000:03:00.0")
    assert (gpu.cuda, gpu.compute_capability, gpu.mig, gpu.fault) == (None, None, None, None)


def test_live_figures_are_read(tmp_path: Path) -> None:
    card(
        tmp_path,
        gpu_busy_percent="37",
        hwmon__hwmon4__temp1_input="61000",
        hwmon__hwmon4__power1_average="210500000",
        ras__umc_err_count="ue: 2\nce: 5",
    )
    assert amd_reading(tmp_path).live == {
        "GPU-a1b2c3d4e5f60700": GpuLive(
            use_percent=37, memory_used_bytes=2 << 30, temperature_c=61, power_w=210.5, ecc_uncorrected=2
        )
    }


def test_newer_kernels_tell_power_under_another_name_and_what_is_not_told_is_left_out(tmp_path: Path) -> None:
    card(tmp_path, hwmon__hwmon4__power1_input="99000000", gpu_busy_percent="")
    assert amd_reading(tmp_path).live["GPU-a1b2c3d4e5f60700"] == GpuLive(memory_used_bytes=2 << 30, power_w=99.0)


@pytest.mark.parametrize(
    ("place", "text", "name"),
    [
        ("usr/share/libdrm/amdgpu.ids", MARKETING, "AMD Radeon RX 7900 XTX"),
        ("usr/share/hwdata/pci.ids", PCI_IDS, "AMD Navi 31 [Radeon RX 7900]"),
        ("usr/share/misc/pci.ids", "", None),
    ],
)
def test_a_card_without_a_name_of_its_own_is_looked_up(tmp_path: Path, place: str, text: str, name: str | None) -> None:
    card(tmp_path)
    write(tmp_path, **{place.replace("/", "__"): text})
    assert amd_reading(tmp_path).gpus[0].model == name


def test_the_graphics_part_of_a_processor_is_left_out(tmp_path: Path) -> None:
    card(tmp_path, 0, mem_info_vram_total=str(512 << 20))
    card(tmp_path, 1)
    assert [gpu.uuid for gpu in amd_reading(tmp_path).gpus] == ["GPU-a1b2c3d4e5f60701"]


def test_cards_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        card(tmp_path, number)
    (tmp_path / "sys/class/drm/card1").rename(tmp_path / "sys/class/drm/card10")
    assert [str(gpu.uuid)[-1] for gpu in amd_reading(tmp_path).gpus] == ["0", "2", "1"]


def test_a_container_only_has_the_cards_it_was_given(tmp_path: Path) -> None:
    card(tmp_path, 0)
    card(tmp_path, 1)
    write(tmp_path, **{".dockerenv": "", "dev__dri__renderD129": ""})
    assert [gpu.uuid for gpu in amd_reading(tmp_path).gpus] == ["GPU-a1b2c3d4e5f60701"]


def test_a_card_without_an_id_is_known_by_its_address_and_chosen_by_its_number(tmp_path: Path) -> None:
    card(tmp_path, unique_id="")
    (gpu,) = amd_reading(tmp_path).gpus
    assert gpu.uuid == "PCI-0000:03:00.0"
    assert worker_environment([gpu]) == {"ROCR_VISIBLE_DEVICES": "0"}


def test_a_program_sees_its_card_and_no_other(tmp_path: Path) -> None:
    card(tmp_path)
    (gpu,) = amd_reading(tmp_path).gpus
    assert worker_environment([gpu]) == {"ROCR_VISIBLE_DEVICES": "GPU-a1b2c3d4e5f60700"}


def test_a_card_that_answers_with_an_error_is_lost(tmp_path: Path) -> None:
    device = card(tmp_path)
    (device / "mem_info_vram_used").unlink()
    (device / "mem_info_vram_used").mkdir()  # the nearest thing to a file that can't be read, also for root
    (gpu,) = amd_reading(tmp_path).gpus
    assert gpu.is_lost
    assert gpu.fault == "amdgpu: Is a directory (EISDIR)"
    assert amd_reading(tmp_path).live == {}


async def test_the_reader_reads_without_a_child(tmp_path: Path) -> None:
    card(tmp_path)
    reader = AmdReader(tmp_path)
    assert len((await reader.read()).gpus) == 1
    await reader.close()


async def test_a_driver_that_hangs_costs_one_thread_however_often_it_is_asked(tmp_path: Path) -> None:
    stuck = card(tmp_path) / "vendor"
    stuck.unlink()
    os.mkfifo(stuck)  # opening it waits for somebody who writes
    reader = AmdReader(tmp_path, limit_s=0.05)
    threads = threading.active_count()
    for _ in range(3):
        assert (await reader.read()).fault == "the amdgpu driver gave no answer within 0.05 s"
    assert threading.active_count() == threads + 1
    stuck.write_text("0x1002\n")  # it answers at last
    await wait_until(lambda: threading.active_count() == threads, 5, "the thread has ended")
    stuck.unlink()
    stuck.write_text("0x1002\n")
    assert (await reader.read()).fault is None
    assert len((await reader.read()).gpus) == 1
    await reader.close()


FAKE_AMDSMI = """
class AmdSmiLibraryException(Exception): pass
def amdsmi_init(): pass
def amdsmi_get_processor_handles(): return ["one", "other"]
def amdsmi_get_gpu_device_bdf(handle): return "0000:03:00.0" if handle == "one" else "0000:99:00.0"
def amdsmi_get_gpu_asic_info(handle): return {"market_name": "AMD Instinct MI210"}
def amdsmi_get_gpu_vram_info(handle): raise AmdSmiLibraryException("not here")
def amdsmi_get_gpu_driver_info(handle): return {"driver_version": "N/A"}
"""


@pytest.fixture
def amdsmi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for ROCm's module, found by this process and its children."""
    folder = tmp_path / "rocm"
    folder.mkdir()
    (folder / "amdsmi.py").write_text(FAKE_AMDSMI)
    monkeypatch.syspath_prepend(folder)
    return folder


async def test_amdsmi_fills_in_what_the_kernel_does_not_tell(tmp_path: Path, amdsmi: Path) -> None:
    card(tmp_path)
    environ = {"PYTHONPATH": f"{amdsmi}:{Path.cwd()}"}
    (gpu,) = (await read_amd(tmp_path, environ=environ)).gpus
    assert (gpu.model, gpu.memory_bytes, gpu.driver) == ("AMD Instinct MI210", 24 << 30, None)


async def test_an_amdsmi_that_crashes_costs_only_what_it_would_have_told(tmp_path: Path, amdsmi: Path) -> None:
    (amdsmi / "amdsmi.py").write_text("import os\nos.abort()\n")
    card(tmp_path)
    environ = {"PYTHONPATH": f"{amdsmi}:{Path.cwd()}"}
    (gpu,) = (await read_amd(tmp_path, environ=environ)).gpus
    assert (gpu.model, gpu.memory_bytes) == (None, 24 << 30)
