"""What memory this machine has free, found out without loading a library that computes.

GPUs are asked for through NVIDIA's own program, which takes a twentieth of a second where torch takes
three. It numbers devices as CUDA does with `CUDA_DEVICE_ORDER=PCI_BUS_ID`; what the worker plans with is
asked of CUDA itself.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from scd_tui.catalog.plan import Gpu, Machine

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

_QUERY = ("--query-gpu=index,uuid,name,memory.free,memory.total", "--format=csv,noheader,nounits")
_SECONDS = 5
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_OWN_STATUS = Path("/proc/self/status")
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")
"""Files with a control group's limit and use, and the part of its use that it gives back when asked."""
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
"""The same, by their older names. Without a limit the first holds a number larger than any memory."""


def this_machine() -> Machine:
    """What is free here now."""
    return Machine(free_ram(), gpus(), free_address_space())


def free_ram() -> int:
    """Bytes of main memory that a process can still take, also where its group of processes has less."""
    free = int(psutil.virtual_memory().available)
    group = _group_room(_CGROUPS, _OWN_CGROUP)
    return free if group is None else min(free, group)


def free_address_space() -> int | None:
    """Bytes that this process can still map under its own limits (`ulimit -v`, `ulimit -d`); None
    without any. Files that are mapped count too."""
    if resource is None:
        return None
    rooms = []
    for limit, field in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most, _ = resource.getrlimit(limit)
        if most != resource.RLIM_INFINITY:
            rooms.append(max(0, most - _used(field)))
    return min(rooms, default=None)


def _used(field: str) -> int:
    """Bytes in a line `VmSize:  123 kB` of the kernel's account of this process; all of its address
    space where there is no such account."""
    try:
        lines = _OWN_STATUS.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    for line in lines:
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    return int(psutil.Process().memory_info().vms)


def _group_room(root: Path, own: Path) -> int | None:
    """What control groups, such as a job's or a container's, leave; None without any.

    Those of version 2 are folders in `root`, those of version 1 that count memory in `root/memory`.
    """
    try:
        lines = own.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    rooms: list[int] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            rooms += _rooms_up_to(root, path, _VERSION_2)
        elif "memory" in controllers.split(","):
            rooms += _rooms_up_to(root / "memory", path, _VERSION_1)
    return min(rooms, default=None)


def _rooms_up_to(root: Path, path: str, names: tuple[str, str, str]) -> list[int]:
    """What each group from a path up to the root leaves, where it has a limit."""
    group = root / path.lstrip("/")
    folders = [folder for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return [room for folder in folders if (room := _room_of(folder, names)) is not None]


def _room_of(group: Path, names: tuple[str, str, str]) -> int | None:
    limit, current, inactive = names
    try:
        most = int((group / limit).read_text("ascii"))
        used = int((group / current).read_text("ascii"))
        stat = (group / "memory.stat").read_text("ascii")
    except (OSError, ValueError):  # no such group, or one without a limit
        return None
    cached = sum(
        int(line.split()[1]) for line in stat.splitlines() if line.startswith(f"{inactive} ")
    )
    return max(0, most - used + cached)


def gpus() -> tuple[Gpu, ...]:
    """The CUDA devices that a process started from here would see; none where that cannot be asked."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        done = subprocess.run(
            [program, *_QUERY], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return visible_gpus(done.stdout, os.environ)


def visible_gpus(listed: str, environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The devices of a list of `index, uuid, name, free, total` (MiB), as CUDA numbers those it shows."""
    by_name: dict[str, tuple[str, int, int]] = {}
    order: list[str] = []
    for line in listed.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 5 or not (parts[3].isdigit() and parts[4].isdigit()):
            continue
        index, uuid, label = parts[:3]
        order.append(index)
        by_name[index] = by_name[uuid] = (label, int(parts[3]) << 20, int(parts[4]) << 20)
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is not None:
        order = []
        for name in wanted.split(","):
            found = [known for known in by_name if name.strip() and known.startswith(name.strip())]
            if name.strip() in by_name:
                order.append(name.strip())
            elif len(found) == 1:  # CUDA takes the beginning of a UUID
                order.append(found[0])
            else:  # and shows none of what comes after a name that is none
                break
    return tuple(
        Gpu(f"cuda:{n}", by_name[name][1], by_name[name][2], by_name[name][0])
        for n, name in enumerate(order)
    )
