"""Pruning keeps what carries most of the influence, tied to the root."""

from hypothesis import given
from hypothesis import strategies as st

from scd_tui.graph import Edge, NodeId, Site, feature_id
from scd_tui.pruning import prune

ROOT = NodeId("diff/7-11@8")


def node(index: int) -> NodeId:
    return feature_id(Site(0, "mlp_out"), index, 0)


def test_the_fewest_nodes_that_carry_the_share_are_kept() -> None:
    nodes = {ROOT: 1.0, node(1): 0.5, node(2): 0.3, node(3): 0.2}
    edges = {Edge(n, ROOT, 1.0): v for n, v in nodes.items() if n != ROOT}
    assert prune(ROOT, nodes, edges, 0.8, 1.0).nodes == (ROOT, node(1), node(2))
    assert prune(ROOT, nodes, edges, 0.5, 1.0).nodes == (ROOT, node(1))
    assert prune(ROOT, nodes, edges, 1.0, 1.0).nodes == (ROOT, node(1), node(2), node(3))


def test_what_no_longer_leads_to_the_root_goes() -> None:
    nodes = {ROOT: 1.0, node(1): 0.5, node(2): 0.4, node(3): 0.3}
    edges = {
        Edge(node(1), ROOT, 1.0): 0.5,
        Edge(node(2), node(1), 1.0): 0.45,
        Edge(node(3), node(2), 1.0): 0.01,
    }
    kept = prune(ROOT, nodes, edges, 1.0, 0.95)
    assert kept.nodes == (ROOT, node(1), node(2))
    assert [edge.source for edge in kept.edges] == [node(1), node(2)]


def test_all_of_the_influence_is_every_node_that_has_any() -> None:
    nodes = {ROOT: 1.0, node(1): 1.0, node(2): 1e-200, node(3): 0.0}
    edges = {Edge(name, ROOT, 1.0): value for name, value in nodes.items() if name != ROOT}
    assert set(prune(ROOT, nodes, edges, 1.0, 1.0).nodes) == {ROOT, node(1), node(2)}


SIZES = st.integers(0, 64).map(lambda n: n / 64)
"""Of which sums are exact: of others the last, all too small, may be lost in rounding."""


@given(st.data())
def test_pruning_keeps_only_what_is_there_and_reaches_the_root(data: st.DataObject) -> None:
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
    reached = {ROOT}
    for _ in names:
        reached |= {edge.source for edge in kept.edges if edge.target in reached}
    assert set(kept.nodes) == reached
    more = prune(ROOT, nodes, edges, 1.0, 1.0)
    assert set(kept.nodes) <= set(more.nodes)
