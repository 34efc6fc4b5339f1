"""Does the circuit do it alone? The metric with all but its nodes taken out, at every site at once.

With C a circuit's features (index and position) and ∅ the empty one (Marks et al. 2024, section 4):

    faithfulness(C) = (m(C) - m(∅)) / (m(M) - m(∅))        completeness(C) = faithfulness(M \\ C)

In m(C) every dictionary stands in the stream. It reads what arrives there, which is not what arrived
in the clean run; features outside C are given their baseline (zero, or their mean over a text), the
others what they are now. What the dictionary leaves unexplained of the current activation is kept, or
given its baseline too. m(M) is the unmodified model. A curve takes the circuits of the n strongest. With a
contrast prompt the baseline is what that prompt has at the same position, as for single nodes. At sinks
that are left out nothing is touched: their activations go on as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from scd_tui.attribution.attribute import Attribution, Reading
from scd_tui.attribution.baseline import StandIn
from scd_tui.attribution.dictionary import Dictionary, Encoded
from scd_tui.attribution.metric import value_at
from scd_tui.attribution.model import LanguageModel
from scd_tui.curves import Curve
from scd_tui.errors import InputError
from scd_tui.graph import NodeRef, Site, Target, Token

LEAST_DIFFERENCE = 0.1
"""Of m(M) and m(∅), in the metric's unit; below it the ratio says nothing."""


@dataclass(frozen=True)
class Ranked:
    """The nodes of a site among all nodes of a circuit, `m` of them, none at sinks that are left out.

    `positions`, `indices`, `ranks` `[m]`: which, and how many nodes of all sites are stronger;
    `decoder` `[m, d]` their rows. `table` `[pos, d_sae]`: the ranks again; past all where no node is.
    `counted` `[pos]`: the positions where the dictionary stands in the stream.
    """

    positions: Tensor
    indices: Tensor
    ranks: Tensor
    decoder: Tensor
    table: Tensor
    counted: Tensor

    @classmethod
    def of(cls, encoded: Encoded, ranks: Tensor, features: int, counted: Tensor) -> "Ranked":
        """The active features of a reading at the positions `counted` `[pos]`, with their ranks."""
        here = counted[encoded.positions]
        positions, indices, ranks = encoded.positions[here], encoded.indices[here], ranks[here]
        table = ranks.new_full((len(encoded.error), features), torch.iinfo(ranks.dtype).max)
        table[positions, indices] = ranks
        return cls(positions, indices, ranks, encoded.decoder[here], table, counted)


def counted_features(reading: Reading, counted: Tensor) -> int:
    """How many active features all sites have at the positions `counted` `[pos]`."""
    return sum(int(counted[reading.encoded[site].positions].sum()) for site in reading.sites)


def strongest_first(
    attribution: Attribution,
    dictionaries: Mapping[Site, Dictionary],
    counted: Tensor | None = None,
) -> dict[Site, Ranked]:
    """Features of all sites by |effect|; ties in the order of computation.

    Those at the positions `counted` `[pos]`, by default those that count in the reading.
    """
    return _ranked(attribution, dictionaries, _by_effect(attribution), counted)


def by_chance(
    attribution: Attribution,
    dictionaries: Mapping[Site, Dictionary],
    seed: int,
    counted: Tensor | None = None,
) -> dict[Site, Ranked]:
    """The same features in an order that was drawn, to compare with."""
    count = sum(len(attribution.effects[site].features) for site in attribution.reading.sites)
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    order = drawn.to(attribution.reading.cut.logits.device)
    return _ranked(attribution, dictionaries, order, counted)


def chosen_first(
    attribution: Attribution, dictionaries: Mapping[Site, Dictionary], chosen: Sequence[NodeRef]
) -> dict[Site, Ranked]:
    """The chosen features by |effect|, then all others by theirs. Raises InputError on inactive ones."""
    reading, start, first = attribution.reading, 0, set[int]()
    for site in reading.sites:
        first |= {start + reading.row(node) for node in chosen if node.site == site}
        start += len(reading.encoded[site].values)
    order = _by_effect(attribution)
    is_first = torch.tensor([row in first for row in order.tolist()], device=order.device)
    return _ranked(attribution, dictionaries, torch.cat([order[is_first], order[~is_first]]))


def _by_effect(attribution: Attribution) -> Tensor:
    """`[m of all sites]`: rows of all features, one site after the other, by |effect|."""
    sizes = torch.cat([attribution.effects[s].features.abs() for s in attribution.reading.sites])
    return torch.argsort(sizes, descending=True, stable=True)


def _ranked(
    attribution: Attribution,
    dictionaries: Mapping[Site, Dictionary],
    order: Tensor,
    counted: Tensor | None = None,
) -> dict[Site, Ranked]:
    """The features at positions that count, ranked in the order of `order` among themselves."""
    reading = attribution.reading
    if counted is None:
        counted = reading.counted
    counts = torch.cat([counted[reading.encoded[site].positions] for site in reading.sites])
    order = order[counts[order]]
    ranks = torch.full_like(counts, 0, dtype=order.dtype)
    ranks[order] = torch.arange(len(order), device=order.device)
    found, start = {}, 0
    for site in reading.sites:
        encoded = reading.encoded[site]
        end = start + len(encoded.values)
        found[site] = Ranked.of(encoded, ranks[start:end], dictionaries[site].width, counted)
        start = end
    return found


@torch.no_grad()
def circuit_metrics(
    model: LanguageModel,
    tokens: Sequence[Token],
    target: Target,
    dictionaries: Mapping[Site, Dictionary],
    baselines: Mapping[Site, StandIn],
    ranked: Mapping[Site, Ranked],
    sizes: Sequence[int],
    *,
    complement: bool = False,
    keep_errors: bool = True,
) -> list[float]:
    """m(C) for the circuits of the n first nodes, for each n of `sizes`.

    With `complement`, for those of all other features, those included that the clean run has not, which
    otherwise are left out: they are no nodes, and nothing stands in for them.
    """
    limits = torch.tensor(list(sizes), device=model.device)

    def splice(site: Site, activation: Tensor) -> Tensor:
        x = activation.flatten(start_dim=2)
        _, positions, width = x.shape
        stand_in, nodes = baselines[site], ranked[site]
        encoded = dictionaries[site].encode(x.reshape(-1, width))
        circuit, position = encoded.positions // positions, encoded.positions % positions
        first = nodes.table[position, encoded.indices] < limits[circuit]
        kept = first != complement
        if keep_errors:
            made = (encoded.constant + encoded.error).reshape(x.shape)
        else:
            made = x.new_zeros(x.shape) + stand_in.rest(encoded.constant.reshape(x.shape))
        made.view(-1, width).index_add_(0, encoded.positions[kept], encoded.contributions[kept])
        instead = stand_in.strengths_at(nodes.positions, nodes.indices)[:, None] * nodes.decoder
        for n, limit in enumerate(limits.tolist()):
            out = (nodes.ranks < limit) == complement
            made[n].index_add_(0, nodes.positions[out], instead[out])
        made = torch.where(nodes.counted[:, None], made, x)
        return made.reshape(activation.shape)

    ids = model.ids(tokens).expand(len(limits), -1)
    edits = [(site, partial(splice, site)) for site in dictionaries]
    logits = model.forward(ids, edits, target.positions)
    return [float(value) for value in value_at(target, logits)]


class Measure(Protocol):
    """The metric with nothing but the `n` first nodes of an order, for each n of `sizes`.

    With `complement`, with all nodes but those.
    """

    def __call__(self, sizes: Sequence[int], *, complement: bool = False) -> list[float]: ...


def ratios(values: Sequence[float], empty: float, whole: float) -> tuple[float, ...]:
    """Metrics as shares of the way from the empty circuit's to the model's."""
    return tuple((value - empty) / (whole - empty) for value in values)


def measured_curve(
    measure: Measure, sizes: Sequence[int], whole: float, of: str = "feature"
) -> Curve:
    """The curve of an order; `whole` is m(M), `of` what its nodes are.

    Raises InputError where the empty circuit's metric is the model's.
    """
    empty, *alone = measure([0, *sizes])
    if abs(whole - empty) < LEAST_DIFFERENCE:
        raise InputError(
            f"without any {of} the metric is {empty:.2f}, with all of the model "
            f"{whole:.2f}: too near for a ratio; choose another target or contrast"
        )
    return Curve(
        sizes=tuple(sizes),
        faithfulness=ratios(alone, empty, whole),
        completeness=ratios(measure(sizes, complement=True), empty, whole),
    )


def curve(
    model: LanguageModel,
    attribution: Attribution,
    dictionaries: Mapping[Site, Dictionary],
    baselines: Mapping[Site, StandIn],
    ranked: Mapping[Site, Ranked],
    sizes: Sequence[int],
    *,
    keep_errors: bool = True,
) -> Curve:
    """The curve of a ranking. Raises InputError where the empty circuit's metric is the model's."""

    def measure(sizes: Sequence[int], *, complement: bool = False) -> list[float]:
        return circuit_metrics(
            *(model, attribution.reading.cut.tokens, attribution.target),
            *(dictionaries, baselines, ranked),
            sizes,
            complement=complement,
            keep_errors=keep_errors,
        )

    return measured_curve(measure, sizes, attribution.value)
