"""Reads NVML in a child process with a time limit: what goes wrong there becomes a sentence.

- Always answers a `GpuReading`; never raises for what the child does.
- The child has a process group of its own, and all of it is killed at the limit: the frozen file is two processes.
- A child that can't be killed (asleep in the driver) is left behind; the agent goes on.

Source: NVIDIA "Driver Persistence": without it, the first call costs 1 to 3 s per GPU.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from agent.probes.base import blocking
from agent.probes.gpu_reading import GpuReading
from agent.spawn import child_environment

__all__ = ["GONE_LIMIT_S", "NVML_LIMIT_S", "child_command", "end_fault", "hang_fault", "read_nvml"]

#: how long NVML may take to answer, in seconds: enough for a cold driver and eight GPUs
NVML_LIMIT_S = 20.0
#: how long a killed child may take to be gone, in seconds
GONE_LIMIT_S = 1.0
#: how much of the child's last words a fault quotes, in characters
QUOTED = 300


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """How the child ended."""

    #: negative: killed by that signal; None: it had to be killed at the limit
    code: int | None
    stdout: bytes = b""
    stderr: bytes = b""


def child_command(*, executable: str = sys.executable, frozen: bool | None = None, watches: bool = False) -> list[str]:
    """The command line that prints one reading.

    Args:
        executable: the Python, or the frozen agent itself.
        frozen: is it the frozen agent? None: see for yourself.
        watches: print a reading for each line of standard input instead.
    """
    more = ["--watch"] if watches else []
    if getattr(sys, "frozen", False) if frozen is None else frozen:
        return [executable, "__probe", "nvml", *more]
    return [executable, "-m", "agent.probes.nvml_child", *more]


async def read_nvml(
    *, environ: Mapping[str, str], command: Sequence[str] | None = None, limit_s: float = NVML_LIMIT_S
) -> GpuReading:
    """What NVML says, or why it said nothing.

    Args:
        environ: the agent's environment; the child gets it as `child_environment` makes it.
        command: the child's command line; None: `child_command()`.
        limit_s: how long it may take, in seconds.
    """
    arguments = list(command or child_command())
    environment = child_environment(environ, {})
    try:
        ended = await blocking(lambda: _run(arguments, environment, limit_s))
    except OSError as error:
        return GpuReading(fault=f"the NVML child process didn't start: {error}")
    return _reading(ended, limit_s)


def _run(command: list[str], environment: dict[str, str], limit_s: float) -> _Ended:
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        stdout, stderr = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        _kill(child)
        return _Ended(code=None)
    return _Ended(code=child.returncode, stdout=stdout, stderr=stderr)


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """Kill the child and all it started, and close its pipes; wait for it, but not for ever."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.communicate(timeout=GONE_LIMIT_S)
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


def _reading(ended: _Ended, limit_s: float) -> GpuReading:
    if ended.code is None:
        return GpuReading(fault=hang_fault(limit_s))
    if ended.code != 0:
        return GpuReading(fault=end_fault(ended.code, ended.stderr.decode(errors="replace").strip()[-QUOTED:]))
    try:
        return msgspec.json.decode(ended.stdout, type=GpuReading)
    except msgspec.DecodeError as error:
        return GpuReading(fault=f"the NVML child process printed no reading: {error}")


def hang_fault(limit_s: float) -> str:
    """The fault of a child that had to be killed."""
    return f"NVML gave no answer within {limit_s:g} s: the driver hangs"


def end_fault(code: int, said: str = "") -> str:
    """The fault of a child that ended too soon; a negative code is the signal that killed it."""
    if code < 0:
        return f"NVML crashed ({_signal_name(-code)})"
    return f"the NVML child process ended with code {code}" + (f": {said}" if said else "")


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
