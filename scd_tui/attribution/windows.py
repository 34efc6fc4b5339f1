"""A text as windows of tokens, each to be read on its own, and which of its positions count.

A token put before each window (`first`) is read by the model and left as it is: it takes no part in any
statistic, and neither does any other sink (`sinks`), which `without_sinks` finds in one pass.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.model import Edit, LanguageModel, Point
from scd_tui.attribution.sinks import RATIO, norm_ratios, streams_at, trained_from
from scd_tui.errors import InputError
from scd_tui.graph import Site

BATCH = 8
"""Windows per forward pass."""
WINDOW = 64
"""Tokens: the shortest context that published dictionaries were trained on (OpenAI's of GPT-2)."""


def token_windows(
    model: LanguageModel, text: str, tokens: int, *, length: int = WINDOW, first: int | None = None
) -> Tensor:
    """`[windows, length]`: about `tokens` tokens in all, spread evenly over the text.

    Windows are shorter where the text, the number of tokens or the model's context is; the context
    has to hold the token `first` too, which is not put in. Raises InputError on a text of fewer
    than two tokens, after which there is nothing to foretell.
    """
    ids = [token.id for token in model.tokenize(text)]
    length = min(length, len(ids), tokens, model.context - (first is not None))
    if length < 2:
        raise InputError("there is too little text to measure on: give at least two tokens")
    places = len(ids) // length
    count = min(places, tokens // length)
    starts = [length * (n * places // count) for n in range(count)]
    return torch.tensor([ids[start : start + length] for start in starts], device=model.device)


@dataclass(frozen=True)
class Batch:
    """Some windows: `ids` `[n, skip + length]`, and which positions `counted`, of the same shape, count."""

    ids: Tensor
    counted: Tensor

    def edit(self, make: Callable[[Tensor], Tensor]) -> Edit:
        """An edit of an activation `[n, pos, ...]` that gives `make` the positions that count, `[m, d]`."""

        def edit(activation: Tensor) -> Tensor:
            flat = activation.flatten(start_dim=2)
            counted = self.counted.to(flat.device)
            made = flat.clone()
            made[counted] = make(flat[counted])
            return made.reshape(activation.shape)

        return edit


@dataclass(frozen=True)
class Windows:
    """Windows of a text `[windows, length]`, each read on its own behind the token `first` if any.

    `counted` `[windows, length]`: the tokens that take part in statistics, all by default.
    """

    ids: Tensor
    first: int | None = None
    batch: int = BATCH
    counted: Tensor | None = None

    @property
    def skip(self) -> int:
        """Positions before the text's own."""
        return int(self.first is not None)

    @property
    def batches(self) -> int:
        return -(-len(self.ids) // self.batch)

    @property
    def tokens(self) -> int:
        """How many tokens count."""
        return self.ids.numel() if self.counted is None else int(self.counted.sum())

    def __iter__(self) -> Iterator[Batch]:
        counted = self.counted
        if counted is None:
            counted = torch.ones_like(self.ids, dtype=torch.bool)
        pairs = zip(
            torch.split(self.ids, self.batch), torch.split(counted, self.batch), strict=True
        )
        for rows, counts in pairs:
            if self.first is None:
                yield Batch(rows, counts)
                continue
            before = rows.new_full((len(rows), 1), self.first)
            yield Batch(
                torch.cat([before, rows], dim=1),
                torch.cat([torch.zeros_like(before, dtype=torch.bool), counts], dim=1),
            )


@torch.no_grad()
def without_sinks(
    model: LanguageModel,
    windows: Windows,
    dictionaries: Iterable[Dictionary],
    on_batch: Callable[[], None] = lambda: None,
) -> Windows:
    """The windows with sinks left out, found in one pass over the text.

    Raises InputError where every position is one.
    """
    found = []
    for counted, _ in _read(model, windows, tuple(dictionaries), ()):
        found.append(counted[:, windows.skip :])
        on_batch()
    counted = torch.cat(found)
    _require_any(bool(counted.any()))
    return replace(windows, counted=counted)


@torch.no_grad()
def read_activations(
    model: LanguageModel, windows: Windows, dictionaries: Mapping[Site, Dictionary]
) -> Iterator[tuple[Tensor, dict[Site, Tensor]]]:
    """Of each batch the tokens that count, `[m]` as `places` has them, and the activations of each
    dictionary's site there, `[m, d]`, in the unmodified model: sinks are found in the same pass.

    Raises InputError at the end where every position of the text is a sink.
    """
    start, some = 0, False
    for counted, activations in _read(
        model, windows, tuple(dictionaries.values()), tuple(dictionaries)
    ):
        own = counted[:, windows.skip :].cpu()
        numbers = torch.arange(start, start + own.numel(), dtype=torch.int32)
        start += own.numel()
        some = some or bool(own.any())
        yield (
            numbers.reshape(own.shape)[own],
            {site: x.flatten(start_dim=2)[counted.to(x.device)] for site, x in activations.items()},
        )
    _require_any(some)


def _read(
    model: LanguageModel,
    windows: Windows,
    dictionaries: tuple[Dictionary, ...],
    sites: tuple[Site, ...],
) -> Iterator[tuple[Tensor, dict[Site, Tensor]]]:
    """Which positions of each batch count, `[n, pos]`, and the activations `[n, pos, ...]` at `sites`."""
    streams = streams_at(model, [dictionary.site for dictionary in dictionaries])
    untrained = trained_from(dictionaries)
    for batch in windows:
        norms: list[Tensor] = []
        activations: dict[Site, Tensor] = {}
        edits: list[tuple[Point, Edit]] = [(at, partial(_keep_norms, norms)) for at in streams]
        edits += [(site, partial(_keep, activations, site)) for site in sites]
        model.forward(batch.ids, edits, [-1])
        counted = batch.counted.clone()
        if norms and windows.counted is None:
            counted &= norm_ratios(torch.stack(norms)) < RATIO
        counted[:, :untrained] = False
        yield counted, activations


def _require_any(counted: bool) -> None:
    if not counted:
        raise InputError(
            "the dictionaries were trained without every position of this text's windows: "
            "give a longer text"
        )


def _keep(kept: dict[Site, Tensor], site: Site, activation: Tensor) -> Tensor:
    kept[site] = activation
    return activation


def _keep_norms(norms: list[Tensor], stream: Tensor) -> Tensor:
    """Append the norms `[n, pos]` of a stream `[n, pos, d]`."""
    there = norms[0].device if norms else stream.device
    norms.append(stream.norm(dim=-1).to(there))
    return stream
