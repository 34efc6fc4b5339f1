from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scd_tui.attribution.load import load
from scd_tui.attribution.placing import machine_of, ways
from scd_tui.catalog.models import find
from scd_tui.catalog.plan import Gpu, Machine
from scd_tui.errors import RunError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def gb(ram: float, *gpus: float) -> Machine:
    made = (Gpu(f"cuda:{n}", int(g * 1e9), int(g * 1e9)) for n, g in enumerate(gpus))
    return Machine(int(ram * 1e9), tuple(made))


def test_the_ways_are_the_plan_s_of_that_device_alone() -> None:
    spec = find("gpt2-small:v5-128k")
    found, why = ways(spec, CPU, stream=False, machine=gb(20, 80))
    assert [way.words.split(",")[0] for way in found] == ["streamed on cpu"]
    assert found[0].stream and why.startswith("all of it takes 30.8 GB in main memory")
    found, why = ways(spec, CUDA, stream=False, machine=gb(20, 80))
    assert [(way.words.split(",")[0], way.stream) for way in found] == [
        ("resident on cuda:0", False),
        ("streamed on cuda:0", True),
    ]
    assert why == ""
    (only,), _ = ways(spec, torch.device("cuda", 1), stream=True, machine=gb(20, 4, 80))
    assert only.words.startswith("streamed on cuda:1")


def test_several_gpus_get_what_each_may_hold() -> None:
    spec = find("gemma-2-9b")
    found, _ = ways(spec, CUDA, stream=False, machine=gb(200, 60, 60, 60))
    assert found[0].words.startswith("spread over 3 GPUs (not measured)")
    assert set(found[0].max_memory) == {0, 1, 2} and found[0].stream


def test_what_does_not_fit_is_refused_before_anything_is_loaded_unless_it_is_insisted_on() -> None:
    spec = find("gemma-2-9b")
    with pytest.raises(RunError, match=r"gemma-2-9b with gemmascope-16k does not fit: all of it "):
        ways(spec, CPU, stream=False, machine=gb(8))
    (way,), why = ways(spec, CPU, stream=True, machine=gb(8))
    assert way.stream and why == ""


def test_what_is_not_known_is_tried() -> None:
    found, why = ways(find("qwen3-8b-base"), CPU, stream=False, machine=gb(8))
    assert [way.stream for way in found] == [False, True] and why == ""


def test_loading_says_how_before_it_loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stages: list[str] = []
    loaded = load(find("demo"), CPU, lambda stage, done, total: stages.append(stage))
    assert stages[0].startswith("loading the model, resident on cpu, ")
    assert loaded.notes == ()
    small = replace(machine_of(CPU), ram=478_000_000)
    monkeypatch.setattr("scd_tui.attribution.placing.machine_of", lambda device: small)
    stages.clear()
    loaded = load(find("demo"), CPU, lambda stage, done, total: stages.append(stage))
    assert stages[0].startswith("loading the model, streamed on cpu, ")
    assert loaded.notes[0].startswith("streamed on cpu, ")
    assert "all of it takes 458 MB in main memory, where 478 MB are free" in loaded.notes[0]
