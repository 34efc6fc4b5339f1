"""How much memory something takes at most, and how much there is."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

_STATUS = Path("/proc/self/status")
_MEMINFO = Path("/proc/meminfo")
_EVERY = 0.002  # seconds
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Memory:
    """Bytes before some work and, at most, during it; None where that cannot be known."""

    before: int | None
    peak: int | None


def _field(path: Path, name: str) -> int | None:
    """Bytes in a line `name:  123 kB` of one of the kernel's files."""
    try:
        text = path.read_text("ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    return None


def anonymous_bytes() -> int | None:
    """What this process has in memory that is no file's: all tensors, and all else that is allocated."""
    return _field(_STATUS, "RssAnon")


def free_bytes(device: torch.device) -> int | None:
    """What can still be allocated on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return _field(_MEMINFO, "MemAvailable")


def watched(work: Callable[[], _Result], device: torch.device) -> tuple[_Result, Memory]:
    """Do some work, and look at the memory meanwhile: its result, and how much there was at most.

    On CUDA it is the memory allocated there, else the anonymous memory of the process, looked at
    every two milliseconds and once more while the result is still held.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        rest = torch.cuda.memory_allocated(device)
        result = work()
        return result, Memory(rest, torch.cuda.max_memory_allocated(device))
    before = anonymous_bytes()
    if before is None:
        return work(), Memory(None, None)
    seen = [before]
    done = threading.Event()

    def look() -> None:
        while not done.wait(_EVERY):
            seen.append(anonymous_bytes() or 0)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        result = work()
        seen.append(anonymous_bytes() or 0)
    finally:
        done.set()
        watcher.join()
    return result, Memory(before, max(seen))
