"""What NVML says of a GPU that moves: use, memory, heat, power, memory errors, and whether it wants a reset.

Runs in the child process only.

- A figure that isn't told is left out: MIG slices have no use, some cards no power.
- A GPU is at fault when the driver asks for its reset (drivers since 565 say so), and for a while after an Xid that
  ends all work on it. Other Xids are a program's own doing (an illegal address, a page fault): told, and no fault.

Source: NVIDIA NVML API reference; NVIDIA "Xid Errors", the catalogue's immediate actions.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import pynvml

from agent.probes.gpu_reading import Gpu, GpuLive
from agent.probes.nvml_facts import Seen, told

__all__ = ["FATAL_XIDS", "XID_HOLD_S", "XidLog", "live_of", "with_recovery_fault"]

#: Xids after which the GPU, not only the program, needs help: controller halt, off the bus, uncontained memory error,
#: GSP time-out and fault, unrecovered memory error, failed initialisation
FATAL_XIDS = frozenset({62, 79, 95, 119, 120, 140, 143})

#: so long after such an Xid the GPU isn't trusted, whatever else NVML says, in seconds
XID_HOLD_S = 60.0

#: what the driver can ask for, by number; 0 is "nothing"
ACTIONS = {
    pynvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET: "a reset of the GPU",
    pynvml.NVML_GPU_RECOVERY_ACTION_NODE_REBOOT: "a reboot",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET: "a drain and a reset of the GPU",
}

#: at most so many events are taken in at once
EVENTS_AT_ONCE = 64

MILLI = 1000


def live_of(handle: Any) -> GpuLive:
    """The figures of one GPU or slice. Raises: NVMLError, when it is gone."""
    memory = told(partial(pynvml.nvmlDeviceGetMemoryInfo, handle))
    use = told(partial(pynvml.nvmlDeviceGetUtilizationRates, handle))
    milliwatts = told(partial(pynvml.nvmlDeviceGetPowerUsage, handle))
    return GpuLive(
        use_percent=None if use is None else int(use.gpu),
        memory_used_bytes=None if memory is None else int(memory.used),
        temperature_c=told(partial(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)),
        power_w=None if milliwatts is None else milliwatts / MILLI,
        ecc_uncorrected=told(
            partial(
                pynvml.nvmlDeviceGetTotalEccErrors,
                handle,
                pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                pynvml.NVML_VOLATILE_ECC,
            )
        ),
    )


def with_recovery_fault(gpu: Gpu, handle: Any) -> Gpu:
    """The GPU, at fault when its driver asks for more than a new start of the program."""
    fields = told(partial(pynvml.nvmlDeviceGetFieldValues, handle, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION]))
    if not fields or fields[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return gpu
    action = ACTIONS.get(int(fields[0].value.uiVal))
    if action is None:
        return gpu
    return msgspec.structs.replace(gpu, fault=f"the driver asks for {action}", is_lost=True)


class XidLog:
    """The critical events of all GPUs; one for the whole life of the child."""

    def __init__(self) -> None:
        self._events: Any = None
        #: handle's address → UUID, of the session that is open
        self._names: dict[int, str] = {}
        #: UUID → latest Xid
        self.latest: dict[str, int] = {}
        #: UUID → the Xid that ended its work, and when
        self._fatal: dict[str, tuple[int, float]] = {}

    def open(self, seen: Sequence[Seen]) -> None:
        """Listen to these GPUs; drivers that tell no events are left alone."""
        self._events = told(pynvml.nvmlEventSetCreate)
        if self._events is None:
            return
        for gpu, handle in seen:
            if handle is None or gpu.parent is not None or gpu.uuid is None:
                continue
            self._names[_address(handle)] = gpu.uuid
            told(partial(pynvml.nvmlDeviceRegisterEvents, handle, pynvml.nvmlEventTypeXidCriticalError, self._events))

    def close(self) -> None:
        """Stop listening; what was heard is kept."""
        if self._events is not None:
            told(partial(pynvml.nvmlEventSetFree, self._events))
        self._events = None
        self._names.clear()

    def listen(self, now_s: float) -> None:
        """Take in what has happened since the last time."""
        for _ in range(EVENTS_AT_ONCE if self._events is not None else 0):
            event = told(partial(pynvml.nvmlEventSetWait_v2, self._events, 0))
            if event is None:
                return
            uuid = self._names.get(_address(event.device))
            if uuid is not None:
                self._note(uuid, int(event.eventData), now_s)

    def _note(self, uuid: str, xid: int, now_s: float) -> None:
        self.latest[uuid] = xid
        if xid in FATAL_XIDS:
            self._fatal[uuid] = (xid, now_s)

    def with_fault(self, gpu: Gpu, now_s: float) -> Gpu:
        """The GPU, at fault while an Xid of it, or of the GPU it is cut from, counts."""
        xid, at_s = self._fatal.get(gpu.parent or gpu.uuid or "", (0, -XID_HOLD_S))
        if now_s - at_s >= XID_HOLD_S:
            return gpu
        said = f"; {gpu.fault}" if gpu.fault else ""
        return msgspec.structs.replace(gpu, fault=f"GPU lost: Xid {xid}{said}", is_lost=True)


def _address(handle: Any) -> int:
    """What tells two handles of NVML apart."""
    from ctypes import c_void_p, cast

    return int(cast(handle, c_void_p).value or 0)
