from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.attribute import Reading, attribute, strongest
from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.sinks import Positions
from scd_tui.attribution.trust import (
    average_ranks,
    edges_to_measure,
    nodes_to_measure,
    spearman,
    strongest_features,
    trust,
    trust_scores,
)
from scd_tui.graph import Site, feature_id

SMALL = st.integers(min_value=-4, max_value=4).map(float)


@given(st.lists(SMALL, min_size=1, max_size=30))
def test_ranks_are_scipy_s_average_ranks(values: list[float]) -> None:
    assert average_ranks(torch.tensor(values)).tolist() == rankdata(values).tolist()


@given(st.lists(st.tuples(SMALL, SMALL), min_size=3, max_size=40))
def test_rank_correlation_is_scipy_s(pairs: list[tuple[float, float]]) -> None:
    a, b = zip(*pairs, strict=True)
    ours = spearman(torch.tensor(a), torch.tensor(b))
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert ours is None
    else:
        assert ours == pytest.approx(spearmanr(a, b).statistic, abs=1e-6)


def test_the_four_statistics_on_a_case_done_by_hand() -> None:
    estimates = [float(n) for n in range(1, 21)]
    exact = [-1.0, *(2.0 * n for n in range(2, 21))]
    scores = trust_scores(estimates, exact)
    assert scores.n == 20
    assert scores.abs_spearman == pytest.approx(1.0)
    assert scores.signed_spearman == pytest.approx(1.0)
    assert scores.sign_agreement == pytest.approx(19 / 20)
    assert scores.relative_error == pytest.approx((2 + sum(range(2, 21))) / (1 + 2 * 209))


def test_under_twenty_features_nothing_is_claimed() -> None:
    scores = trust_scores([1.0] * 19, [1.0] * 19)
    assert scores.n == 19
    assert scores.abs_spearman is None and scores.relative_error is None


def test_a_circuit_s_trust_is_over_its_strongest_features_only(
    tiny_model: LanguageModel, reading: Reading
) -> None:
    target = resolve_target(tiny_model, reading.cut.tokens, reading.cut.logits.detach(), target=7)
    result = attribute(reading, target, strongest(3))
    nodes = nodes_to_measure(result)
    exact = {}
    for part in exact_effects(tiny_model, reading, target, nodes):
        exact.update(part)
    found = trust(result, exact)

    best = strongest_features(result, 100)
    effects = sorted(
        (abs(float(n)) for site in reading.sites for n in result.effects[site].features),
        reverse=True,
    )
    assert [abs(result.effect(node.id)) for node in best] == pytest.approx(effects[:100], rel=1e-5)
    assert all(node.kind == "feature" for node in nodes)
    assert found.overall.n == 100
    assert found.overall.signed_spearman == pytest.approx(
        spearmanr([result.effect(n.id) for n in best], [exact[n] for n in best]).statistic
    )
    assert [s.site for s in found.sites] == list(reversed(reading.sites))
    assert all(s.scores.n <= 20 for s in found.sites)


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("count", [1, 30, 100_000])
def test_the_edges_measured_are_the_largest_into_the_root_and_the_selected_nodes(
    tiny_model: LanguageModel, reading: Reading, first: int, count: int
) -> None:
    target = resolve_target(tiny_model, reading.cut.tokens, reading.cut.logits.detach(), target=7)
    counted = torch.arange(len(reading.cut.tokens)) >= first
    reading = replace(reading, positions=Positions((), counted, counted))
    result = attribute(reading, target, strongest(2))
    known: dict[tuple[str, str], float] = {}
    for node, into in result.edges.items():
        for place, scores in into.items():
            if isinstance(place, Site):
                encoded = reading.encoded[place]
                for row, weight in enumerate(scores.features.tolist()):
                    position = int(encoded.positions[row])
                    if weight != 0 and position >= first:
                        source = feature_id(place, int(encoded.indices[row]), position)
                        known[source, node] = weight
    found = edges_to_measure(result, count)
    assert len(found) == min(count, len(known)) and len(known) > 100
    assert all(edge.weight == known[edge.source, edge.target] for edge in found)
    sizes = [abs(edge.weight) for edge in found]
    assert sizes == sorted((abs(value) for value in known.values()), reverse=True)[:count]
