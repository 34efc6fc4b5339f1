"""Edges on SmolLM2, against finite differences in transformers with every other site held."""

import pytest
import torch
from real.plain import Place, PlainReading, furthest
from real.training import SITES
from torch import Tensor

from scd_tui.attribution.circuit import edge_weight
from scd_tui.attribution.explain import Explanation
from scd_tui.graph import NodeId, Site, error_id, feature_id, parse_node

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

FOUR_DIGITS = 5e-5
"""Of the largest edge into the target."""
STEP = 1e-3
"""Of the source's vector; the reference computes in float64, where smaller differences hold too."""

LEAST_COMPARED = 4
"""Of the edges looked at for a site or the metric, that are not 0."""


def sources(plain: PlainReading, place: Place, at: int) -> list[tuple[NodeId, int, Tensor]]:
    """Node, position and vector of the strongest at a place: of all positions, and at the target's own.

    A feature and an error each; of the embeddings, the names' and the target's own.
    """
    if place is None:
        return [(f"embed/token@{p}", p, plain.x[None][p]) for p in sorted({1, 3, 9, at})]
    parts = plain.parts[place]
    features = {plain.strongest(place), plain.strongest(place, at)}
    errors = {plain.worst_error(place), at}
    return [
        (feature_id(place, index, position), position, plain.written(place, parts, index, position))
        for position, index in sorted(features)
    ] + [(error_id(place, p), p, plain.written(place, parts, None, p)) for p in sorted(errors)]


def held_against_differences(
    explanation: Explanation, plain: PlainReading, target: NodeId
) -> tuple[int, float]:
    """How many edges into a target were compared, and the largest difference, of the largest edge."""
    ref, attribution = parse_node(target), explanation.attribution
    order: list[Place] = [None, *SITES]
    places = order if ref.site is None else order[: order.index(ref.site)]
    edges: list[tuple[NodeId, Place]] = []
    changes: list[tuple[Place, int, Tensor]] = []
    for place in places:
        for node, position, vector in sources(plain, place, ref.position):
            edges.append((node, place))
            changes += [(place, position, sign * STEP * vector) for sign in (1, -1)]
    seen = plain.with_only(changes, ref.site)
    values = plain.metric(seen) if ref.site is None else plain.frozen(ref, seen)
    expected = (values[::2] - values[1::2]) / (2 * STEP)
    into = attribution.upstream(target)
    found = torch.zeros_like(expected)
    for row, (node, place) in enumerate(edges):
        if (place or "token") in into:
            found[row] = edge_weight(attribution, node, target)
        else:
            assert float(expected[row].abs()) < 1e-9, (
                f"no direct path leads from {node} to {target}"
            )
    return int((expected.abs() > 1e-6).sum()), furthest(found, expected)


@pytest.mark.parametrize("site", SITES, ids=str)
def test_edges_into_a_feature_and_an_error_are_finite_differences(
    explanation: Explanation, plain: PlainReading, site: Site, report: list[str]
) -> None:
    position, index = plain.strongest(site)
    targets = feature_id(site, index, position), error_id(site, plain.worst_error(site))
    found = [held_against_differences(explanation, plain, target) for target in targets]
    compared, worst = sum(count for count, _ in found), max(furthest for _, furthest in found)
    report.append(f"edges into {site}: {compared} compared, off by {worst:.1e} at most")
    assert compared >= LEAST_COMPARED
    assert worst < FOUR_DIGITS


def test_edges_into_the_metric_are_finite_differences(
    explanation: Explanation, plain: PlainReading, report: list[str]
) -> None:
    root = explanation.attribution.target.root
    compared, worst = held_against_differences(explanation, plain, root)
    report.append(f"edges into the metric: {compared} compared, off by {worst:.1e} at most")
    assert compared >= LEAST_COMPARED
    assert worst < FOUR_DIGITS
