"""What flows from the root ends somewhere, all of it."""

import pytest
import torch
from attributing import target_of

from scd_tui.attribution.attribute import Attribution, Reading, attribute, strongest
from scd_tui.attribution.circuit import strongest_edges
from scd_tui.attribution.influence import Influence, influence
from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.model import LanguageModel
from scd_tui.graph import NodeId, NodeRef, error_id


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
