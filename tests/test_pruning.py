"""Pruning keeps what carries most of the influence."""

import msgspec
import pytest
from circuits import ROOT, circuit_of
from hypothesis import given
from hypothesis import strategies as st

from scd_tui.errors import InputError
from scd_tui.graph import Edge, Node, NodeId, Pruned, Site, feature_id
from scd_tui.pruning import prune, pruned


def node(index: int) -> NodeId:
    return feature_id(Site(0, "mlp_out"), index, 0)


def test_the_fewest_nodes_that_carry_the_share_are_kept() -> None:
    nodes = {ROOT: 1.0, node(1): 0.5, node(2): 0.3, node(3): 0.2}
    edges = {Edge(n, ROOT, 1.0): v for n, v in nodes.items() if n != ROOT}
    assert prune(ROOT, nodes, edges, 0.8, 1.0).nodes == (ROOT, node(1), node(2))
    assert prune(ROOT, nodes, edges, 0.5, 1.0).nodes == (ROOT, node(1))
    assert prune(ROOT, nodes, edges, 1.0, 1.0).nodes == (ROOT, node(1), node(2), node(3))


def test_a_node_stays_whose_edges_are_too_weak_to_stay_or_to_be_listed() -> None:
    nodes = {ROOT: 1.0, node(1): 0.5, node(2): 0.4, node(3): 0.3}
    edges = {
        Edge(node(1), ROOT, 1.0): 0.5,
        Edge(node(2), node(1), 1.0): 0.45,
        Edge(node(3), node(2), 1.0): 0.01,
    }
    kept = prune(ROOT, nodes, edges, 1.0, 0.95)
    assert kept.nodes == (ROOT, node(1), node(2), node(3))
    assert [edge.source for edge in kept.edges] == [node(1), node(2)]


def test_all_of_the_influence_is_every_node_that_has_any() -> None:
    nodes = {ROOT: 1.0, node(1): 1.0, node(2): 1e-200, node(3): 0.0}
    edges = {Edge(name, ROOT, 1.0): value for name, value in nodes.items() if name != ROOT}
    assert set(prune(ROOT, nodes, edges, 1.0, 1.0).nodes) == {ROOT, node(1), node(2)}


SIZES = st.integers(0, 64).map(lambda n: n / 64)
"""Of which sums are exact: of others the last, all too small, may be lost in rounding."""


@given(st.data())
def test_pruning_keeps_the_shares_and_no_more_than_it_takes(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    names = [ROOT, *(node(i) for i in range(count))]
    values = data.draw(st.lists(SIZES, min_size=count, max_size=count))
    nodes = dict(zip(names, [1.0, *values], strict=True))
    pairs = data.draw(
        st.sets(
            st.tuples(st.integers(1, count), st.integers(0, count)).filter(lambda p: p[0] > p[1])
        )
    )
    edges = {
        Edge(names[source], names[target], 1.0): data.draw(SIZES)
        for source, target in sorted(pairs)
    }
    node_share, edge_share = data.draw(st.floats(0.1, 1)), data.draw(st.floats(0.1, 1))
    kept = prune(ROOT, nodes, edges, node_share, edge_share)
    assert kept.nodes[0] == ROOT and set(kept.nodes) <= set(nodes)
    assert set(kept.edges) <= set(edges)
    for edge in kept.edges:
        assert edge.source in kept.nodes and edge.target in kept.nodes
    whole = sum(nodes.values()) - 1.0
    left = [nodes[name] for name in kept.nodes if name != ROOT]
    assert sum(left) >= node_share * whole - 1e-9
    if left and node_share < 1:
        assert sum(left) - min(left) < node_share * whole
    among = {e: v for e, v in edges.items() if {e.source, e.target} <= set(kept.nodes)}
    assert sum(edges[edge] for edge in kept.edges) >= edge_share * sum(among.values()) - 1e-9
    more = prune(ROOT, nodes, edges, 1.0, 1.0)
    assert set(kept.nodes) <= set(more.nodes)


# --- circuits ------------------------------------------------------------------------------------


def at(index: int, position: int) -> NodeId:
    return feature_id(Site(0, "mlp_out"), index, position)


CIRCUIT = circuit_of(
    Node(ROOT, 2.0, 0.0, influence=1.0, inflow=10.0),
    Node(at(1, 0), -1.0, 1.0, influence=0.5, inflow=4.0),
    Node(at(2, 0), 1.0, 1.0, influence=0.3),
    Node(at(2, 1), 1.0, 1.0, influence=0.3),
    Node(at(3, 0), 1.0, 1.0, influence=0.4, inflow=1.0),
    edges=(
        Edge(at(1, 0), ROOT, -5.0),
        Edge(at(2, 0), ROOT, 1.0),
        Edge(at(2, 1), ROOT, 0.5),
        Edge(at(3, 0), ROOT, 2.0),
        Edge(at(2, 1), at(1, 0), 2.0),
        Edge(at(2, 0), at(3, 0), 0.1),
    ),
)
"""By influence, node 1 comes first; then node 2 if its positions count together, else node 3."""


def test_a_circuit_is_pruned_by_the_influence_of_each_node() -> None:
    left = pruned(CIRCUIT, 0.6, 1.0)
    assert [node.id for node in left.nodes] == [ROOT, at(1, 0), at(3, 0)]
    assert {(edge.source, edge.target) for edge in left.edges} == {
        (at(1, 0), ROOT),
        (at(3, 0), ROOT),
    }
    assert left.expanded == (ROOT, at(1, 0), at(3, 0))
    assert left.pruned == Pruned(0.6, 1.0, False, 5, 6)


def test_with_positions_together_a_feature_stays_at_all_or_none() -> None:
    left = pruned(CIRCUIT, 0.7, 1.0, summed=True)
    assert [node.id for node in left.nodes] == [ROOT, at(1, 0), at(2, 0), at(2, 1)]
    assert left.pruned == Pruned(0.7, 1.0, True, 5, 6)


def test_an_edge_carries_its_share_of_its_target_s_influence() -> None:
    """0.5, 0.1, 0.05 and 0.2 into the root; 0.25 of the half that node 1 has; 0.04 of node 3's."""
    carried = [0.5, 0.25, 0.2, 0.1, 0.05, 0.04]
    order = [(1, 0), (2, 1), (3, 0), (2, 0), (2, 1), (2, 0)]
    for count in range(1, len(order) + 1):
        share = (sum(carried[:count]) - 1e-6) / sum(carried)
        left = pruned(CIRCUIT, 1.0, share)
        assert [edge.source for edge in left.edges] == [at(*pair) for pair in order[:count]]


def test_edges_of_one_feature_at_several_positions_count_together() -> None:
    """Those from node 2 into the root carry 0.1 and 0.05, and stay or go as one."""
    for share, kept in ((0.83, 0), (0.85, 2)):
        left = pruned(CIRCUIT, 1.0, share, summed=True)
        direct = [e for e in left.edges if e.target == ROOT and "/2@" in e.source]
        assert len(direct) == kept


def test_a_file_without_influence_is_not_pruned() -> None:
    before = msgspec.structs.replace(
        CIRCUIT,
        nodes=tuple(
            msgspec.structs.replace(node, influence=None, inflow=None) for node in CIRCUIT.nodes
        ),
    )
    with pytest.raises(InputError, match="attribute it again"):
        pruned(before)
