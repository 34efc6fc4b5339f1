"""Nodes of one name are the sum of what they are alone."""

import pytest
from circuits import ROOT, circuit_of

from scd_tui.graph import Edge, Node, NodeId
from scd_tui.grouped import grouped
from scd_tui.pruning import without_position

A4, A7, B7 = NodeId("mlp_out.1/3@4"), NodeId("mlp_out.1/3@7"), NodeId("mlp_out.0/5@7")
CIRCUIT = circuit_of(
    Node(ROOT, 2.0, 0.0, influence=1.0),
    Node(A4, 1.5, 1.0, exact=1.0, influence=0.25),
    Node(A7, -0.25, 1.0, exact=2.0, influence=0.5),
    Node(B7, 0.75, 1.0, exact=0.5),
    edges=(Edge(A4, ROOT, 1.5), Edge(A7, ROOT, -0.25), Edge(B7, A7, 3.0), Edge(B7, ROOT, -2.0)),
)


def test_alone_each_is_itself() -> None:
    found = grouped(CIRCUIT)
    assert [group.name for group in found.groups] == [ROOT, A4, A7, B7]
    for group, node in zip(found.groups, CIRCUIT.nodes, strict=True):
        assert (group.effect, group.exact, group.influence) == (
            node.effect,
            node.exact,
            node.influence,
        )
    assert [(edge.source.name, edge.weight) for edge in found.into[ROOT]] == [
        (B7, -2.0),
        (A4, 1.5),
        (A7, -0.25),
    ]


def test_a_feature_at_all_its_positions_is_their_sum() -> None:
    found = grouped(CIRCUIT, without_position)
    groups = {group.name: group for group in found.groups}
    feature = groups["mlp_out.1/3"]
    assert feature.effect == pytest.approx(1.25) and feature.influence == pytest.approx(0.75)
    assert [node.id for node in feature.nodes] == [A4, A7]
    assert [(edge.source.name, edge.weight) for edge in found.into[without_position(ROOT)]] == [
        ("mlp_out.0/5", -2.0),
        ("mlp_out.1/3", 1.25),
    ]
    assert [(edge.source.name, edge.weight) for edge in found.into["mlp_out.1/3"]] == [
        ("mlp_out.0/5", 3.0)
    ]


def test_what_was_measured_of_each_alone_is_not_said_of_all() -> None:
    groups = {group.name: group for group in grouped(CIRCUIT, without_position).groups}
    assert groups["mlp_out.1/3"].exact is None
    assert groups["mlp_out.0/5"].exact == 0.5


def test_influence_that_one_does_not_say_is_not_said_of_all() -> None:
    groups = {group.name: group for group in grouped(CIRCUIT, without_position).groups}
    assert groups["mlp_out.0/5"].influence is None
