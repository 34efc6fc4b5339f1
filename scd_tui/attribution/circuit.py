"""The strongest of an attribution, as records."""

from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor

from scd_tui.attribution.attribute import Attribution, EdgesInto, Scores
from scd_tui.attribution.dictionary import Encoded
from scd_tui.attribution.influence import influence
from scd_tui.attribution.model import Place
from scd_tui.errors import InputError
from scd_tui.graph import (
    Edge,
    Flow,
    Node,
    NodeId,
    NodeRef,
    Settings,
    Site,
    SiteSummary,
    error_id,
    feature_id,
    parse_node,
)


def node_record(attribution: Attribution, node: NodeId, *, top: bool = False) -> Node:
    return Node(node, attribution.effect(node), attribution.activation(node), top=top)


def explained_and_not(
    encoded: Encoded, scores: Scores, counted: Tensor | None = None
) -> tuple[float, float]:
    """Σ_p |Σ_i n_i(p)| over a site's features, and Σ_p |n_err(p)|, at the positions `counted` `[pos]`."""
    at = torch.zeros_like(scores.errors).index_add(0, encoded.positions, scores.features)
    errors = scores.errors
    if counted is not None:
        at, errors = torch.where(counted, at, 0.0), torch.where(counted, errors, 0.0)
    return float(at.abs().sum()), float(errors.abs().sum())


def _sums(attribution: Attribution, site: Site) -> tuple[float, float]:
    reading = attribution.reading
    return explained_and_not(reading.encoded[site], attribution.effects[site], reading.counted)


def share(explained: float, unexplained: float) -> float | None:
    """Of both, the explained part; None where both are 0."""
    size = explained + unexplained
    return explained / size if size > 0 else None


def explained_variance(x: Tensor, error: Tensor) -> float | None:
    """1 - Σ‖err‖² / Σ‖x - mean over positions‖² of `[pos, d]` and `[pos, d]`.

    As in sae_lens's evals but over one prompt's positions. None where x does not vary, as of one position.
    """
    if len(x) < 2:
        return None
    variance = float((x - x.mean(dim=0)).square().sum())
    return 1 - float(error.square().sum()) / variance if variance > 0 else None


def site_summary(attribution: Attribution, site: Site) -> SiteSummary:
    """Sums over a site, its share explained, and its explained variance on this prompt."""
    reading, scores = attribution.reading, attribution.effects[site]
    counted, counts, own = reading.counted, reading.counts(site), reading.positions.own
    return SiteSummary(
        site=site,
        features=float(torch.where(counts, scores.features, 0.0).sum()),
        error=float(torch.where(counted, scores.errors, 0.0).sum()),
        constant=float(torch.where(counted, scores.constants, 0.0).sum()),
        share_explained=share(*_sums(attribution, site)),
        explained_variance=explained_variance(
            reading.cut.activation(site)[own], reading.clean[site].error[own]
        ),
        active=int(counts.sum()),
    )


def share_explained(attribution: Attribution) -> float | None:
    """Share explained over all sites: the same ratio with both sums taken over sites too."""
    sums = [_sums(attribution, site) for site in attribution.reading.sites]
    return share(sum(explained for explained, _ in sums), sum(rest for _, rest in sums))


def site_nodes(attribution: Attribution, site: Site) -> tuple[Node, ...]:
    """The selected nodes of a site, strongest first."""
    nodes = [node_record(attribution, node, top=True) for node in attribution.selected[site]]
    return tuple(sorted(nodes, key=lambda node: -abs(node.effect)))


def _strongest_sources(
    attribution: Attribution, place: Place, into: EdgesInto, count: int
) -> list[tuple[NodeId, float]]:
    """The `count` sources of largest |weight| at a place, features and errors alike; sinks are left out."""
    reading, scores = attribution.reading, into[place]
    weights, counts = scores.leaves, reading.counted
    if isinstance(place, Site):
        weights = torch.cat([scores.features, scores.errors])
        counts = torch.cat([reading.counts(place), counts])
    weights = torch.where(counts, weights, 0.0)
    chosen = torch.argsort(weights.abs(), descending=True, stable=True)[:count]
    found = []
    for row, weight in zip(chosen.tolist(), weights[chosen].tolist(), strict=True):
        if weight == 0.0:
            continue
        if not isinstance(place, Site):
            name = NodeRef(place, row).id
        elif row < len(scores.features):
            position, index = attribution.reading.encoded[place].pairs[row]
            name = feature_id(place, index, position)
        else:
            name = error_id(place, row - len(scores.features))
        found.append((name, weight))
    return found


def strongest_edges(attribution: Attribution, node: NodeId, count: int) -> tuple[Edge, ...]:
    """The `count` strongest edges into a node from each place upstream, nearest place first."""
    into = attribution.upstream(node)
    order = [place for place in reversed(attribution.reading.cut.order) if place in into]
    return tuple(
        Edge(source, node, weight)
        for place in order
        for source, weight in _strongest_sources(attribution, place, into, count)
    )


def edge_weight(attribution: Attribution, source: NodeId, target: NodeId) -> float:
    """The weight of one edge. Raises InputError where no direct path leads from source to target."""
    into = attribution.upstream(target)
    if _place_of(parse_node(source)) not in into:
        raise InputError(f"no direct path leads from {source} to {target}")
    return weight_in(attribution, into, source)


def weight_in(attribution: Attribution, into: EdgesInto, source: NodeId) -> float:
    """The weight of the edge from a source, of those into one target; 0 where there is none."""
    ref = parse_node(source)
    if (scores := into.get(_place_of(ref))) is None:
        return 0.0
    if ref.site is None:
        return float(scores.leaves[ref.position])
    attribution.reading.check(ref)
    if ref.kind == "error":
        return float(scores.errors[ref.position])
    return float(scores.features[attribution.reading.row(ref)])


def _place_of(ref: NodeRef) -> Place:
    """Where a node is. Raises InputError on the root, which is nowhere."""
    if ref.site is not None:
        return ref.site
    if ref.kind == "root":
        raise InputError("nothing leads out of the metric")
    return "token" if ref.kind == "token" else "pos"


@dataclass(frozen=True)
class Graph:
    """A circuit's selected nodes, the root, and what feeds them.

    `expanded` are those whose edges were found, `flow` is where the root's influence ends.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    expanded: tuple[NodeId, ...]
    flow: Flow


def circuit_graph(attribution: Attribution, settings: Settings) -> Graph:
    """The records of an attribution, with the influence of every node in them."""
    root = attribution.target.root
    sites = tuple(reversed(attribution.reading.sites))
    top = {node: None for site in sites for node in attribution.selected[site]}
    expanded = (root, *top)
    edges: dict[tuple[NodeId, NodeId], Edge] = {}
    for target in expanded:
        for edge in strongest_edges(attribution, target, settings.edges):
            edges[edge.source, target] = edge
    nodes = {root: node_record(attribution, root, top=True)}
    for site in sites:
        nodes.update((node.id, node) for node in site_nodes(attribution, site))
    for edge in edges.values():
        if edge.source not in nodes:
            nodes[edge.source] = node_record(attribution, edge.source)
    table = influence(attribution)
    return Graph(
        tuple(
            msgspec.structs.replace(
                node, influence=table.of(node.id), inflow=table.totals.get(node.id)
            )
            for node in nodes.values()
        ),
        tuple(edges.values()),
        expanded,
        Flow(table.completeness, table.embeddings, table.errors, table.features),
    )
