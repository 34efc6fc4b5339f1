"""How much of a target flows through each node.

An edge's share is |w| over the sum of |w| of everything that leads into its target: features, errors
and embeddings, selected or not. The root has influence 1, and a node hands what it has on to its
sources by their shares, as far as its edges are known:

    influence(u) = Σ_v influence(v) |w(u → v)| / Σ_u' |w(u' → v)|

All of it ends at embeddings, or at errors and features that were not followed further. Sinks that are
left out are in no sum. Signs are
left out, for paths that cancel are both part of the mechanism. This is the influence by which
circuit-tracer prunes (Ameisen et al. 2025), on a graph whose unselected sources stay in the sums;
`scd_tui.pruning` prunes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from scd_tui.attribution.attribute import Attribution, Reading, Scores
from scd_tui.attribution.model import Place
from scd_tui.graph import Edge, NodeId, NodeRef, Site, parse_node


@dataclass(frozen=True)
class Influence:
    """Influence of every node on the root, and where it ends.

    `places[place]` `[m + pos + pos]`: of a place's features, errors and embeddings, one after the
    other. `totals[node]`: Σ|w| of all edges into a followed node. `embeddings`, `errors`, `features`:
    the shares of the whole that end there; they add up to 1. `completeness`: the share of what flows
    into followed nodes that does not come out of errors (circuit-tracer's graph score).
    """

    reading: Reading
    places: Mapping[Place, Tensor]
    totals: Mapping[NodeId, float]
    embeddings: float
    errors: float
    features: float
    completeness: float

    def of(self, node: NodeId) -> float:
        """A node's influence; 1 for the root. Raises InputError on inactive features."""
        ref = parse_node(node)
        if ref.kind == "root":
            return 1.0
        return float(self.places[_place(ref)][_row(self.reading, ref)])

    def along(self, edge: Edge) -> float:
        """The part of an edge's target's influence that it takes to its source."""
        total = self.totals.get(edge.target, 0.0)
        return self.of(edge.target) * abs(edge.weight) / total if total else 0.0


def _place(ref: NodeRef) -> Place:
    if ref.site is not None:
        return ref.site
    return "token" if ref.kind == "token" else "pos"


def _row(reading: Reading, ref: NodeRef) -> int:
    """Where a node stands in its place's vector."""
    if ref.kind == "feature":
        return reading.row(ref)
    place = _place(ref)
    features = len(reading.encoded[place].values) if isinstance(place, Site) else 0
    leaves = 0 if isinstance(place, Site) else len(reading.cut.tokens)
    return features + leaves + ref.position


def edge_sizes(reading: Reading, place: Place, scores: Scores) -> Tensor:
    """`[m + pos + pos]`: |w| of a place's edges into one target, 0 at sinks that are left out.

    Constants are no nodes and have no part.
    """
    counted = reading.counted
    counts = reading.counts(place) if isinstance(place, Site) else counted[:0]
    sizes = torch.cat([scores.features, scores.errors, scores.leaves]).abs()
    return torch.where(torch.cat([counts, counted, counted]), sizes, 0.0)


def influence(attribution: Attribution) -> Influence:
    """Influence along the edges that are known: those into the root and into followed nodes."""
    reading = attribution.reading
    sizes = {
        node: {place: edge_sizes(reading, place, scores) for place, scores in into.items()}
        for node, into in attribution.edges.items()
    }
    totals = {
        node: float(sum(part.sum() for part in into.values())) for node, into in sizes.items()
    }
    places = {
        place: torch.zeros_like(edge_sizes(reading, place, attribution.effects[place]))
        for place in reading.cut.order
    }
    table = Influence(reading, places, totals, 0.0, 0.0, 0.0, 0.0)
    handed_on = {place: torch.zeros_like(mine) for place, mine in places.items()}
    inflow = out_of_errors = 0.0
    for node in _targets_first(attribution):
        amount, total, ref = table.of(node), totals[node], parse_node(node)
        if amount == 0.0 or total == 0.0:
            continue
        inflow += amount
        if ref.site is not None:
            handed_on[ref.site][_row(reading, ref)] = amount
        for place, part in sizes[node].items():
            places[place].add_(part, alpha=amount / total)
            out_of_errors += amount / total * float(_errors(reading, place, part).sum())

    ends = {place: mine - handed_on[place] for place, mine in places.items()}
    errors = sum(float(_errors(reading, place, end).sum()) for place, end in ends.items())
    embeddings = sum(float(end.sum()) for place, end in ends.items() if not isinstance(place, Site))
    everything = sum(float(end.sum()) for end in ends.values())
    return Influence(
        *(reading, places, totals),
        embeddings=embeddings,
        errors=errors,
        features=everything - errors - embeddings,
        completeness=1 - out_of_errors / inflow if inflow else 0.0,
    )


def _errors(reading: Reading, place: Place, values: Tensor) -> Tensor:
    """The errors' part of a place's vector."""
    if not isinstance(place, Site):
        return values[:0]
    features = len(reading.encoded[place].values)
    return values[features : features + len(reading.cut.tokens)]


def _targets_first(attribution: Attribution) -> list[NodeId]:
    """The nodes whose edges are known, every target before its sources."""
    rank = {site: n for n, site in enumerate(attribution.reading.sites)}

    def depth(node: NodeId) -> int:
        site = parse_node(node).site
        return -len(rank) if site is None else -rank[site]

    return sorted(attribution.edges, key=depth)
