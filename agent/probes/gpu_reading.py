"""What a vendor's driver says about GPUs. The words between the agent and the child processes that ask drivers.

- What is unknown is None and left out, never 0.
- A GPU that is there but can't be used carries its `fault`; it keeps its place, so that its neighbours keep theirs.
- Imports nothing but `msgspec`: a child that stays is small.
"""

import msgspec

__all__ = ["Gpu", "GpuLive", "GpuReading"]


class Gpu(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One GPU, or one MIG slice of one."""

    #: place among the machine's GPUs, faulty ones counted
    index: int
    #: `GPU-...` or `MIG-...`: what `CUDA_VISIBLE_DEVICES` (AMD: `ROCR_VISIBLE_DEVICES`) takes; `PCI-...`: its address,
    #: where a GPU has no id of its own
    uuid: str | None = None
    #: where it sits on the PCI bus, as the kernel writes it; left out where that isn't needed
    address: str | None = None
    #: place among its vendor's GPUs, where that isn't `index`
    number: int | None = None
    #: of a MIG slice: the GPU that it is cut from
    parent: str | None = None
    vendor: str | None = None
    model: str | None = None
    memory_bytes: int | None = None
    #: it has no memory of its own and uses the machine's
    unified: bool = False
    #: 8.9 for compute capability 8.9
    compute_capability: float | None = None
    #: version of the kernel driver: `560.35.03`
    driver: str | None = None
    #: newest CUDA version the driver serves: `12.6`
    cuda: str | None = None
    #: None where the GPU doesn't know MIG
    mig: bool | None = None
    #: why it can't be used, for people; None: it can
    fault: str | None = None
    #: the fault ended what ran on it: it fell off the bus, or must be reset
    is_lost: bool = False


class GpuLive(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Figures of one GPU that move."""

    use_percent: int | None = None
    memory_used_bytes: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    #: uncorrectable memory errors since the driver was loaded
    ecc_uncorrected: int | None = None
    #: the latest critical event that the driver told since the agent began to watch
    xid: int | None = None


class GpuReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one vendor's driver said about the machine."""

    gpus: tuple[Gpu, ...] = ()
    #: by UUID
    live: dict[str, GpuLive] = {}
    #: why the driver couldn't be asked, for people; None: it answered
    fault: str | None = None
    #: the fault is only that no driver is installed: harmless on a machine without a GPU
    absent: bool = False
