"""Node effects by the method asked for: gradients, integrated gradients, or ablation of every node."""

from collections.abc import Callable
from dataclasses import replace

from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.attribute import Reading, Scores
from scd_tui.attribution.integrated import integrated_effects
from scd_tui.attribution.model import LanguageModel
from scd_tui.graph import Method, NodeRef, Site, Target

EffectsOf = Callable[[Site, Scores], Scores]
"""Effects of a site's nodes, given those by gradients."""


def effects_by(
    method: Method,
    model: LanguageModel,
    reading: Reading,
    target: Target,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> EffectsOf:
    """How a method finds effects, its slow part done. An exception of `on_progress` ends it.

    What a site's constant sends on is no node's, and by ablation it stays the gradient's.
    """
    if method == "gradient":
        return lambda site, scores: scores
    if method == "integrated":
        total = len(reading.sites)
        found = {}
        for done, (site, scores) in enumerate(integrated_effects(model, reading, target), start=1):
            found[site] = scores
            on_progress(done, total)
        return lambda site, scores: found[site]

    nodes = [node for site in reading.sites for node in all_nodes(reading, site)]
    exact: dict[NodeRef, float] = {}
    for batch in exact_effects(model, reading, target, nodes):
        exact.update(batch)
        on_progress(len(exact), len(nodes))

    def measured(site: Site, scores: Scores) -> Scores:
        values = scores.errors.new_tensor([exact[node] for node in all_nodes(reading, site)])
        count = len(scores.features)
        return replace(scores, features=values[:count], errors=values[count:])

    return measured


def all_nodes(reading: Reading, site: Site) -> list[NodeRef]:
    """A site's features in the order of its reading, then its errors, position by position."""
    encoded = reading.encoded[site]
    pairs = zip(encoded.positions.tolist(), encoded.indices.tolist(), strict=True)
    features = [NodeRef("feature", position, site, index) for position, index in pairs]
    return features + [NodeRef("error", p, site) for p in range(len(reading.cut.tokens))]
