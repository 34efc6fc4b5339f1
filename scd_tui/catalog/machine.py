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

_QUERY = ("--query-gpu=index,uuid,name,memory.free,memory.total", "--format=csv,noheader,nounits")
_SECONDS = 5
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def this_machine() -> Machine:
    """What is free here now."""
    return Machine(free_ram(), gpus())


def free_ram() -> int:
    """Bytes of main memory that a process can still take, also where its group of processes has less."""
    free = int(psutil.virtual_memory().available)
    group = _group_room(_CGROUPS, _OWN_CGROUP)
    return free if group is None else min(free, group)


def _group_room(root: Path, own: Path) -> int | None:
    """What control groups (version 2), such as a job's or a container's, leave; None without any."""
    try:
        line = next(x for x in own.read_text("ascii").splitlines() if x.startswith("0::"))
    except (OSError, StopIteration, UnicodeDecodeError):
        return None
    group = root / line.removeprefix("0::").lstrip("/")
    rooms = []
    for folder in (group, *group.parents):
        if not folder.is_relative_to(root):
            break
        room = _room_of(folder)
        if room is not None:
            rooms.append(room)
    return min(rooms, default=None)


def _room_of(group: Path) -> int | None:
    try:
        most = int((group / "memory.max").read_text("ascii"))
        used = int((group / "memory.current").read_text("ascii"))
        stat = (group / "memory.stat").read_text("ascii")
    except (OSError, ValueError):  # no such group, or one without a limit
        return None
    cached = sum(
        int(line.split()[1]) for line in stat.splitlines() if line.startswith("inactive_file ")
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
