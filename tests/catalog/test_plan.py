"""Which way of running is chosen, and that what is reckoned is what is taken."""

import json
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scd_tui.catalog.passes import DictionarySize
from scd_tui.catalog.plan import Gpu, Machine, Needs, Plan, needs, plans
from scd_tui.catalog.spec import Shape

GB = 10**9
GPT2 = Shape(
    layers=12,
    width=768,
    heads=12,
    head_width=64,
    mlp=3072,
    vocabulary=50257,
    parameters=124_439_808,
)
V5 = needs(GPT2, (DictionarySize(768, 32_768, 32, mapped=True),) * 36, model_mapped=True)
V5_128K = needs(GPT2, (DictionarySize(768, 131_072, 32, mapped=True),) * 36, model_mapped=True)


def machine(ram: float, *gpus: float) -> Machine:
    """With so many GB free."""
    return Machine(
        int(ram * GB),
        tuple(Gpu(f"cuda:{n}", int(free * GB), int(free * GB)) for n, free in enumerate(gpus)),
    )


def kinds(need: Needs, here: Machine, wanted: str = "auto") -> list[str]:
    return [plan.words for plan in plans(need, here, wanted).plans]


def test_weights_are_counted_in_float32() -> None:
    assert V5.model == V5.model_mapped == 4 * 124_439_808
    # encoder, decoder, two biases, and three bounds a feature
    assert V5.largest == 4 * (2 * 768 * 32_768 + 768 + 4 * 32_768)
    assert V5.dictionaries == V5.mapped == 36 * V5.largest


def test_with_room_everything_is_on_the_first_gpu_and_the_rest_is_to_fall_back_on() -> None:
    assert kinds(V5, machine(100, 80)) == [
        "resident on cuda:0",
        "streamed on cuda:0",
        "resident on cpu",
        "streamed on cpu",
    ]
    assert kinds(V5, machine(100)) == ["resident on cpu", "streamed on cpu"]
    # 128k dictionaries do not fit an A10, nor this main memory; streamed they do, under 10 GB
    small = plans(V5_128K, machine(30, 24))
    assert [plan.words for plan in small.plans] == ["streamed on cuda:0", "streamed on cpu"]
    assert small.best is not None and small.best.device_bytes < 10 * GB
    assert small.why == "all of it takes 30.9 GB on cuda:0, where 24.0 GB are free"


def test_what_is_asked_for_by_name_is_kept_to() -> None:
    here = machine(100, 80, 40)
    assert kinds(V5, here, "cpu") == ["resident on cpu", "streamed on cpu"]
    only = plans(V5, here, "cuda:1").plans
    assert {plan.device for plan in only} == {"cuda:1"}
    assert plans(V5, machine(100), "cuda:1").why == "there is no cuda:1 here"


def test_a_model_that_no_gpu_holds_is_spread_over_several_and_said_not_to_be_measured() -> None:
    large = replace(V5, model=60 * GB, model_mapped=0)
    best = plans(large, machine(200, 40, 40)).best
    assert best is not None and best.kind == "spread" and best.streams
    assert set(best.max_memory) == {0, 1}
    assert sum(best.max_memory.values()) >= large.model
    assert best.words == "spread over 2 GPUs (not measured)"
    # with too little on both it is not
    none = plans(large, machine(15, 40, 10))
    assert none.best is None
    assert "spread it takes 60.0 GB on all GPUs, where 44.4 GB are free" in none.words


def test_where_nothing_fits_it_is_said_what_each_way_takes() -> None:
    planned = plans(V5_128K, machine(1))
    assert planned.plans == ()
    assert planned.words == (
        "does not fit: all of it takes 30.8 GB in main memory, where 1.00 GB are free; "
        "streamed it takes 2.54 GB in main memory, where 1.00 GB are free"
    )
    assert 2 * GB < planned.least < 3 * GB


def test_dictionaries_that_cannot_stay_in_their_files_are_copied_to_the_disk_to_be_streamed() -> (
    None
):
    packed = needs(GPT2, (DictionarySize(768, 131_072, 32, copied=True),) * 36)
    (streamed,) = plans(packed, machine(30)).plans
    assert (streamed.kind, streamed.disk_bytes) == ("streamed", packed.dictionaries)
    assert packed.largest < streamed.ram_bytes < 3 * GB
    # or they are not streamed on a CPU, and main memory has to hold them for a GPU
    fixed = needs(GPT2, (DictionarySize(768, 131_072, 32),) * 36)
    assert kinds(fixed, machine(30)) == kinds(fixed, machine(30, 24)) == []
    assert kinds(fixed, machine(60, 24))[0] == "streamed on cuda:0"


amounts = st.integers(0, 2000 * GB)
sizes = st.builds(
    DictionarySize,
    d_in=st.integers(1, 20_000),
    width=st.integers(1, 1 << 20),
    active=st.integers(1, 1000),
    mapped=st.booleans(),
    copied=st.booleans(),
)
shapes = st.builds(
    Shape,
    layers=st.integers(1, 100),
    width=st.integers(1, 20_000),
    heads=st.integers(1, 100),
    head_width=st.integers(1, 256),
    mlp=st.integers(1, 100_000),
    vocabulary=st.integers(1, 300_000),
    parameters=st.integers(1, 10**12),
)
wants = st.builds(
    needs,
    shapes,
    st.lists(sizes, min_size=1, max_size=8).map(tuple),
    model_mapped=st.booleans(),
    tokens=st.integers(1, 4096),
)
machines = st.builds(
    lambda ram, gpus: Machine(
        ram, tuple(Gpu(f"cuda:{n}", free, free) for n, free in enumerate(gpus))
    ),
    amounts,
    st.lists(amounts, max_size=4),
)


def usable(plan: Plan, here: Machine) -> None:
    """What a plan takes is there, everywhere."""
    assert plan.ram_bytes <= here.ram
    free = {gpu.name: gpu.free for gpu in here.gpus}
    for number, amount in plan.max_memory.items():
        assert amount <= free[f"cuda:{number}"]
    if plan.device in free:
        assert plan.device_bytes <= free[plan.device]
    elif plan.device == "cuda":
        assert plan.device_bytes <= sum(free.values())
    else:
        assert plan.device == "cpu" and plan.device_bytes == 0


@given(wants, machines, st.sampled_from(["auto", "cpu", "cuda", "cuda:1"]))
def test_no_plan_takes_more_than_there_is_and_there_is_always_a_reason(
    need: Needs, here: Machine, wanted: str
) -> None:
    planned = plans(need, here, wanted)
    for plan in planned.plans:
        usable(plan, here)
        assert plan.kind != "spread" or sum(plan.max_memory.values()) >= need.model
    assert planned.plans or planned.why
    assert len({(plan.kind, plan.device) for plan in planned.plans}) == len(planned.plans)


@given(wants, machines, amounts)
def test_more_room_never_makes_it_worse(need: Needs, here: Machine, more: int) -> None:
    larger = Machine(
        here.ram + more,
        tuple(replace(gpu, free=gpu.free + more, total=gpu.total + more) for gpu in here.gpus),
    )
    before, after = plans(need, here), plans(need, larger)
    fitting = {(plan.kind, plan.device) for plan in after.plans if plan.kind != "spread"}
    for plan in before.plans:
        if plan.kind != "spread":
            assert (plan.kind, plan.device) in fitting
    assert after.plans or not before.plans


@given(wants, machines)
def test_falling_back_takes_no_more_of_the_same_device(need: Needs, here: Machine) -> None:
    least: dict[str, int] = {}
    for plan in plans(need, here).plans:
        if plan.kind != "spread":
            assert plan.amount <= least.get(plan.device, plan.amount)
            least[plan.device] = plan.amount


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stream", [False, True], ids=["resident", "streamed"])
def test_what_is_reckoned_is_what_a_run_takes(stream: bool, tmp_path: Path) -> None:
    """A process of its own loads and attributes; its memory is within a tenth of the plan's."""
    script = Path(__file__).parents[1] / "benchmarks" / "plan_memory.py"
    words = [sys.executable, str(script), str(tmp_path), *(["--stream"] if stream else [])]
    seen: list[int] = []
    # The peak is looked for every few milliseconds, and a short one is missed where other programs have
    # the processor. Rarely one run of many has a fifth more than all others. So a run that misses is
    # repeated twice, and the middle of the three counts.
    for _ in range(3):
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        seen.append(found["taken"])
        if seen == [pytest.approx(found["planned"], rel=0.1)]:
            break
    middle = statistics.median(seen)
    assert middle == pytest.approx(found["planned"], rel=0.1), (found, seen)
