"""Asks NVML about every GPU and prints the answer as JSON: the whole life of a child process.

NVIDIA's library can crash or hang whoever calls it, so the agent never does: this file is run as a process of its own
(`python -m agent.probes.nvml_child`, or `muster-agent __probe nvml` of the frozen file) and read by `gpu_nvml`; with
`--watch` it answers one reading per line on its standard input, and is read by `nvml_session`.

- One JSON text of a `GpuReading` on standard output, exit code 0, whenever NVML itself answers, errors included.
- A fact that one GPU doesn't tell is left out; a GPU that doesn't answer carries its fault; the others still count.
- A reading that takes longer than `SELF_LIMIT_S` ends the process, should the agent be gone by then.
- A watching child keeps NVML open; after a lost GPU it opens it anew, and when NVML as a whole fails it ends: only
  another process gets the library of another driver.

Source: NVIDIA NVML API reference; `pynvml` is NVIDIA's own `nvidia-ml-py`.
"""

import os
import resource
import signal
import sys
import time

import msgspec
import pynvml

from agent.probes.gpu_reading import Gpu, GpuLive, GpuReading
from agent.probes.nvml_facts import WHOLE, Seen, see_gpus, sentence
from agent.probes.nvml_live import XidLog, live_of, with_recovery_fault

__all__ = ["NvmlSession", "main", "read", "watch"]

#: a reading may take so long, in seconds; then the process is killed by its own alarm
SELF_LIMIT_S = 60

#: NVML's words for "there is no NVIDIA driver on this machine"
ABSENT = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)

#: what every program that uses a GPU opens first
CONTROL_FILE = "/dev/nvidiactl"


def main() -> None:
    """Print one reading; used as the entry of the child process."""
    _guard()
    _print(read())


def watch() -> None:
    """Print a reading for every line of standard input, until that ends or NVML fails."""
    _guard()
    session = NvmlSession()
    signal.alarm(0)
    for _ in sys.stdin.buffer:
        signal.alarm(SELF_LIMIT_S)
        reading = session.read()
        _print(reading)
        signal.alarm(0)
        if reading.fault is not None:
            return


def read() -> GpuReading:
    """What NVML says about the machine; its errors are answers, too."""
    session = NvmlSession()
    try:
        return session.read()
    finally:
        session.close()


class NvmlSession:
    """NVML, held open from one reading to the next while all is well."""

    def __init__(self) -> None:
        self._xids = XidLog()
        self._is_open = False

    def read(self) -> GpuReading:
        """What NVML says now; its errors are answers, too."""
        denied = denial(CONTROL_FILE)
        if denied is not None:
            return GpuReading(fault=denied)
        try:
            reading = self._reading()
        except pynvml.NVMLError as error:
            self.close()
            return GpuReading(fault=sentence(error), absent=error.value in ABSENT)
        if any(gpu.is_lost for gpu in reading.gpus):
            self.close()
        return reading

    def close(self) -> None:
        """Let NVML go."""
        if not self._is_open:
            return
        self._is_open = False
        for let_go in (self._xids.close, pynvml.nvmlShutdown):
            try:
                let_go()
            except pynvml.NVMLError:
                continue

    def _reading(self) -> GpuReading:
        was_open = self._is_open
        if not was_open:
            pynvml.nvmlInit()
            self._is_open = True
        seen = see_gpus()
        if not was_open:
            self._xids.open(seen)
        now_s = time.monotonic()
        self._xids.listen(now_s)
        live: dict[str, GpuLive] = {}
        gpus = tuple(self._told(one, live, now_s) for one in seen)
        return GpuReading(gpus=gpus, live=live)

    def _told(self, seen: Seen, live: dict[str, GpuLive], now_s: float) -> Gpu:
        """The GPU with its fault, if it has one; puts its figures into `live`."""
        gpu, handle = seen
        if handle is not None and gpu.uuid is not None:
            try:
                figures = live_of(handle)
                live[gpu.uuid] = msgspec.structs.replace(figures, xid=self._xids.latest.get(gpu.parent or gpu.uuid))
                gpu = with_recovery_fault(gpu, handle)
            except pynvml.NVMLError as error:
                if error.value in WHOLE:
                    raise
                gpu = msgspec.structs.replace(gpu, fault=sentence(error), is_lost=True)
        return self._xids.with_fault(gpu, now_s)


def denial(path: str) -> str | None:
    """Why this process may not use the driver; None: it may, or there is no such file.

    A `systemctl daemon-reload` can take the device files from a running container. A library that has them open
    doesn't notice, but every program that starts from then on does.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError as error:
        return f"{path} may not be opened ({error.strerror}): the container has lost its devices, or never had them"
    except OSError:
        return None
    return None


def _guard() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SELF_LIMIT_S)


def _print(reading: GpuReading) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(reading) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:] == ["--watch"]:
        watch()
    else:
        main()
