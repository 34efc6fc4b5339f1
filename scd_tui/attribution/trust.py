"""How far gradient effects can be believed: estimate against exact ablation.

Over the features with the largest |estimate|: the rank correlation of |estimate| with |exact| (the
headline), the signed one (inflated, because signs alone agree well among large estimates), how
often signs agree, and the summed absolute difference relative to Σ|exact|.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from scd_tui.attribution.attribute import Attribution
from scd_tui.graph import Edge, NodeRef, Site, SiteTrust, Trust, TrustScores, feature_id

OVERALL = 100
"""Features measured for a circuit, the strongest of all sites; and edges."""
PER_SITE = 20
"""Features of a site in its own statistics, and the fewest that any statistic is given for."""


def average_ranks(values: Tensor) -> Tensor:
    """Ranks `[n]` from 1, ties sharing their mean rank."""
    below = (values[None, :] < values[:, None]).sum(dim=1)
    equal = (values[None, :] == values[:, None]).sum(dim=1)
    return below + (equal + 1) / 2


def spearman(a: Tensor, b: Tensor) -> float | None:
    """Spearman's rank correlation of `[n]` and `[n]`; None where one of them is constant."""
    x, y = average_ranks(a), average_ranks(b)
    x, y = x - x.mean(), y - y.mean()
    norm = float(x.norm() * y.norm())
    return float(x @ y) / norm if norm > 0 else None


def trust_scores(estimates: Sequence[float], exact: Sequence[float]) -> TrustScores:
    """The four statistics of paired effects; None below 20 pairs."""
    n = len(estimates)
    if n < PER_SITE:
        return TrustScores(n, None, None, None, None)
    a = torch.tensor(estimates, dtype=torch.float64)
    b = torch.tensor(exact, dtype=torch.float64)
    size = float(b.abs().sum())
    return TrustScores(
        n=n,
        abs_spearman=spearman(a.abs(), b.abs()),
        signed_spearman=spearman(a, b),
        sign_agreement=float((a.sign() == b.sign()).double().mean()),
        relative_error=float((a - b).abs().sum()) / size if size > 0 else None,
    )


def _counted(attribution: Attribution, site: Site, values: Tensor) -> Tensor:
    """`[m]`: sizes of what a site's features have; 0 at positions that are left out."""
    return torch.where(attribution.reading.counts(site), values.abs(), 0.0)


def strongest_features(
    attribution: Attribution, count: int, site: Site | None = None
) -> list[NodeRef]:
    """The features of largest |effect|, of one site or of all. Effects of zero are left out."""
    sites = attribution.reading.sites if site is None else (site,)
    found: list[tuple[float, NodeRef]] = []
    for at in sites:
        encoded = attribution.reading.encoded[at]
        sizes = _counted(attribution, at, attribution.effects[at].features)
        for row in torch.argsort(sizes, descending=True, stable=True)[:count].tolist():
            if float(sizes[row]) != 0.0:
                node = NodeRef(
                    "feature", int(encoded.positions[row]), at, int(encoded.indices[row])
                )
                found.append((float(sizes[row]), node))
    found.sort(key=lambda pair: (-pair[0], str(pair[1])))
    return [node for _, node in found[:count]]


def nodes_to_measure(attribution: Attribution) -> list[NodeRef]:
    """Every node whose exact effect `trust` needs: strongest of the circuit first, then of each site."""
    wanted = dict.fromkeys(strongest_features(attribution, OVERALL))
    for site in reversed(attribution.reading.sites):
        wanted.update(dict.fromkeys(strongest_features(attribution, PER_SITE, site)))
    return list(wanted)


def edges_to_measure(attribution: Attribution, count: int = OVERALL) -> list[Edge]:
    """The edges of largest |weight| from features into the root and into selected nodes.

    Those of zero are left out.
    """
    reading = attribution.reading
    targets = [
        attribution.target.root,
        *(n for chosen in attribution.selected.values() for n in chosen),
    ]
    into = [
        (target, place, scores.features, _counted(attribution, place, scores.features))
        for target in targets
        for place, scores in attribution.upstream(target).items()
        if isinstance(place, Site)
    ]
    if not into:
        return []
    every = torch.cat([sizes for *_, sizes in into])
    least = every.topk(min(count, len(every))).values[-1:]
    found: list[Edge] = []
    for target, site, weights, sizes in into:
        encoded = reading.encoded[site]
        for row in ((sizes >= least) & (sizes > 0)).nonzero().flatten().tolist():
            source = feature_id(site, int(encoded.indices[row]), int(encoded.positions[row]))
            found.append(Edge(source, target, float(weights[row])))
    found.sort(key=lambda edge: (-abs(edge.weight), edge.source, edge.target))
    return found[:count]


def trust(attribution: Attribution, exact: Mapping[NodeRef, float]) -> Trust:
    """Trust of a circuit from measured effects, which must cover `nodes_to_measure`."""

    def compare(nodes: Sequence[NodeRef]) -> TrustScores:
        return trust_scores(
            [attribution.effect(node.id) for node in nodes], [exact[node] for node in nodes]
        )

    return Trust(
        compare(strongest_features(attribution, OVERALL)),
        tuple(
            SiteTrust(site, compare(strongest_features(attribution, PER_SITE, site)))
            for site in reversed(attribution.reading.sites)
        ),
    )
