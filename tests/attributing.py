"""What tests of an attribution ask for again and again: a target, a selection, the plain gradients."""

import torch
from torch import Tensor

from scd_tui.attribution.attribute import Reading, Scores
from scd_tui.attribution.dictionary import Encoded
from scd_tui.attribution.metric import resolve_target, value_at
from scd_tui.attribution.model import LanguageModel, Place
from scd_tui.graph import Metric, NodeId, Site, Target, error_id, feature_id


def metric_value(target: Target, logits: Tensor) -> Tensor:
    """The metric `[...]` of logits `[..., pos, vocabulary]`."""
    return value_at(target, logits[..., target.positions, :])


def target_of(
    model: LanguageModel, reading: Reading, metric: Metric = "diff", position: int = -1
) -> Target:
    """Token 7, for `diff` against token 11."""
    return resolve_target(
        model,
        reading.cut.tokens,
        reading.cut.logits.detach(),
        target=7,
        contrast=11 if metric == "diff" else None,
        metric=metric,
        position=position,
    )


def everything(reading: Reading, site: Site, scores: Scores) -> tuple[NodeId, ...]:
    """Select every active feature and every error node."""
    encoded = reading.encoded[site]
    features = zip(encoded.indices.tolist(), encoded.positions.tolist(), strict=True)
    return tuple(feature_id(site, i, p) for i, p in features) + tuple(
        error_id(site, p) for p in range(len(scores.errors))
    )


def nothing(reading: Reading, site: Site, scores: Scores) -> tuple[NodeId, ...]:
    """Select no node: effects alone."""
    return ()


def strongest_at(effects: Scores, encoded: Encoded, site: Site) -> NodeId:
    """A site's feature of largest |effect|."""
    row = int(effects.features.abs().argmax())
    return feature_id(site, int(encoded.indices[row]), int(encoded.positions[row]))


def plain_gradients(
    model: LanguageModel, reading: Reading, target: Target
) -> dict[Place, torch.Tensor]:
    """`[pos, d]` of every place, by one ordinary backward pass through the whole model."""
    kept: dict[Place, torch.Tensor] = {}

    def keep(place: Place, activation: torch.Tensor) -> torch.Tensor:
        # Adding a zero that asks for a gradient leaves the graph whole, unlike cutting it.
        kept[place] = torch.zeros_like(activation).requires_grad_()
        return activation + kept[place]

    with torch.enable_grad():
        logits = model.forward(
            model.ids(reading.cut.tokens),
            [(place, lambda x, place=place: keep(place, x)) for place in reading.cut.order],
        )
        metric_value(target, logits[0]).backward()
    found = {}
    for place, zero in kept.items():
        assert zero.grad is not None
        found[place] = zero.grad[0].flatten(1)
    return found
