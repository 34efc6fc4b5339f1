"""What flows from the root ends somewhere, all of it; and pruning keeps what carries it."""

import pytest
import torch
from attributing import target_of
from hypothesis import given
from hypothesis import strategies as st

from scd_tui.attribution.attribute import Attribution, Reading, attribute, strongest
from scd_tui.attribution.circuit import strongest_edges
from scd_tui.attribution.influence import Influence, influence, prune
from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.model import LanguageModel
from scd_tui.graph import Edge, NodeId, NodeRef, Site, error_id, feature_id

ROOT = NodeId("diff/7-11@8")


@pytest.fixture(params=[1, 8])
def attribution(
    request: pytest.FixtureRequest, tiny_model: LanguageModel, reading: Reading
) -> Attribution:
    return attribute(reading, target_of(tiny_model, reading), strongest(request.param))


def test_all_influence_ends_somewhere(attribution: Attribution) -> None:
    table = influence(attribution)
    assert table.embeddings + table.errors + table.features == pytest.approx(1.0, abs=1e-5)
    assert min(table.embeddings, table.errors, table.features) >= -1e-6
    assert 0 < table.completeness < 1


def by_paths(attribution: Attribution) -> dict[NodeId, float]:
    """Influence of the followed nodes as a sum over all paths, from (1 - A)⁻¹ of the whole matrix."""
    followed = list(attribution.edges)
    shares = torch.zeros(len(followed), len(followed), dtype=torch.float64)
    for column, target in enumerate(followed):
        into = attribution.edges[target]
        total = sum(
            float(s.features.abs().sum() + s.errors.abs().sum() + s.leaves.abs().sum())
            for s in into.values()
        )
        known = {
            edge.source: abs(edge.weight)
            for edge in strongest_edges(attribution, target, count=100_000)
        }
        for row, source in enumerate(followed):
            shares[row, column] = known.get(source, 0.0) / total
    start = torch.zeros(len(followed), dtype=torch.float64)
    start[followed.index(attribution.target.root)] = 1
    found = torch.linalg.solve(torch.eye(len(followed), dtype=torch.float64) - shares, start)
    return dict(zip(followed, found.tolist(), strict=True))


def test_it_is_the_sum_over_all_paths(attribution: Attribution) -> None:
    table = influence(attribution)
    expected = by_paths(attribution)
    assert len(expected) > 10
    for node, value in expected.items():
        assert table.of(node) == pytest.approx(value, abs=1e-6)


def test_where_it_ends_is_the_influence_of_the_nodes_there(attribution: Attribution) -> None:
    """Embeddings and errors hand nothing on, unless the error was followed."""
    table, reading = influence(attribution), attribution.reading
    positions = range(len(reading.cut.tokens))
    leaves = [table.of(NodeRef(kind, p).id) for kind in ("token", "pos") for p in positions]
    assert sum(leaves) == pytest.approx(table.embeddings, rel=1e-3)
    errors = [error_id(site, p) for site in reading.sites for p in positions]
    ending = [table.of(node) for node in errors if node not in attribution.edges]
    assert sum(ending) == pytest.approx(table.errors, rel=1e-3)
    assert min(sum(leaves), sum(ending)) > 1e-4


def test_completeness_is_the_share_of_what_flows_in_that_comes_out_of_no_error(
    attribution: Attribution,
) -> None:
    table = influence(attribution)
    flows = out_of_errors = 0.0
    for node, into in attribution.edges.items():
        errors = sum(float(s.errors.abs().sum()) for s in into.values())
        others = sum(float(s.features.abs().sum() + s.leaves.abs().sum()) for s in into.values())
        flows += table.of(node)
        out_of_errors += table.of(node) * errors / (errors + others)
    assert table.completeness == pytest.approx(1 - out_of_errors / flows, abs=1e-5)
    assert abs(table.completeness - 0.5) > 1e-3


def test_an_edge_takes_its_share(attribution: Attribution) -> None:
    table = influence(attribution)
    node = max((n for n in attribution.edges if n != attribution.target.root), key=table.of)
    edges = strongest_edges(attribution, node, count=100_000)
    assert sum(table.along(edge) for edge in edges) == pytest.approx(table.of(node), rel=1e-4)


def test_following_more_nodes_leaves_less_at_unfollowed_features(
    tiny_model: LanguageModel, reading: Reading
) -> None:
    target = resolve_target(tiny_model, reading.cut.tokens, reading.cut.logits.detach(), target=7)
    shares: list[Influence] = [
        influence(attribute(reading, target, strongest(count))) for count in (1, 4, 16)
    ]
    assert shares[0].features > shares[1].features > shares[2].features
    assert shares[0].embeddings < shares[1].embeddings < shares[2].embeddings


# --- pruning -------------------------------------------------------------------------------------


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
