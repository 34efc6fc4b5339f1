"""Neighbours along the prompt and along a direction, against a search through everything."""

import pytest
from tiny import PROMPT

from scd_tui.attribution.explain import Explanation, explain
from scd_tui.attribution.heads import edges_by_head
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.neighbours import same_elsewhere, thread
from scd_tui.errors import InputError
from scd_tui.graph import NodeId, Settings, Site, feature_id, parse_node


@pytest.fixture(scope="module")
def explanation(tiny_loaded: LoadedModel) -> Explanation:
    return explain(tiny_loaded, PROMPT, target=7, contrast=11, settings=Settings(top=3))


def features(explanation: Explanation, site: Site) -> list[NodeId]:
    pairs = explanation.attribution.reading.encoded[site].pairs
    return [feature_id(site, index, position) for position, index in pairs]


def cosine(explanation: Explanation, one: NodeId, other: NodeId) -> float:
    rows = []
    for node in (one, other):
        ref = parse_node(node)
        encoded = explanation.attribution.reading.encoded[ref.site]  # type: ignore[index]
        row = encoded.rows[ref.position, ref.index]  # type: ignore[index]
        rows.append(encoded.decoder[row].double())
    return float(rows[0] @ rows[1] / (rows[0].norm() * rows[1].norm()))


def weight(explanation: Explanation, source: NodeId, target: NodeId) -> float:
    """0 where no path leads directly from one to the other."""
    attribution, ref = explanation.attribution, parse_node(source)
    scores = attribution.upstream(target).get(ref.site)  # type: ignore[arg-type]
    return 0.0 if scores is None else float(scores.features[attribution.reading.row(ref)])


@pytest.mark.parametrize("site", [Site(0, "resid_post"), Site(1, "mlp_out"), Site(1, "resid_post")])
def test_a_thread_is_the_likest_direction_of_all_that_an_edge_ties_to_it(
    explanation: Explanation, site: Site
) -> None:
    everything = [
        node for at in explanation.loaded.dictionaries for node in features(explanation, at)
    ]
    for node in features(explanation, site)[:: max(1, len(features(explanation, site)) // 4)]:
        for step in (-1, 1):
            ends = [(other, node) if step < 0 else (node, other) for other in everything]
            tied = [
                (cosine(explanation, *pair), pair, w)
                for pair in ends
                if (w := weight(explanation, *pair)) != 0.0
            ]
            found = thread(explanation.attribution, node, step)
            if found is None:
                assert not tied
                continue
            best, pair, w = max(tied)
            assert found.cosine == pytest.approx(best, abs=1e-5)
            assert found.weight == pytest.approx(
                weight(explanation, *((found.node, node) if step < 0 else (node, found.node))),
                abs=1e-6,
            )
            if sorted(tied)[-2:][0][0] < best - 1e-4:
                assert found.node in pair and found.weight == pytest.approx(w, abs=1e-6)


def test_only_features_have_a_direction(explanation: Explanation) -> None:
    for node in ("mlp_out.1/error@3", "embed/token@3", explanation.circuit.target.root):
        with pytest.raises(InputError, match="only features have a direction"):
            thread(explanation.attribution, node, 1)  # type: ignore[arg-type]


def test_the_same_feature_is_found_at_the_next_token_where_it_is_active(
    explanation: Explanation,
) -> None:
    attribution, seen = explanation.attribution, 0
    for site in explanation.loaded.dictionaries:
        for node in features(explanation, site):
            ref = parse_node(node)
            active = attribution.reading.activations(site, ref.index or 0).nonzero().flatten()
            later = [p for p in active.tolist() if p > ref.position]
            found = same_elsewhere(attribution, node, 1)
            if not later:
                assert found is None
                continue
            seen += min(later) > ref.position + 1
            assert found == feature_id(site, ref.index or 0, min(later))
            assert same_elsewhere(attribution, found, -1) == node
    assert seen, "some feature leaves a token out"


def test_errors_and_embeddings_are_at_every_token_and_the_metric_at_one(
    explanation: Explanation,
) -> None:
    attribution = explanation.attribution
    assert same_elsewhere(attribution, NodeId("mlp_out.1/error@3"), 1) == "mlp_out.1/error@4"
    assert same_elsewhere(attribution, NodeId("embed/pos@0"), -1) is None
    assert same_elsewhere(attribution, NodeId("embed/token@2"), -1) == "embed/token@1"
    assert same_elsewhere(attribution, explanation.circuit.target.root, 1) is None


def test_into_attention_the_heads_carry_each_edge_between_them(explanation: Explanation) -> None:
    attribution = explanation.attribution
    for site in (Site(1, "attn_out"), Site(2, "attn_out")):
        (node, *_) = attribution.selected[site]
        sources = [edge.source for edge in explanation.circuit.edges if edge.target == node]
        heads = edges_by_head(attribution, node, sources)
        assert {layer for layer, _ in heads} == {site.layer} and len(heads) == 4
        weights = [edge.weight for edge in explanation.circuit.edges if edge.target == node]
        together = [sum(parts) for parts in zip(*heads.values(), strict=True)]
        assert together == pytest.approx(weights, abs=1e-5)
    (into_mlp, *_) = attribution.selected[Site(1, "mlp_out")]
    sources = [edge.source for edge in explanation.circuit.edges if edge.target == into_mlp]
    assert edges_by_head(attribution, into_mlp, sources) == {}, "nothing goes through a head there"
