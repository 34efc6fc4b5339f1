"""The nodes and edges that carry most of a circuit's influence on its root.

By default by the shares of circuit-tracer (Ameisen et al. 2025): the fewest nodes that have 0.8 of all
nodes' influence, then the fewest edges between them that have 0.98 of these edges'. It drops what then is
not connected to the root. A circuit here lists only the strongest edges from each site, so that a node
without one may well have weaker ones: to drop it would be to drop the influence that was to be kept.
`attribution.influence` says what influence is.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from scd_tui.errors import InputError
from scd_tui.graph import Circuit, Edge, NodeId, Pruned

NODE_SHARE, EDGE_SHARE = 0.8, 0.98
_Item = TypeVar("_Item", bound=Hashable)
Group = Callable[[NodeId], str]
"""Nodes of one name are kept or dropped together."""


@dataclass(frozen=True)
class Kept:
    """What pruning leaves: nodes, the most influential first, and edges between them."""

    nodes: tuple[NodeId, ...]
    edges: tuple[Edge, ...]


def prune(
    root: NodeId,
    nodes: Mapping[NodeId, float],
    edges: Mapping[Edge, float],
    node_share: float = NODE_SHARE,
    edge_share: float = EDGE_SHARE,
    group: Group = str,
) -> Kept:
    """The fewest nodes that carry this share of all their influence, and edges between them of theirs.

    `nodes` and `edges` come with their influence; that of the root, which stays, does not count. Nodes
    that `group` gives one name count together, and so do the edges between two such names.
    """
    amounts: dict[str, float] = {}
    for node, value in nodes.items():
        if node != root:
            amounts[group(node)] = amounts.get(group(node), 0.0) + value
    chosen = set(_fewest(amounts, node_share))

    def is_chosen(node: NodeId) -> bool:
        return node == root or group(node) in chosen

    among: dict[tuple[str, str], list[Edge]] = {}
    carried: dict[tuple[str, str], float] = {}
    for edge, value in edges.items():
        if is_chosen(edge.source) and is_chosen(edge.target):
            ends = (group(edge.source), group(edge.target))
            among.setdefault(ends, []).append(edge)
            carried[ends] = carried.get(ends, 0.0) + value
    kept = (edge for ends in _fewest(carried, edge_share) for edge in among[ends])
    order = sorted(
        {root, *filter(is_chosen, nodes)},
        key=lambda node: (node != root, -nodes.get(node, 0.0), node),
    )
    return Kept(tuple(order), tuple(kept))


def _fewest(values: Mapping[_Item, float], share: float) -> list[_Item]:
    """The largest, as many as it takes to come to this share of the sum; ties in the given order."""
    # all of them may be reached before the last, where that is too small to change the sum
    wanted = share * sum(values.values()) if share < 1 else float("inf")
    so_far, found = 0.0, []
    for item, value in sorted(values.items(), key=lambda pair: -pair[1]):
        if so_far >= wanted or value <= 0.0:
            break
        found.append(item)
        so_far += value
    return found


def without_position(node: NodeId) -> str:
    """`mlp_out.3/7` of `mlp_out.3/7@9`: the group of a node at all positions."""
    return node.rpartition("@")[0]


def pruned(
    circuit: Circuit,
    node_share: float = NODE_SHARE,
    edge_share: float = EDGE_SHARE,
    *,
    summed: bool = False,
) -> Circuit:
    """The circuit with the nodes and edges that pruning leaves.

    With `summed` a feature counts with its influence at all positions together, and is kept at all or
    none of them. Raises InputError on files that do not say what influence their nodes have.
    """
    root = circuit.target.root
    by_id = {node.id: node for node in circuit.nodes}
    nodes = {node.id: node.influence for node in circuit.nodes if node.influence is not None}
    if root not in nodes:
        raise InputError(
            "the circuit does not say what influence its nodes have: attribute it again"
        )
    edges: dict[Edge, float] = {}
    for edge in circuit.edges:
        target = by_id[edge.target]
        if target.influence is not None and target.inflow:
            edges[edge] = target.influence * abs(edge.weight) / target.inflow
    group: Group = without_position if summed else str
    kept = prune(root, nodes, edges, node_share, edge_share, group)
    left = set(kept.nodes)
    return msgspec.structs.replace(
        circuit,
        nodes=tuple(node for node in circuit.nodes if node.id in left),
        edges=kept.edges,
        expanded=tuple(node for node in circuit.expanded if node in left),
        pruned=Pruned(node_share, edge_share, summed, len(circuit.nodes), len(circuit.edges)),
    )
