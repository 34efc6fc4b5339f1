"""Which ways of running are tried, in which order, decided before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from scd_tui.catalog.machine import free_address_space, free_ram
from scd_tui.catalog.models import ModelSpec
from scd_tui.catalog.plan import Gpu, Machine, Plan, Planned, plans
from scd_tui.catalog.sizes import needs_of
from scd_tui.errors import InputError, RunError


@dataclass(frozen=True)
class Way:
    """How to load: `words` say it, with what it is reckoned to take."""

    words: str
    stream: bool
    max_memory: Mapping[int, int] = field(default_factory=dict)


def machine_of(device: torch.device) -> Machine:
    """What is free in main memory, and on the CUDA devices as CUDA itself has them."""
    if device.type != "cuda":
        return Machine(free_ram(), space=free_address_space())
    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        found.append(Gpu(f"cuda:{number}", free, total, torch.cuda.get_device_name(number)))
    return Machine(free_ram(), tuple(found))


def ways(
    spec: ModelSpec, device: torch.device, *, stream: bool, machine: Machine | None = None
) -> tuple[tuple[Way, ...], str]:
    """The ways that are reckoned to fit on a device, best first, and why no better one does.

    With `stream` dictionaries are streamed whatever fits. Where sizes are not known, all of it and then
    streaming are tried. Raises RunError, with what each way would take, when none fits.
    """
    try:
        need = needs_of(spec)
    except InputError:  # a damaged file, of which loading it says more
        need = None
    if need is None or not need.dictionaries:
        unknown = (Way("all of it on the device", False), Way("dictionaries streamed", True))
        return unknown[1:] if stream else unknown, ""
    wanted = "cuda" if device.type == "cuda" and device.index is None else str(device)
    planned = plans(need, machine or machine_of(device), wanted)
    found = tuple(_way(plan) for plan in planned.plans if plan.streams or not stream)
    if found:
        return found, "" if stream else planned.why
    if stream:
        # it was asked for, and what is reckoned may be wrong
        return (Way("dictionaries streamed", True),), ""
    raise RunError(_refusal(spec, planned))


def _way(plan: Plan) -> Way:
    return Way(f"{plan.words}, {plan.amount_in_words}", plan.streams, plan.max_memory)


def _refusal(spec: ModelSpec, planned: Planned) -> str:
    return (
        f"{spec.name} with {spec.dictionaries_name} {planned.words}: use another device or a smaller "
        "set, or try --stream all the same"
    )
