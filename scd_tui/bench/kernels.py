"""What a CUDA device is asked to do: how many kernels, launched by how many calls."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

_LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cuGraphLaunch")
_NO_KERNELS = ("Memcpy", "Memset")


@dataclass(frozen=True)
class Kernels:
    """Kernels that ran on the device, copies left out, and calls of the driver that launched some."""

    ran: int
    launches: int


def counted(events: Iterable[tuple[str, bool]]) -> Kernels:
    """From each event's name and whether it is one of the device."""
    seen = list(events)
    return Kernels(
        ran=sum(on_device and not name.startswith(_NO_KERNELS) for name, on_device in seen),
        launches=sum(not on_device and name.startswith(_LAUNCHES) for name, on_device in seen),
    )


def kernels_of(work: Callable[[], object], device: torch.device) -> Kernels | None:
    """What `work` asks of a CUDA device; None on others."""
    if device.type != "cuda":
        return None
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize(device)
    events = profiler.events() or []
    return counted((event.name, event.device_type.name == "CUDA") for event in events)
