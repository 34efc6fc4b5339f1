"""How a model and its dictionaries can be run in the memory that there is, before any of it is taken.

Everything is computed in float32. Dictionaries are either all on the device (`resident`), or stay in
files that are mapped into memory, and are read from there, or sent over, one at a time (`streamed`).
A model that no single GPU holds is spread over several by accelerate (`spread`).

`needs` counts what a run takes, `plans` says which ways fit, best first: the rest are what a run that
meets the end of memory all the same falls back on. Both are pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from scd_tui.catalog.passes import FLOAT, SLACK, Asked, DictionarySize, Sizes
from scd_tui.catalog.spec import Shape
from scd_tui.numbers import in_bytes

Kind = Literal["resident", "streamed", "spread"]

TOKENS = 64
"""Length of the prompt that is reckoned with, where nothing else is known."""
_SHARE = 0.95
"""Of what is free: the rest is left to what else runs."""
_TARGETS = 11
"""A site's nodes that edges are computed into: ten, and an error."""
LIBRARIES = 380_000_000
"""Bytes that Python and the libraries take in main memory before any weight; measured."""
_CONTEXT = 500_000_000
"""Bytes that CUDA takes on a device for itself, roughly: it depends on the driver."""
_LOGITS = 4
"""Copies of the logits of every position that a run of the gate has at a time, in float32."""


@dataclass(frozen=True)
class Needs:
    """Bytes that a run takes in float32, for prompts of up to `tokens` tokens.

    `model_mapped` of the model can stay in its file on a CPU; `mapped` of the dictionaries can, and
    `copied` of them are put into files on the disk when they are streamed.
    """

    model: int
    model_mapped: int
    dictionaries: int
    mapped: int
    copied: int
    largest: int
    working: int
    tokens: int

    @property
    def streamed(self) -> int:
        """Bytes of dictionaries that are in files, where they are streamed."""
        return self.mapped + self.copied

    @property
    def copying(self) -> int:
        """Bytes that making these files takes for a while."""
        return self.largest if self.copied else 0


@dataclass(frozen=True)
class Gpu:
    """A CUDA device, as `cuda:0`, with what is free on it in bytes."""

    name: str
    free: int
    total: int
    label: str = ""


@dataclass(frozen=True)
class Machine:
    """What is free in main memory, in bytes, and on each CUDA device."""

    ram: int
    gpus: tuple[Gpu, ...] = ()
    space: int | None = None
    """Bytes of address space that a process may still map, files included; None without a limit."""


@dataclass(frozen=True)
class Plan:
    """A way to run. `device_bytes` are taken on a GPU, `ram_bytes` in main memory; `file_bytes` stay in
    files that are mapped, which the system keeps in memory as long as it has room.

    `disk_bytes` of them are copies that are made once. `max_memory` is what accelerate may use of each
    CUDA device, by its number, where the model is spread.
    """

    kind: Kind
    device: str
    device_bytes: int
    ram_bytes: int
    file_bytes: int
    disk_bytes: int = 0
    max_memory: Mapping[int, int] = field(default_factory=dict)

    @property
    def streams(self) -> bool:
        """Whether the dictionaries stay where they are."""
        return self.kind != "resident"

    @property
    def words(self) -> str:
        """In a few words."""
        if self.kind == "spread":
            return f"spread over {len(self.max_memory)} GPUs (not measured)"
        return f"{self.kind} on {self.device}"

    @property
    def amount(self) -> int:
        """Bytes where it computes, those in files with it where all of it is to stay in memory."""
        files = self.file_bytes if self.kind == "resident" else 0
        return self.device_bytes or self.ram_bytes + files

    @property
    def amount_in_words(self) -> str:
        return in_bytes(self.amount)


@dataclass(frozen=True)
class Planned:
    """The ways that fit, best first, and one sentence on why the better ones, or all, do not."""

    plans: tuple[Plan, ...]
    why: str = ""
    least: int = 0
    """Bytes that the least demanding way takes where it computes, of those that were tried."""

    @property
    def best(self) -> Plan | None:
        return self.plans[0] if self.plans else None

    @property
    def words(self) -> str:
        """How it would run, or why it does not fit."""
        best = self.best
        if best is None:
            return f"does not fit: {self.why}"
        said = f"{best.words}, {best.amount_in_words}"
        return f"{said}: {self.why}" if self.why else said


def needs(
    shape: Shape,
    dictionaries: tuple[DictionarySize, ...],
    *,
    model_mapped: bool = False,
    tokens: int = TOKENS,
    ablations: int = 1,
) -> Needs:
    """What a run takes. `model_mapped`: the model's file holds float32.

    `ablations` of a prompt of `tokens` tokens share a pass: fewer where there is less room.
    """
    model = FLOAT * shape.parameters
    sizes = [one.bytes for one in dictionaries]
    return Needs(
        model=model,
        model_mapped=model if model_mapped else 0,
        dictionaries=sum(sizes),
        mapped=sum(one.bytes for one in dictionaries if one.mapped),
        copied=sum(one.bytes for one in dictionaries if one.copied and not one.mapped),
        largest=max(sizes, default=0),
        working=_working(shape, dictionaries, tokens, ablations),
        tokens=tokens,
    )


def sizes_of(shape: Shape) -> Sizes:
    """What decides how much memory a pass takes, of a model's published sizes."""
    return Sizes(
        layers=shape.layers,
        heads=shape.heads,
        width=shape.width,
        attention=shape.heads * shape.head_width,
        mlp=shape.mlp,
        vocabulary=shape.vocabulary,
    )


def _working(
    shape: Shape, dictionaries: tuple[DictionarySize, ...], tokens: int, ablations: int
) -> int:
    """Bytes beside the weights, of a circuit: what it keeps, and the largest that comes and goes."""
    circuit = Asked(sizes_of(shape), dictionaries).needed(tokens, _TARGETS, ablations)
    return circuit + int(SLACK * FLOAT * tokens * _LOGITS * shape.vocabulary)


@dataclass(frozen=True)
class _Way:
    """A plan, and what decides whether it fits: `held` bytes of its files have to stay in memory too."""

    plan: Plan
    name: str
    machine: Machine
    held: int = 0
    model: int = 0
    """Bytes that have to find room in the plan's `max_memory`."""

    @property
    def fits(self) -> bool:
        return not self.short

    @property
    def takes(self) -> int:
        """Bytes where it computes."""
        return self.plan.device_bytes or self.plan.ram_bytes + self.held

    @property
    def short(self) -> str:
        """What there is too little of, as a clause; "" if of nothing."""
        gpu = next((g for g in self.machine.gpus if g.name == self.plan.device), None)
        if gpu is not None and not _fits(self.plan.device_bytes, gpu.free):
            return self._says(self.plan.device_bytes, gpu.free, f"on {gpu.name}")
        room = sum(self.plan.max_memory.values())
        if self.model > room:
            return self._says(self.model, room, "on all GPUs")
        ram = self.plan.ram_bytes + self.held
        if not _fits(ram, self.machine.ram):
            return self._says(ram, self.machine.ram, "in main memory")
        space = self.machine.space
        mapped = self.plan.ram_bytes + self.plan.file_bytes
        if space is not None and not self.plan.device_bytes and not _fits(mapped, space):
            return self._says(mapped, space, "of address space")
        return ""

    def _says(self, amount: int, free: int, where: str) -> str:
        return f"{self.name} takes {in_bytes(amount)} {where}, where {in_bytes(free)} are free"


def plans(need: Needs, machine: Machine, wanted: str = "auto") -> Planned:
    """The ways to run that fit, best first. `wanted` is `auto`, `cpu`, `cuda` or `cuda:N`.

    With `auto` the first GPU comes first, then several of them, then the CPU.
    """
    ways: list[_Way] = []
    gpus = machine.gpus if wanted in ("auto", "cuda") else _named(machine, wanted)
    if gpus:
        ways += _on_gpu(need, machine, gpus[0])
        if len(gpus) > 1 or not any(way.fits for way in ways):
            ways += _over_gpus(need, machine, gpus)
    if wanted in ("auto", "cpu"):
        ways += _on_cpu(need, machine)
    if not ways:
        return Planned((), f"there is no {wanted} here")
    found = [way.plan for way in ways if way.fits]
    before = ways if not found else ways[: [way.fits for way in ways].index(True)]
    why = "; ".join(dict.fromkeys(way.short for way in before if way.short))
    return Planned(tuple(found), why, min(way.takes for way in ways))


def _named(machine: Machine, name: str) -> tuple[Gpu, ...]:
    return tuple(gpu for gpu in machine.gpus if gpu.name == name)


def _fits(amount: int, free: int) -> bool:
    return amount <= _SHARE * free


def _on_gpu(need: Needs, machine: Machine, gpu: Gpu) -> list[_Way]:
    # The model comes through main memory, whatever device it goes to, and so does every dictionary.
    through = LIBRARIES + need.model - need.model_mapped
    base = _CONTEXT + need.model + need.working
    resident = Plan(
        kind="resident",
        device=gpu.name,
        device_bytes=base + need.dictionaries,
        ram_bytes=through + need.largest,
        file_bytes=need.model_mapped,
    )
    streamed = Plan(
        kind="streamed",
        device=gpu.name,
        device_bytes=base + need.largest,
        ram_bytes=through + need.dictionaries - need.streamed + need.copying,
        file_bytes=need.model_mapped + need.streamed,
        disk_bytes=need.copied,
    )
    return [_Way(resident, "all of it", machine), _Way(streamed, "streamed it", machine)]


def _over_gpus(need: Needs, machine: Machine, gpus: tuple[Gpu, ...]) -> list[_Way]:
    """The model in pieces, one on each GPU; the dictionaries streamed to where their sites are."""
    each = _CONTEXT + need.largest + need.working
    room = {n: int(_SHARE * gpu.free) - each for n, gpu in enumerate(gpus)}
    room = {n: amount for n, amount in room.items() if amount > 0}
    if len(room) < 2:
        return []
    plan = Plan(
        kind="spread",
        device="cuda",
        device_bytes=need.model + each * len(room),
        ram_bytes=LIBRARIES
        + need.model
        - need.model_mapped
        + need.dictionaries
        - need.streamed
        + need.copying,
        file_bytes=need.model_mapped + need.streamed,
        disk_bytes=need.copied,
        max_memory=room,
    )
    return [_Way(plan, "spread it", machine, model=need.model)]


def _on_cpu(need: Needs, machine: Machine) -> list[_Way]:
    base = LIBRARIES + need.model - need.model_mapped
    # Encoders are laid out anew; decoders stay as they are, and so in their files where they can.
    decoders = need.mapped // 2
    resident = Plan(
        kind="resident",
        device="cpu",
        device_bytes=0,
        # while the largest is laid out, it is there twice
        ram_bytes=base + need.dictionaries - decoders + max(need.working, need.largest),
        file_bytes=need.model_mapped + decoders,
    )
    ways = [_Way(resident, "all of it", machine, held=resident.file_bytes)]
    if need.streamed:
        left = need.dictionaries - need.streamed
        streamed = Plan(
            kind="streamed",
            device="cpu",
            device_bytes=0,
            ram_bytes=base + left + max(need.working, need.copying),
            file_bytes=need.model_mapped + need.streamed,
            disk_bytes=need.copied,
        )
        # without room for the largest file, reading a prompt would be reading the disk
        held = need.model_mapped + need.largest
        ways.append(_Way(streamed, "streamed it", machine, held=held))
    return ways
