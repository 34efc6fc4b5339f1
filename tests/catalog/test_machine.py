import os
import stat
from pathlib import Path

import pytest

from scd_tui.bench.memory import free_bytes
from scd_tui.catalog import machine
from scd_tui.catalog.machine import free_address_space, free_ram, gpus, this_machine, visible_gpus

LISTED = """\
0, GPU-aaaa1111, NVIDIA H200, 139000, 143771
1, GPU-bbbb2222, NVIDIA A10, 20000, 23028
2, GPU-bbcc3333, NVIDIA A10, 23000, 23028
3, GPU-dddd4444, NVIDIA B, [N/A], [N/A]
"""


def names(listed: str, **environment: str) -> list[tuple[str, str, int]]:
    return [(gpu.name, gpu.label, gpu.free >> 20) for gpu in visible_gpus(listed, environment)]


def test_devices_are_numbered_as_cuda_numbers_those_that_it_shows() -> None:
    assert names(LISTED) == [
        ("cuda:0", "NVIDIA H200", 139000),
        ("cuda:1", "NVIDIA A10", 20000),
        ("cuda:2", "NVIDIA A10", 23000),
    ]
    assert names(LISTED, CUDA_VISIBLE_DEVICES="2,0") == [
        ("cuda:0", "NVIDIA A10", 23000),
        ("cuda:1", "NVIDIA H200", 139000),
    ]
    assert names(LISTED, CUDA_VISIBLE_DEVICES="GPU-bbcc")[0][2] == 23000
    # as CUDA: nothing after a name that is none, and nothing for one that is two
    assert names(LISTED, CUDA_VISIBLE_DEVICES="0,7,1") == [("cuda:0", "NVIDIA H200", 139000)]
    assert names(LISTED, CUDA_VISIBLE_DEVICES="GPU-bb") == []
    assert names(LISTED, CUDA_VISIBLE_DEVICES="") == []
    assert names("no devices were found\n") == []


def test_gpus_are_asked_for_through_nvidia_s_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == ()
    program = tmp_path / "nvidia-smi"

    def says(script: str) -> None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    says(f"/bin/cat <<'END'\n{LISTED}END")
    assert [gpu.name for gpu in gpus()] == ["cuda:0", "cuda:1", "cuda:2"]
    says("echo 'NVIDIA-SMI has failed' >&2; exit 9")
    assert gpus() == ()


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="the kernel's own number is Linux's")
def test_free_memory_is_what_the_kernel_says_unless_a_group_has_less() -> None:
    import torch

    kernel = free_bytes(torch.device("cpu"))
    assert kernel is not None
    assert 0 < free_ram() <= 1.1 * kernel
    assert this_machine().ram > 0


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the kernel's account is Linux's"
)
@pytest.mark.parametrize(("limit", "field"), [("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")])
def test_a_process_can_be_limited_to_less_than_the_machine_has(limit: str, field: str) -> None:
    resource = pytest.importorskip("resource")
    which = getattr(resource, limit)
    before = resource.getrlimit(which)
    used = machine._used(field)
    try:
        resource.setrlimit(which, (used + (256 << 20), before[1]))
        free = free_address_space()
        assert free is not None and (200 << 20) < free <= (257 << 20)
        assert this_machine().space is not None
    finally:
        resource.setrlimit(which, before)
    if before[0] == resource.RLIM_INFINITY:
        assert free_address_space() is None


def test_a_group_of_processes_can_have_less_than_the_machine(tmp_path: Path) -> None:
    def group(path: str, most: str, used: int, inactive: int) -> None:
        folder = tmp_path / "fs" / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")

    own = tmp_path / "cgroup"
    own.write_text("0::/slurm/job_7\n")
    root = tmp_path / "fs"
    root.mkdir()
    assert machine._group_room(root, own) is None
    group("slurm/job_7", "max", 10, 0)
    assert machine._group_room(root, own) is None
    group("slurm/job_7", "1000", 700, 300)
    assert machine._group_room(root, own) == 600
    # the group above has still less
    group("slurm", "900", 800, 50)
    assert machine._group_room(root, own) == 150
    own.write_text("4:memory:/old\n")
    assert machine._group_room(root, own) is None
    # as groups of version 1 say it
    folder = root / "memory" / "old" / "job"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("800\n")
    (folder / "memory.usage_in_bytes").write_text("700\n")
    (folder / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 150\n")
    own.write_text("0::/\n4:cpu,memory:/old/job\n")
    assert machine._group_room(root, own) == 250
    assert machine._group_room(root, tmp_path / os.urandom(4).hex()) is None
