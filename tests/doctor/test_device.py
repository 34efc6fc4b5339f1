import asyncio
import os
import sys
from pathlib import Path

import psutil
import torch

from scd_tui.catalog.plan import Gpu
from scd_tui.doctor.device import Probed, devices, machine, probe_torch
from scd_tui.worker.client import PROGRAM

CARD = Gpu("cuda:0", 70 << 30, 80 << 30, "NVIDIA H100")
PLAIN = Probed(torch="2.13.0+cpu", seconds=1.0)
CUDA = Probed(torch="2.13.0", cuda="13.0", seconds=1.0)


def none(found: Probed, listed: tuple[Gpu, ...], driver: str, **env: str):
    return devices(found, listed, driver, "auto", env)[1]


def test_processors_and_memory_are_those_of_the_system() -> None:
    processors, memory = machine()
    assert processors.facts["cpus"] == os.cpu_count()
    assert memory.facts["total"] == psutil.virtual_memory().total
    assert 0 < int(str(memory.facts["free"])) <= psutil.virtual_memory().total


def test_torch_is_asked_in_a_process_of_its_own() -> None:
    found = asyncio.run(probe_torch(PROGRAM[: PROGRAM.index("-m")]))
    assert (found.torch, found.cuda) == (torch.__version__, torch.version.cuda)
    assert len(found.devices) == torch.cuda.device_count() and not found.fault


def test_a_torch_that_cannot_be_imported_stops_the_app(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: no such file')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv[1:] = []; "
    code += "import runpy; runpy.run_module('scd_tui.doctor.probe', run_name='__main__')"
    found = asyncio.run(probe_torch((sys.executable, "-c", code)))
    assert "libcudart.so.13" in found.fault
    (one,) = devices(found, (), "", "auto", {})
    assert one.state == "problem"


def test_why_there_is_no_gpu() -> None:
    assert none(PLAIN, (), "").state == "ok"
    built = none(PLAIN, (CARD,), "570.86")
    assert built.state == "warn" and "built without CUDA" in built.says
    hidden = none(CUDA, (), "570.86", CUDA_VISIBLE_DEVICES="")
    assert hidden.state == "warn" and "CUDA_VISIBLE_DEVICES= shows none" in hidden.says
    old = Probed(torch="2.13.0", cuda="13.0", why="The NVIDIA driver on your system is too old")
    refused = none(old, (CARD,), "450.1")
    assert refused.state == "warn" and "too old" in refused.says and "CUDA 13.0" in refused.todo


def test_a_gpu_is_told_with_what_is_free_on_it() -> None:
    found = Probed(torch="2.13.0", cuda="13.0", devices=("NVIDIA H100",))
    of = {one.name: one for one in devices(found, (CARD,), "570.86", "cuda:0", {})}
    assert of["cuda:0"].says == "NVIDIA H100, 75.2 GB of 85.9 GB free, driver 570.86"
    assert of["cuda:0"].facts["free"] == 70 << 30


def test_a_configured_device_that_is_not_there_stops_the_app() -> None:
    found = Probed(torch="2.13.0", cuda="13.0", devices=("NVIDIA H100",))
    for wanted, states in (("cuda:1", {"ok", "problem"}), ("cuda", {"ok"}), ("cpu", {"ok"})):
        assert {one.state for one in devices(found, (CARD,), "570.86", wanted, {})} == states
