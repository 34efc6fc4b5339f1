"""Positions that dictionaries do not describe: found by one rule, and left out everywhere by it.

In most language models one position, the first as a rule, has a massive activation: one MLP writes a
vector a hundred times as long as the stream elsewhere, and later heads rest their attention there
(Sun et al. 2024, arXiv 2402.17762; Xiao et al. 2024, arXiv 2309.17453). Dictionaries are trained without
such positions or fail at them, and what they get wrong there outweighs all the rest of a prompt.

A position is a **sink** where

- its residual norm is at least `RATIO` times the median of the other positions' (of two middle values
  the lower), in the residual stream at any site: after the site's layer, for `resid_pre` before it;
- or a dictionary was trained without it (`seqpos_slice` in the dictionary's metadata);
- or a BOS was prepended there.

A sink stays in the model's forward pass. It is left out of selection, shares, sums, explained variance,
influence, trust, curves, means over texts, the dictionary check and contexts.

A contrast prompt can only readmit: effects are of differences then, and a sink that differs counts
unless ‖Δx‖ is at least `RATIO` times the median of the other positions' nonzero ones in the residual
stream at any site. It counts too where the prompts' tokens differ at no other position, which would
leave nothing to explain. What is of the prompt itself, explained variance and means, never readmits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from msgspec.structs import replace
from torch import Tensor

from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.model import LanguageModel
from scd_tui.graph import Sink, SinkKept, SinkReason, Site, Token

RATIO = 10.0
"""Of a norm to the median of the others, from which on a position is a sink."""


def streams_at(model: LanguageModel, sites: Iterable[Site]) -> tuple[Site, ...]:
    """Where residual norms are measured: the stream after each site's layer, before it for `resid_pre`.

    A place that the model does not have is left out.
    """
    wanted = dict.fromkeys(
        Site(site.layer, "resid_pre" if site.kind == "resid_pre" else "resid_post")
        for site in sites
    )
    return tuple(stream for stream in wanted if model.has(stream))


def median_of_others(norms: Tensor) -> Tensor:
    """`[..., pos]`: for each position the median of all other positions' `norms` `[..., pos]`.

    Of two middle values the lower. NaN where there is no other position.
    """
    count = norms.shape[-1]
    if count < 2:
        return torch.full_like(norms, torch.nan)
    ordered, order = norms.sort(dim=-1, stable=True)
    ranks = torch.empty_like(order).scatter_(
        -1, order, torch.arange(count, device=norms.device).expand_as(order)
    )
    middle = (count - 2) // 2
    # without the position itself, those after it move up by one
    return torch.where(ranks <= middle, ordered[..., middle + 1, None], ordered[..., middle, None])


def norm_ratios(norms: Tensor) -> Tensor:
    """`[..., pos]`: the largest ratio of a norm to the median of the others, over streams.

    `norms` `[streams, ..., pos]`. 0 where there are no streams or no other positions.
    """
    if not len(norms):
        return norms.new_zeros(norms.shape[1:])
    return (norms / median_of_others(norms)).nan_to_num(nan=0.0).amax(dim=0)


def trained_from(dictionaries: Iterable[Dictionary]) -> int:
    """The first position that every dictionary was trained on."""
    return max((dictionary.trained_from for dictionary in dictionaries), default=0)


@dataclass(frozen=True)
class Positions:
    """Which positions of a prompt count.

    `counted` `[pos]`: in all that is made of effects, which with a contrast prompt are of differences.
    `own` `[pos]`: in what is of the prompt's own activations, such as explained variance.
    """

    sinks: tuple[Sink, ...]
    counted: Tensor
    own: Tensor


def positions_of(
    norms: Tensor,
    *,
    prepended: bool,
    trained_from: int,
    skip_first: bool = False,
    sinks: bool = False,
    differences: Tensor | None = None,
    tokens: Sequence[Token] = (),
    contrast: Sequence[Token] = (),
) -> Positions:
    """Find the sinks of a prompt.

    `norms` `[streams, pos]` of the residual stream; `prepended`: position 0 is a BOS that was put there;
    `trained_from`: the first position that the dictionaries were trained on. With `skip_first` position 0
    is left out whatever it is; with `sinks` those found count. With a contrast prompt, `differences`
    `[streams, pos]` are ‖Δx‖, and `tokens` and `contrast` the two prompts.
    """
    ratios = norm_ratios(norms)
    measured = ratios.tolist()
    found: list[Sink] = []
    for position, ratio in enumerate(measured):
        reason: SinkReason | None = None
        if position == 0 and skip_first:
            reason = "asked"
        elif position == 0 and prepended:
            reason = "prepended"
        elif ratio >= RATIO:
            reason = "norm"
        elif position < trained_from:
            reason = "trained"
        if reason is None:
            continue
        kept: SinkKept | None = None
        if reason != "asked":
            if sinks:
                kept = "asked"
            elif differences is not None and _is_alike(differences, position):
                kept = "alike"
        found.append(Sink(position, reason, ratio if ratio >= RATIO else None, kept))
    found = _with_only_difference(found, tokens, contrast)
    counted = torch.ones(len(measured), dtype=torch.bool, device=norms.device)
    own = counted.clone()
    for sink in found:
        counted[sink.position] = not sink.left_out
        own[sink.position] = sink.kept == "asked"
    return Positions(tuple(found), counted, own)


def _is_alike(differences: Tensor, position: int) -> bool:
    """Whether a position differs from the contrast prompt, and by no more than other positions do.

    `differences` `[streams, pos]`. Where no other position differs, nothing is larger than the others.
    """
    here = differences[:, position]
    others = torch.cat([differences[:, :position], differences[:, position + 1 :]], dim=1)
    if not others.shape[1]:
        return bool((here > 0).any())
    others = torch.where(others > 0, others, torch.nan)
    large = here / others.nanmedian(dim=1).values >= RATIO
    return bool((here > 0).any() & ~large.any())


def _with_only_difference(
    found: list[Sink], tokens: Sequence[Token], contrast: Sequence[Token]
) -> list[Sink]:
    """The sinks, those readmitted at which alone the prompts' tokens differ."""
    pairs = enumerate(zip(tokens, contrast, strict=False))
    changed = {position for position, (here, there) in pairs if here.id != there.id}
    left_out = {sink.position for sink in found if sink.left_out and sink.reason != "asked"}
    if not changed or not changed <= left_out:
        return found
    return [replace(sink, kept="only") if sink.position in changed else sink for sink in found]
