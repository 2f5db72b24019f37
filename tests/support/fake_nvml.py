"""Builds the stand-in for NVIDIA's library, and writes what it is to say."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["FakeNvml", "build_fake_nvml"]

SOURCE = Path(__file__).with_name("fake_nvml.c")
SONAME = "libnvidia-ml.so.1"


def build_fake_nvml(folder: Path) -> Path:
    """The folder, with the library built into it; the test is skipped where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the stand-in for NVML")
    flags = ["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", f"-Wl,-soname,{SONAME}"]
    subprocess.run([compiler, *flags, "-o", str(folder / SONAME), str(SOURCE)], check=True)
    return folder


class FakeNvml:
    """A machine's NVML as a file that a test edits.

    Args:
        library: folder from `build_fake_nvml`.
        state: file to keep the settings in; `fake_nvml.c` tells which there are.
    """

    def __init__(self, library: Path, state: Path) -> None:
        self._library = library
        self._state = state
        self.says()

    def says(self, **settings: object) -> None:
        """From the next call on, the library answers by these settings and no others."""
        written = self._state.with_suffix(".new")
        written.write_text("".join(f"{name} {value}\n" for name, value in settings.items()), encoding="ascii")
        written.replace(self._state)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a process that is to find this library."""
        return dict(os.environ) | self.variables

    @property
    def variables(self) -> dict[str, str]:
        """What lets a process find this library instead of the machine's."""
        return {"LD_LIBRARY_PATH": str(self._library), "FAKE_NVML_STATE": str(self._state)}
