"""Edges cut and nodes scaled, against runs put together by hand."""

import pytest
import torch
from tiny import PROMPT

from scd_tui.attribution.ablation import exact_edges, exact_effects
from scd_tui.attribution.experiments import _of_target, cut_edge, remove_together, scale
from scd_tui.attribution.explain import Explanation, ablate, explain
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.metric import value_at
from scd_tui.errors import InputError
from scd_tui.graph import Edge, NodeRef, Settings, Site, error_id, feature_id, parse_node


@pytest.fixture(scope="module")
def explanation(tiny_loaded: LoadedModel) -> Explanation:
    return explain(tiny_loaded, PROMPT, target=7, contrast=11, settings=Settings(top=3))


def edges_into(explanation: Explanation, site: Site) -> list[Edge]:
    """Edges from sites into one of a site's nodes, the strongest of each place."""
    (target, *_) = explanation.attribution.selected[site]
    return [
        edge
        for edge in explanation.circuit.edges
        if edge.target == target and parse_node(edge.source).site is not None
    ][:6]


def test_nodes_taken_out_together_change_the_completions(explanation: Explanation) -> None:
    nodes = [explanation.attribution.selected[site][0] for site in explanation.loaded.dictionaries]
    trial = remove_together(explanation, nodes)
    assert float((trial.changed - trial.clean).abs().max()) > 0.01
    assert torch.allclose(trial.changed.exp().sum(), torch.tensor(1.0), atol=1e-4)
    lost = (trial.clean[7] - trial.clean[11]) - (trial.changed[7] - trial.changed[11])
    assert trial.exact == pytest.approx(float(lost), abs=1e-4)
    alone, usual = remove_together(explanation, nodes[:1]), ablate(explanation, nodes[0])
    assert (alone.predicted, alone.exact) == pytest.approx((usual.predicted, usual.exact), abs=1e-4)


@pytest.mark.parametrize("site", [Site(2, "attn_out"), Site(1, "resid_post"), Site(2, "mlp_out")])
def test_an_edge_s_weight_is_the_estimate_and_along_it_what_ablation_measures(
    explanation: Explanation, site: Site
) -> None:
    for edge in edges_into(explanation, site):
        cut = cut_edge(explanation, edge.source, edge.target)
        assert cut.predicted == pytest.approx(edge.weight, abs=1e-5)
        (measured,) = exact_edges(
            *(explanation.loaded.model, explanation.attribution, edge.target),
            [parse_node(edge.source)],
        )
        assert cut.along == pytest.approx(measured, abs=1e-5)


def test_into_the_metric_itself_the_cut_is_what_was_measured(explanation: Explanation) -> None:
    root = explanation.circuit.target.root
    edges = [edge for edge in explanation.circuit.edges if edge.target == root][:3]
    for edge in edges:
        cut = cut_edge(explanation, edge.source, root)
        assert cut.exact == pytest.approx(cut.along, abs=1e-5)
        assert cut.predicted == pytest.approx(edge.weight, abs=1e-5)


def test_along_a_path_that_only_adds_the_target_is_weaker_by_a_dot_product(
    explanation: Explanation,
) -> None:
    """What an MLP writes arrives at the stream as it is: e · written / s_in of the target is gone."""
    attribution, model = explanation.attribution, explanation.loaded.model
    site, place = Site(1, "resid_post"), Site(1, "mlp_out")
    target = next(n for n in attribution.selected[site] if parse_node(n).kind == "feature")
    ref, encoded = parse_node(target), attribution.reading.clean[site]
    row = encoded.rows[ref.position, ref.index]  # type: ignore[index]
    _, index = next(
        pair for pair in attribution.reading.clean[place].pairs if pair[0] == ref.position
    )
    source = NodeRef("feature", ref.position, place, index)
    cut = cut_edge(explanation, source.id, target)
    drop = encoded.encoder[row] @ attribution.reading.written(source) / encoded.s_in[ref.position]
    changed = attribution.reading.cut.activation(site).clone()
    changed[ref.position] -= drop * encoded.s_out[ref.position] * encoded.decoder[row]
    with torch.no_grad():
        logits = model.forward(
            model.ids(attribution.reading.cut.tokens),
            [(site, lambda x: changed.reshape(x.shape))],
            attribution.target.positions,
        )[0]
    torch.testing.assert_close(cut.changed, logits[0].log_softmax(-1), atol=1e-4, rtol=1e-4)
    lost = attribution.value - float(value_at(attribution.target, logits))
    assert cut.exact == pytest.approx(lost, abs=1e-4)
    assert abs(cut.exact) > 1e-5


def test_an_edge_between_positions_weakens_its_target_where_that_stands(
    explanation: Explanation,
) -> None:
    attribution, model = explanation.attribution, explanation.loaded.model
    reading, site, before = attribution.reading, Site(1, "attn_out"), Site(0, "resid_post")
    edge, target = next(
        (edge, parse_node(edge.target))
        for edge in explanation.circuit.edges
        if (end := parse_node(edge.target)).site == site and end.kind == "feature"
        if (source := parse_node(edge.source)).site == before
        and source.position < end.position
        and source.kind == "feature"
    )
    source, q = parse_node(edge.source), target.position
    ids, where = model.ids(reading.cut.tokens), attribution.target.positions
    stream = reading.cut.activation(before).clone()
    stream[source.position] -= reading.written(source)
    seen: dict[Site, torch.Tensor] = {}

    def look(x: torch.Tensor) -> torch.Tensor:
        seen[site] = x.flatten(start_dim=2)[0]
        return x

    with torch.no_grad():
        model.forward(ids, [(before, lambda x: stream.reshape(x.shape)), (site, look)], where)
        clean, encoded = reading.cut.activation(site), reading.clean[site]
        row = encoded.rows[q, target.index]  # type: ignore[index]
        lost = encoded.encoder[row] @ (clean - seen[site])[q] * encoded.s_out[q] / encoded.s_in[q]
        changed = clean.clone()
        changed[q] -= lost * encoded.decoder[row]
        logits = model.forward(ids, [(site, lambda x: changed.reshape(x.shape))], where)[0]
    cut = cut_edge(explanation, edge.source, edge.target)
    torch.testing.assert_close(cut.changed, logits[0].log_softmax(-1), atol=1e-4, rtol=1e-4)
    assert float((cut.changed - cut.clean).abs().max()) > 1e-3


def test_all_targets_of_a_place_share_out_what_it_loses(explanation: Explanation) -> None:
    """Features and error are each weaker by their part of a missing vector, and by no more."""
    reading, site, p = explanation.attribution.reading, Site(1, "mlp_out"), 5
    missing = torch.randn(32, generator=torch.Generator().manual_seed(3))
    nodes = [feature_id(site, i, p) for q, i in reading.clean[site].pairs if q == p]
    nodes.append(error_id(site, p))
    parts = [_of_target(explanation.attribution, parse_node(node), missing) for node in nodes]
    torch.testing.assert_close(torch.stack(parts).sum(dim=0), missing, atol=1e-4, rtol=1e-4)


def test_a_node_at_no_strength_is_ablated_and_at_its_own_nothing_changes(
    explanation: Explanation,
) -> None:
    attribution, model = explanation.attribution, explanation.loaded.model
    for site in (Site(0, "resid_post"), Site(1, "attn_out"), Site(2, "mlp_out")):
        for node in attribution.selected[site]:
            h = 0.02
            found = scale(explanation, node, (0, 1 - h, 1, 1 + h, 10))
            ref = parse_node(node)
            (exact,) = exact_effects(model, attribution.reading, attribution.target, [ref])
            out, low, same, high, far = found.values
            assert attribution.value - out == pytest.approx(exact[ref], abs=1e-4)
            assert same == pytest.approx(attribution.value, abs=1e-4)
            assert found.slope == pytest.approx(attribution.effect(node), abs=1e-5)
            assert (high - low) / (2 * h) == pytest.approx(found.slope, rel=5e-2, abs=5e-3)
            assert far != same
            clean = attribution.reading.cut.logits_at(attribution.target.positions)[0]
            torch.testing.assert_close(found.logits[2], clean.detach(), atol=1e-4, rtol=1e-4)


def test_with_a_contrast_prompt_a_node_is_scaled_from_nothing(tiny_loaded: LoadedModel) -> None:
    """Its factors are of what it writes in the prompt, not of what it writes more than there."""
    both = explain(
        tiny_loaded, PROMPT, target=7, contrast=11, contrast_prompt="the cat sat on the mat. To or"
    )
    plain = explain(tiny_loaded, PROMPT, target=7, contrast=11)
    node = next(
        node
        for node in both.attribution.selected[Site(1, "mlp_out")]
        if parse_node(node).kind == "feature"
        and (parse_node(node).position, parse_node(node).index)
        in plain.attribution.reading.clean[Site(1, "mlp_out")].rows
    )
    factors = (0.0, 0.5, 3.0)
    one, other = scale(both, node, factors), scale(plain, node, factors)
    assert one.values == pytest.approx(other.values, abs=1e-4)
    assert one.slope == pytest.approx(other.slope, abs=1e-4)
    assert one.there is not None and other.there is None
    # at that factor it is what ablating it in this circuit leaves of it
    (put,) = scale(both, node, (one.there,)).values
    assert both.circuit.metric_value - put == pytest.approx(ablate(both, node).exact, abs=1e-4)


def test_what_only_the_contrast_prompt_has_cannot_be_scaled(tiny_loaded: LoadedModel) -> None:
    both = explain(
        tiny_loaded, PROMPT, target=7, contrast=11, contrast_prompt="the cat sat on the mat. To or"
    )
    reading = both.attribution.reading
    site, position, index = next(
        (site, *pair)
        for site in reading.sites
        for pair in reading.encoded[site].pairs
        if pair not in reading.clean[site].rows
    )
    with pytest.raises(InputError, match="only in the contrast prompt: there is nothing to scale"):
        scale(both, f"{site}/{index}@{position}", (0.0, 1.0))


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        ("embed/token@1", "mlp_out.1/error@3", "only features and errors"),
        ("mlp_out.1/error@3", "embed/token@1", "no edge leads into it"),
        ("mlp_out.2/error@3", "mlp_out.1/error@3", "no direct path leads from"),
        ("mlp_out.0/999@3", "mlp_out.1/error@3", "no direct path|not active"),
        ("diff/7-11@8", "mlp_out.1/error@3", "only features and errors"),
    ],
)
def test_edges_that_are_not_there_are_refused(
    explanation: Explanation, source: str, target: str, why: str
) -> None:
    with pytest.raises(InputError, match=why):
        cut_edge(explanation, source, target)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="only features and errors"):
        scale(explanation, "embed/token@1", (1,))  # type: ignore[arg-type]
