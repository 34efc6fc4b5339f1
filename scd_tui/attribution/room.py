"""What memory is free where a model computes, how many rows may share a pass, and what is refused.

The arithmetic is that of `catalog.passes`, on the sizes of a model that is loaded.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.memory import return_at_once, trim
from scd_tui.attribution.model import LanguageModel, Place
from scd_tui.catalog.machine import free_address_space, free_ram
from scd_tui.catalog.passes import ACTIVE, Asked, DictionarySize, Sizes, longest
from scd_tui.errors import RunError
from scd_tui.graph import Site
from scd_tui.numbers import counted, in_bytes

SHARE = 0.9
"""Of what is free: the rest is left to what else runs."""
CPU_AT_ONCE = 1 << 30
"""Bytes that the rows of one pass take on a CPU at most, where more rows gain no speed; one row may take
more."""
ONCE = 128 << 20
"""Bytes that the first pass of a process takes beside what is reckoned: buffers of libraries that stay.
Measured on SmolLM2 as 139 MB more than reckoned, on a small wide model as 32 MB."""
NOTHING = 64 << 20
"""Bytes that no pass is asked for beforehand: asking takes longer than a small pass."""


class NoRoom(RunError):
    """There is too little memory for what was asked: `needed` bytes, where `free` are free."""

    def __init__(self, message: str, needed: int, free: int) -> None:
        super().__init__(message)
        self.needed, self.free = needed, free


def sizes_of(model: LanguageModel) -> Sizes:
    """The sizes of a loaded model."""
    cfg = model.bridge.cfg
    heads, width = int(cfg.n_heads), int(cfg.d_model)
    return Sizes(
        layers=int(cfg.n_layers),
        heads=heads,
        width=width,
        attention=heads * int(getattr(cfg, "d_head", None) or width // heads),
        mlp=int(getattr(cfg, "d_mlp", None) or 4 * width),
        vocabulary=int(cfg.d_vocab),
        capped=(getattr(cfg, "attn_scores_soft_cap", None) or 0.0) > 0,
    )


def asked_of(
    model: LanguageModel,
    dictionaries: Mapping[Site, Dictionary],
    *,
    read: int = 1,
    prompts: int = 1,
    averaged: bool = False,
) -> Asked:
    """What is asked of a loaded model and its dictionaries; `Asked` has what the words mean."""
    return Asked(
        sizes_of(model),
        tuple(
            # without a k, the number of active features is a guess
            DictionarySize(one.d_in, one.width, min(one.k or ACTIVE, one.width))
            for one in dictionaries.values()
        ),
        read=read,
        sources=most_upstream(tuple(dictionaries)),
        prompts=prompts,
        averaged=averaged,
    )


def most_upstream(order: Sequence[Place]) -> int:
    """How many places can be directly upstream of one, at most: all since the stream was last cut, and
    the embeddings."""
    most = since = 0
    for place in order:
        most = max(most, since)
        cut = isinstance(place, Site) and place.kind.startswith("resid")
        since = 1 if cut else since + 1
    return max(most, since) + 2


def free_bytes(device: torch.device) -> int:
    """Bytes that this process can still take on a device, under its own limits too."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # what torch keeps for later is free for the next who asks
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free) + kept
    ram, space = free_ram(), free_address_space()
    return ram if space is None else min(ram, space)


def _room(device: torch.device, needed: int) -> int:
    """Bytes that may be taken; what is kept for later is handed back first where it falls short."""
    if free_address_space() is not None:
        return_at_once()
    room = int(SHARE * free_bytes(device))
    if needed > room:
        trim()
        room = int(SHARE * free_bytes(device))
    return room


def rows_at_once(device: torch.device, each: int, most: int, *, refuse: bool = True) -> int:
    """How many rows of `each` bytes may share a pass: from 1 to `most`.

    Raises NoRoom, with the numbers, where there is no room for one; not with `refuse` off, in the midst
    of what there was room for when it began.
    """
    if each * most <= NOTHING:
        return most
    room = _room(device, each)
    if each > room and refuse:
        raise NoRoom(
            f"this prompt needs about {in_bytes(each)} more for this and {in_bytes(room)} are free: "
            "free some memory, or shorten the prompt",
            each,
            room,
        )
    if device.type == "cpu":
        room = min(room, CPU_AT_ONCE)
    return max(1, min(most, room // each))


def forward_rows(model: LanguageModel, tokens: int, most: int, read: int = 1) -> int:
    """How many rows may share a pass without a graph, with logits at `read` positions."""
    return rows_at_once(model.device, sizes_of(model).forward(tokens, read), most)


def require_forward(model: LanguageModel, tokens: int) -> None:
    """Raise NoRoom, with the numbers, where a pass over a prompt of so many tokens does not fit."""
    _require(sizes_of(model).forward, model.device, tokens, "run")


def require(asked: Asked, device: torch.device, tokens: int) -> None:
    """Raise NoRoom, with the numbers, where a prompt of so many tokens cannot be attributed."""
    _require(asked.needed, device, tokens, "attribute")


def _require(cost: Callable[[int], int], device: torch.device, tokens: int, what: str) -> None:
    needed = cost(tokens)
    if needed <= NOTHING:
        return
    needed += ONCE
    room = _room(device, needed)
    if needed <= room:
        return
    fewer = longest(cost, room - ONCE, tokens)
    cure = f"shorten it to about {fewer:,} tokens" if fewer else "free some memory"
    raise NoRoom(
        f"this prompt of {counted(tokens, 'token')} needs about {in_bytes(needed)} to {what} and "
        f"{in_bytes(room)} are free: {cure}",
        needed,
        room,
    )


def in_parts(count: int, at_once: int) -> Iterable[slice]:
    """Slices of at most `at_once` that cover `count`."""
    return (slice(start, start + at_once) for start in range(0, count, at_once))
