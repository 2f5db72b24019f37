"""Asks a child process that stays about NVML, again and again: cheap enough for every few seconds.

- Always answers a `GpuReading`; never raises for what the child does. One that hangs is killed, one that ended is
  replaced by the next asking.
- The first answer of a child may take as long as a cold driver needs; the later ones may not.
- While it is there, NVML stays open: closed, a card without persistence mode would need seconds for each reading. Close
  the session before a MIG layout is changed or a GPU is reset.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

import msgspec

from agent.probes.gpu_nvml import GONE_LIMIT_S, NVML_LIMIT_S, child_command, end_fault, hang_fault
from agent.probes.gpu_reading import GpuReading
from agent.spawn import child_environment, spawn

__all__ = ["WARM_LIMIT_S", "NvmlReader"]

#: how long an NVML that has answered before may take, in seconds
WARM_LIMIT_S = 5.0


class NvmlReader:
    """Reads NVML through one child process.

    Args:
        environ: the agent's environment; the child gets it as `child_environment` makes it.
        command: the child's command line; None: the agent's own.
        limit_s: how long the first answer may take, in seconds.
        warm_limit_s: how long each later one may take.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        command: Sequence[str] | None = None,
        limit_s: float = NVML_LIMIT_S,
        warm_limit_s: float = WARM_LIMIT_S,
    ) -> None:
        self._environ = environ
        self._command = list(command or child_command(watches=True))
        self._limits_s = (limit_s, warm_limit_s)
        self._child: asyncio.subprocess.Process | None = None
        self._is_warm = False

    async def read(self) -> GpuReading:
        """What NVML says now, or why it said nothing."""
        try:
            child = self._child = self._child or await self._start()
        except OSError as error:
            return GpuReading(fault=f"the NVML child process didn't start: {error}")
        limit_s = self._limits_s[self._is_warm]
        is_whole = False
        try:
            async with asyncio.timeout(limit_s):
                reading = await _ask(child)
            is_whole = reading.fault is None
        except TimeoutError:
            reading = GpuReading(fault=hang_fault(limit_s))
        finally:  # also when cancelled: its late answer must not be taken for the next one's
            if not is_whole:
                await self.close()
        self._is_warm = is_whole and not any(gpu.is_lost for gpu in reading.gpus)  # it lets NVML go then
        return reading

    async def close(self) -> None:
        """End the child; the next reading starts another."""
        child, self._child, self._is_warm = self._child, None, False
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):  # asleep in the driver: it is left behind
            async with asyncio.timeout(GONE_LIMIT_S):
                await child.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        environment = child_environment(self._environ, {})
        return await spawn(self._command, environment, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)


async def _ask(child: asyncio.subprocess.Process) -> GpuReading:
    if child.stdin is None or child.stdout is None:
        raise AssertionError("the child was started with pipes")
    with contextlib.suppress(ConnectionError):
        child.stdin.write(b"\n")
        await child.stdin.drain()
    line = await child.stdout.readline()
    if not line:
        return GpuReading(fault=end_fault(await child.wait()))
    try:
        return msgspec.json.decode(line, type=GpuReading)
    except msgspec.DecodeError as error:
        return GpuReading(fault=f"the NVML child process printed no reading: {error}")
