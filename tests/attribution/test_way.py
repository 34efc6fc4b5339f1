"""The way up from a feature names what flows into it, a sublayer at a time."""

import pytest
from attributing import target_of

from scd_tui.attribution.attribute import Attribution, Reading, attribute, strongest
from scd_tui.attribution.circuit import strongest_edges
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.way import way_up
from scd_tui.errors import InputError
from scd_tui.graph import NodeId, parse_node

ALL = 100_000


@pytest.fixture
def attribution(tiny_model: LanguageModel, reading: Reading) -> Attribution:
    return attribute(reading, target_of(tiny_model, reading), strongest(3))


@pytest.fixture
def start(attribution: Attribution) -> NodeId:
    site = attribution.reading.sites[-1]
    return next(n for n in attribution.selected[site] if parse_node(n).kind == "feature")


def inflow(attribution: Attribution, node: NodeId) -> float:
    return sum(abs(edge.weight) for edge in strongest_edges(attribution, node, ALL))


def test_it_goes_from_the_last_site_to_the_embeddings(
    attribution: Attribution, start: NodeId
) -> None:
    way = way_up(attribution, start)
    sites = [parse_node(step.node).site for step in way]
    order = list(attribution.reading.sites)
    assert (way[0].node, way[0].share) == (start, 1.0)
    assert sites == sorted(sites, key=order.index, reverse=True) and len(set(sites)) == len(sites)
    assert len(way) > len(order) / 2
    sources = {parse_node(edge.source).kind for edge in way[-1].edges}
    assert sources & {"token", "pos"}


def test_each_step_has_its_strongest_edges_and_came_along_those_of_steps_before(
    attribution: Attribution, start: NodeId
) -> None:
    way = way_up(attribution, start, count=2)
    for n, step in enumerate(way):
        assert step.edges == strongest_edges(attribution, step.node, 2)
        if n > 0:
            came = sum(
                before.share * abs(edge.weight) / inflow(attribution, before.node)
                for before in way[:n]
                for edge in before.edges
                if edge.source == step.node
            )
            assert step.share == pytest.approx(came, rel=1e-4)
            assert 0 < came < 1


def test_of_a_site_the_feature_is_taken_that_most_came_through(
    attribution: Attribution, start: NodeId
) -> None:
    way = way_up(attribution, start)
    for n, step in enumerate(way[1:], start=1):
        others: dict[NodeId, float] = {}
        for before in way[:n]:
            for edge in before.edges:
                ref = parse_node(edge.source)
                if ref.site == parse_node(step.node).site and ref.kind == "feature":
                    part = before.share * abs(edge.weight) / inflow(attribution, before.node)
                    others[edge.source] = others.get(edge.source, 0.0) + part
        if others:
            assert others[step.node] == max(others.values())
        else:
            assert parse_node(step.node).kind == "error"


@pytest.mark.parametrize("node", ["embed/token@3", "mlp_out.1/999999@3"])
def test_it_begins_with_a_node_that_something_flows_into(
    attribution: Attribution, node: str
) -> None:
    with pytest.raises(InputError):
        way_up(attribution, NodeId(node))
