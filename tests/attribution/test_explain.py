from dataclasses import replace

import msgspec
import pytest
import torch
from scipy.stats import spearmanr
from tiny import PROMPT

from scd_tui.attribution.ablation import ablated_logits, exact_edges
from scd_tui.attribution.attribute import Attribution
from scd_tui.attribution.circuit import strongest_edges
from scd_tui.attribution.explain import (
    Explanation,
    Trial,
    ablate,
    cautions,
    explain,
    measure,
    measure_edges,
    measured_circuit,
    tokens_in_play,
)
from scd_tui.attribution.influence import influence
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.trust import edges_to_measure
from scd_tui.errors import InputError
from scd_tui.graph import NodeId, Settings, Site, decode_circuit, encode_circuit
from scd_tui.graph import parse_node as parse

SETTINGS = Settings(top=4, edges=3)


@pytest.fixture(scope="module")
def explanation(tiny_loaded: LoadedModel) -> Explanation:
    return explain(tiny_loaded, PROMPT, target=7, settings=SETTINGS)


def test_a_site_keeps_its_strongest_features_and_its_largest_error(
    explanation: Explanation,
) -> None:
    attribution = explanation.attribution
    for site in attribution.reading.sites:
        nodes = [n for n in explanation.circuit.nodes if n.top and parse(n.id).site == site]
        scores = attribution.effects[site]
        features = sorted((n for n in nodes if parse(n.id).kind == "feature"), key=_size)
        best = sorted(scores.features.abs().tolist())[-4:]
        assert [abs(n.effect) for n in features] == pytest.approx(best)
        (error,) = (n for n in nodes if parse(n.id).kind == "error")
        assert abs(error.effect) == pytest.approx(float(scores.errors.abs().max()))
        assert [_size(n) for n in nodes] == sorted((_size(n) for n in nodes), reverse=True)


def _size(node) -> float:
    return abs(node.effect)


def test_the_circuit_holds_the_strongest_edges_of_all_it_expands_and_both_their_ends(
    explanation: Explanation,
) -> None:
    circuit = explanation.circuit
    known = {node.id for node in circuit.nodes}
    assert set(circuit.expanded) == {n.id for n in circuit.nodes if n.top}
    into: dict[NodeId, list] = {node: [] for node in circuit.expanded}
    for edge in circuit.edges:
        assert {edge.source, edge.target} <= known
        into[edge.target].append(edge)
    for node, edges in into.items():
        by_place: dict[str, list[float]] = {}
        for edge in edges:
            by_place.setdefault(parse(edge.source).place, []).append(abs(edge.weight))
        everything = explanation.attribution.upstream(node)
        for place, scores in everything.items():
            if not isinstance(place, Site):
                continue
            sizes = torch.cat([scores.features, scores.errors]).abs()
            best = sorted((v for v in sizes.tolist() if v != 0), reverse=True)[: SETTINGS.edges]
            assert by_place.get(str(place), []) == pytest.approx(best)


def test_its_nodes_carry_their_influence_and_the_circuit_where_it_ends(
    explanation: Explanation,
) -> None:
    circuit, attribution = explanation.circuit, explanation.attribution
    table = influence(attribution)
    for node in circuit.nodes:
        assert node.influence == pytest.approx(table.of(node.id), abs=1e-9)
        into = attribution.edges.get(node.id)
        if into is None:
            assert node.inflow is None
            continue
        parts = [part for s in into.values() for part in (s.features, s.errors, s.leaves)]
        assert node.inflow == pytest.approx(sum(float(part.abs().sum()) for part in parts))
    assert circuit.flow is not None
    assert circuit.flow.completeness == pytest.approx(table.completeness)
    ends = (circuit.flow.embeddings, circuit.flow.errors, circuit.flow.features)
    assert ends == pytest.approx((table.embeddings, table.errors, table.features))


def test_the_root_is_reached_from_the_last_residual_site_and_from_nothing_else(
    explanation: Explanation,
) -> None:
    """Residual sites at every layer stand between all others and the logits."""
    root = explanation.circuit.target.root
    sources = {parse(e.source).place for e in explanation.circuit.edges if e.target == root}
    assert sources == {"resid_post.2"}
    feature = next(
        n.id for n in explanation.circuit.nodes if parse(n.id).place == "resid_post.0" and n.top
    )
    sources = {parse(e.source).place for e in strongest_edges(explanation.attribution, feature, 2)}
    assert sources == {"attn_out.0", "mlp_out.0", "embed"}


def test_shares_are_of_sums_over_features_a_position(explanation: Explanation) -> None:
    attribution = explanation.attribution
    explained = unexplained = 0.0
    for summary in explanation.circuit.sites:
        encoded = attribution.reading.encoded[summary.site]
        scores = attribution.effects[summary.site]
        here = there = 0.0
        for p in range(len(scores.errors)):
            here += abs(float(scores.features[encoded.positions == p].sum()))
            there += abs(float(scores.errors[p]))
        assert summary.share_explained == pytest.approx(here / (here + there), rel=1e-4)
        x = attribution.reading.cut.activation(summary.site)
        spread = ((x - x.mean(dim=0)) ** 2).sum()
        assert summary.explained_variance == pytest.approx(
            float(1 - (encoded.error**2).sum() / spread), rel=1e-4
        )
        explained, unexplained = explained + here, unexplained + there
    assert explanation.circuit.share_explained == pytest.approx(
        explained / (explained + unexplained), rel=1e-4
    )


def test_measurements_fill_in_the_top_nodes_and_the_trust(
    explanation: Explanation,
) -> None:
    circuit = measured_circuit(explanation)
    for node in circuit.nodes:
        if node.top and parse(node.id).kind != "root":
            assert node.exact is not None
            alone = ablate(explanation, node.id)
            assert alone.predicted == pytest.approx(node.effect)
            assert alone.exact == pytest.approx(node.exact, abs=1e-5)
    assert circuit.trust is not None and circuit.trust.overall.n == 100
    done = [(d, t) for _, d, t in measure(explanation)]
    assert done[-1][0] == done[-1][1] and [d for d, _ in done] == sorted(d for d, _ in done)
    assert decode_circuit(encode_circuit(circuit)) == circuit


def test_the_trust_of_edges_compares_the_strongest_with_what_is_measured_along_them(
    explanation: Explanation,
) -> None:
    *before, found = measure_edges(explanation)
    assert before == [None] * 4
    attribution = explanation.attribution
    edges = edges_to_measure(attribution)
    exact = [
        exact_edges(explanation.loaded.model, attribution, edge.target, [parse(edge.source)])[0]
        for edge in edges
    ]
    estimates = [edge.weight for edge in edges]
    assert found is not None and found.n == len(edges) == 100
    assert found.abs_spearman == pytest.approx(
        spearmanr([abs(v) for v in estimates], [abs(v) for v in exact]).statistic, abs=1e-3
    )
    assert found.relative_error == pytest.approx(
        sum(abs(a - b) for a, b in zip(estimates, exact, strict=True)) / sum(map(abs, exact)),
        abs=1e-4,
    )
    assert found.relative_error > 1e-3


def test_an_ablation_tells_what_each_token_loses_in_nats(explanation: Explanation) -> None:
    node = next(n.id for n in explanation.circuit.nodes if parse(n.id).place == "resid_post.2")
    done = ablate(explanation, node)
    clean = explanation.attribution.reading.cut.logits.detach()[-1].softmax(0)
    (row,) = ablated_logits(
        *(explanation.loaded.model, explanation.attribution.reading),
        [parse(node)],
        explanation.attribution.target.positions,
    )
    for token in (0, 7, 100):
        expected = float(clean[token].log() - row[0].softmax(0)[token].log())
        assert float(done.shifts[token]) == pytest.approx(expected, abs=1e-4)


def test_tokens_that_the_model_would_never_say_are_not_in_play() -> None:
    clean = torch.linspace(-1, -60, 300)
    without = clean.clone()
    without[0], without[250], without[299] = -3.0, -1.5, -90.0
    order = tokens_in_play(Trial(0.0, 0.0, clean, without)).tolist()
    assert len(order) == 100
    assert (order[0], order[-1]) == (0, 250)
    assert 299 not in order


def test_an_earlier_position_can_be_explained(tiny_loaded: LoadedModel) -> None:
    earlier = explain(tiny_loaded, PROMPT, target=7, position=3, settings=SETTINGS)
    assert earlier.circuit.target.position == 3
    assert all(parse(n.id).position <= 3 for n in earlier.circuit.nodes)
    first = tiny_loaded.model.completions(
        earlier.attribution.reading.cut.logits_by_position()[3], 1
    )
    assert earlier.circuit.completions[0] == first[0]


def test_what_goes_wrong_while_a_site_is_reported_ends_the_work_and_spoils_nothing(
    tiny_loaded: LoadedModel, explanation: Explanation
) -> None:
    def stop(attribution: Attribution, site: Site) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain(tiny_loaded, PROMPT, target=7, settings=SETTINGS, on_site=stop)
    again = explain(tiny_loaded, PROMPT, target=7, settings=SETTINGS).circuit
    assert (again.nodes, again.edges) == (explanation.circuit.nodes, explanation.circuit.edges)


@pytest.mark.parametrize("text", ["", "x" * 33])
def test_a_prompt_that_cannot_be_read_is_refused(tiny_loaded: LoadedModel, text: str) -> None:
    with pytest.raises(InputError, match="the prompt"):
        explain(tiny_loaded, text, target=7)


def test_a_prompt_longer_than_the_dictionaries_texts_is_noted(demo: LoadedModel) -> None:
    assert demo.identity.training_context == 64
    assert cautions(demo.identity, 64) == ()
    (note,) = cautions(demo.identity, 65)
    assert note.startswith(
        "the prompt has 65 tokens and the dictionaries were trained on texts of 64"
    )
    short = msgspec.structs.replace(demo.identity, training_context=3)
    found = explain(replace(demo, identity=short), "one two three four five six", target=None)
    assert any("trained on texts of 3" in note for note in found.circuit.notes)


def test_a_failed_gate_and_how_it_was_loaded_are_in_every_circuit(demo: LoadedModel) -> None:
    gate = tuple(
        msgspec.structs.replace(one, passed=n > 0) for n, one in enumerate(demo.identity.gate)
    )
    failed = replace(
        demo,
        identity=msgspec.structs.replace(demo.identity, gate=gate),
        notes=("it was loaded so",),
    )
    circuit = explain(failed, "one two three", target=None).circuit
    assert circuit.notes[-1] == "it was loaded so"
    assert any(
        note.startswith("1 of 12 dictionaries failed the load gate") for note in circuit.notes
    )
    assert "failed the load gate" in encode_circuit(circuit).decode()
