"""Sinks, on a model whose first position was given a massive activation."""

import random
from dataclasses import replace
from pathlib import Path
from statistics import median_low

import pytest
import torch
from attributing import target_of
from saes import RELU, TOPK, random_sae
from tiny import PROMPT, TEXT, plant_sink, random_dictionaries, write_model
from transformers import GPT2LMHeadModel

from scd_tui.attribution.attribute import attribute, read, strongest
from scd_tui.attribution.baseline import Baseline, mean_baselines
from scd_tui.attribution.chosen import chosen_curves
from scd_tui.attribution.contexts import fire
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.explain import Explanation, explain, measured_circuit
from scd_tui.attribution.faithfulness import circuit_metrics, strongest_first
from scd_tui.attribution.gate import measure
from scd_tui.attribution.integrated import integrated_effects
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.metric import value_at
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.neighbours import same_elsewhere
from scd_tui.attribution.neurons import mean_neurons, neuron_effects, neuron_metrics, ranks
from scd_tui.attribution.sinks import Positions, median_of_others, norm_ratios, positions_of
from scd_tui.attribution.validation import validate
from scd_tui.attribution.windows import Windows, without_sinks
from scd_tui.catalog.texts import Text
from scd_tui.errors import InputError
from scd_tui.graph import ModelIdentity, Settings, Sink, Site, Token, parse_node

SITES = tuple(Site(layer, kind) for layer in range(3) for kind in ("attn_out", "resid_post"))
OTHER = " the" + PROMPT[3:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant_sink(write_model(tmp_path_factory.mktemp("sink"), biases=0.05))


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return LanguageModel.boot(folder, torch.device("cpu"))


@pytest.fixture(scope="module", params=[TOPK, RELU], ids=str)
def dictionaries(request: pytest.FixtureRequest) -> dict[Site, Dictionary]:
    return random_dictionaries(3, 32, kinds=("attn_out", "resid_post"), kind=request.param)


@pytest.fixture(scope="module")
def loaded(model: LanguageModel, dictionaries: dict[Site, Dictionary]) -> LoadedModel:
    identity = ModelIdentity(
        name="sink",
        revision="0",
        dictionaries="random",
        dictionaries_revision="0",
        device="cpu",
        layers=3,
        context=32,
        vocabulary=model.vocabulary,
        sites=tuple(dictionaries),
    )
    return LoadedModel(model, dictionaries, identity)


@pytest.fixture(scope="module")
def explanation(loaded: LoadedModel) -> Explanation:
    found = explain(loaded, PROMPT, target=7, contrast=11)
    return replace(found, circuit=measured_circuit(found))


@pytest.fixture(scope="module")
def whole(loaded: LoadedModel) -> Explanation:
    return explain(loaded, PROMPT, target=7, contrast=11, settings=Settings(sinks=True))


def found_in(
    norms: list[list[float]], differences: list[list[float]] | None = None, **options: object
) -> Positions:
    asked: dict[str, object] = {"prepended": False, "trained_from": 0, **options}
    if differences is not None:
        asked["differences"] = torch.tensor(differences)
    return positions_of(torch.tensor(norms), **asked)  # type: ignore[arg-type]


# --- the rule ---------------------------------------------------------------------------------


def test_the_median_of_the_others_is_that_of_a_list_without_the_position() -> None:
    draw = random.Random(3)
    for count in (2, 3, 4, 5, 8, 13):
        rows = [[float(draw.randint(0, 6)) for _ in range(count)] for _ in range(20)]
        expected = [[median_low(row[:p] + row[p + 1 :]) for p in range(count)] for row in rows]
        assert median_of_others(torch.tensor(rows)).tolist() == expected


def test_a_position_is_a_sink_from_ten_times_the_median_on_at_any_site() -> None:
    ordinary = [1.0, 1.0, 1.0, 1.0]
    assert not found_in([ordinary, [9.9, 1.0, 1.0, 1.0]]).sinks
    (sink,) = found_in([ordinary, [10.0, 1.0, 1.0, 1.0]]).sinks
    assert sink == Sink(0, "norm", 10.0)
    several = found_in([[50.0, 50.0, 1.0, 1.0, 1.0]])
    assert [s.position for s in several.sinks] == [0, 1]
    assert several.counted.tolist() == [False, False, True, True, True]


def test_one_token_has_no_others_to_be_large_beside() -> None:
    assert not found_in([[5.0]]).sinks
    assert norm_ratios(torch.empty(0, 4)).tolist() == [0.0] * 4


def test_what_dictionaries_and_bos_and_the_asker_say_leaves_positions_out_too() -> None:
    norms = [[1.0, 1.0, 1.0]]
    assert found_in(norms, trained_from=2).sinks == (Sink(0, "trained"), Sink(1, "trained"))
    assert found_in(norms, prepended=True).sinks == (Sink(0, "prepended"),)
    assert found_in(norms, skip_first=True).sinks == (Sink(0, "asked"),)
    assert found_in([[99.0, 1.0, 1.0]], prepended=True).sinks == (Sink(0, "prepended", 99.0),)


def test_sinks_count_on_request_but_for_a_position_that_is_to_be_skipped() -> None:
    norms = [[99.0, 1.0, 1.0]]
    put_back = found_in(norms, sinks=True)
    assert put_back.sinks == (Sink(0, "norm", 99.0, "asked"),)
    assert put_back.counted.all() and put_back.own.all()
    assert not found_in(norms, sinks=True, skip_first=True).counted[0]


@pytest.mark.parametrize(
    ("difference", "kept"),
    [(0.0, None), (0.5, "alike"), (9.9, "alike"), (10.0, None), (400.0, None)],
)
def test_a_contrast_prompt_readmits_a_sink_that_differs_as_others_do(
    difference: float, kept: str | None
) -> None:
    found = found_in([[99.0, 1.0, 1.0, 1.0]], [[difference, 0.0, 1.0, 1.0]])
    assert found.sinks == (Sink(0, "norm", 99.0, kept),)  # type: ignore[arg-type]
    assert bool(found.counted[0]) == (kept is not None)
    # what is of the prompt's own activations never readmits
    assert not found.own[0]


def test_a_contrast_prompt_leaves_no_position_out() -> None:
    found = found_in([[1.0, 1.0, 1.0, 1.0]], [[500.0, 1.0, 1.0, 1.0]])
    assert not found.sinks and found.counted.all()


def test_a_sink_counts_where_no_other_position_differs() -> None:
    assert found_in([[99.0, 1.0, 1.0]], [[40.0, 0.0, 0.0]]).sinks[0].kept == "alike"
    tokens = [Token(n, str(n)) for n in range(3)]
    apart = {"tokens": tokens, "contrast": [Token(9, "9"), *tokens[1:]]}
    assert found_in([[99.0, 1.0, 1.0]], [[40.0, 1.0, 1.0]], **apart).sinks[0].kept == "only"
    more = {"tokens": tokens, "contrast": [Token(8, "8"), Token(9, "9"), tokens[2]]}
    assert found_in([[99.0, 1.0, 1.0]], [[40.0, 1.0, 1.0]], **more).sinks[0].kept is None


@pytest.mark.parametrize(
    ("said", "first"),
    [(None, 0), ((None,), 0), ((5,), 0), ((1, None), 1), ([3, -5], 3), ((None, 8), 0)],
)
def test_a_dictionary_says_which_positions_it_was_trained_on(said: object, first: int) -> None:
    sae = random_sae(32, 64, seed=0)
    sae.cfg.metadata.seqpos_slice = said
    dictionary = Dictionary(Site(1, "mlp_out"), sae)
    assert dictionary.trained_from == first


def test_positions_that_a_dictionary_was_trained_without_are_left_out(model: LanguageModel) -> None:
    sae = random_sae(32, 64, seed=0)
    sae.cfg.metadata.seqpos_slice = (3, None)
    site = Site(1, "mlp_out")
    reading = read(model, model.prompt(PROMPT), {site: Dictionary(site, sae)})
    assert [s.position for s in reading.positions.sinks] == [0, 1, 2]


def test_a_prepended_bos_is_left_out(folder: Path) -> None:
    model = LanguageModel.boot(folder, torch.device("cpu"), prepend_bos=True)
    reading = read(model, model.prompt(PROMPT), random_dictionaries(3, 32))
    assert [(s.position, s.reason) for s in reading.positions.sinks] == [(0, "prepended")]


# --- in a circuit -----------------------------------------------------------------------------


def test_the_planted_sink_is_found_with_its_norm(folder: Path, explanation: Explanation) -> None:
    theirs = GPT2LMHeadModel.from_pretrained(folder).eval()
    ids = torch.tensor([[t.id for t in explanation.circuit.tokens]])
    # the last of these is after the final norm
    with torch.no_grad():
        streams = theirs(ids, output_hidden_states=True).hidden_states[1:-1]
    ratio = max(float(s[0, 0].norm() / median_low(s[0, 1:].norm(dim=1).tolist())) for s in streams)
    (sink,) = explanation.circuit.sinks
    assert (sink.position, sink.reason, sink.kept) == (0, "norm", None)
    assert sink.ratio == pytest.approx(ratio, rel=1e-4) and ratio > 30


def test_a_model_without_massive_activations_has_no_sink(tiny_model: LanguageModel) -> None:
    reading = read(tiny_model, tiny_model.prompt(PROMPT), random_dictionaries(3, 32))
    assert reading.positions.sinks == ()
    assert reading.counted.all()


def test_no_node_and_no_edge_of_a_circuit_is_at_a_sink(explanation: Explanation) -> None:
    circuit, attribution = explanation.circuit, explanation.attribution
    assert {parse_node(node.id).position for node in circuit.nodes} >= {1, 2, 3}
    assert all(parse_node(node.id).position > 0 for node in circuit.nodes)
    assert all(parse_node(edge.source).position > 0 for edge in circuit.edges)
    # it has effects, which are large: they are not shown
    first = SITES[1]
    here = attribution.reading.encoded[first].positions == 0
    assert float(attribution.effects[first].features[here].abs().max()) > 0.01


def test_the_model_still_reads_the_sink_and_effects_are_the_same(
    explanation: Explanation, whole: Explanation
) -> None:
    assert explanation.circuit.metric_value == whole.circuit.metric_value
    for node in explanation.circuit.nodes:
        assert whole.attribution.effect(node.id) == node.effect
    assert any(parse_node(node.id).position == 0 for node in whole.circuit.nodes)
    assert [s.kept for s in whole.circuit.sinks] == ["asked"]


def test_sums_and_shares_are_those_of_the_other_positions(explanation: Explanation) -> None:
    attribution = explanation.attribution
    explained = unexplained = 0.0
    for summary in explanation.circuit.sites:
        reading, scores = attribution.reading, attribution.effects[summary.site]
        encoded, x = reading.clean[summary.site], reading.cut.activation(summary.site)
        sums = [0.0] * len(x)
        for position, effect in zip(
            encoded.positions.tolist(), scores.features.tolist(), strict=True
        ):
            sums[position] += effect
        above = sum(abs(value) for value in sums[1:])
        rest = float(scores.errors[1:].abs().sum())
        explained, unexplained = explained + above, unexplained + rest
        assert summary.features == pytest.approx(sum(sums[1:]), abs=1e-5)
        assert summary.error == pytest.approx(float(scores.errors[1:].sum()), abs=1e-5)
        assert summary.constant == pytest.approx(float(scores.constants[1:].sum()), abs=1e-5)
        assert summary.share_explained == pytest.approx(above / (above + rest), rel=1e-5)
        assert summary.active == int((encoded.positions > 0).sum())
        spread = float((x[1:] - x[1:].mean(dim=0)).square().sum())
        variance = 1 - float(encoded.error[1:].square().sum()) / spread
        assert summary.explained_variance == pytest.approx(variance, rel=1e-4)
    share = explained / (explained + unexplained)
    assert explanation.circuit.share_explained == pytest.approx(share, rel=1e-5)


def test_influence_ends_nowhere_at_a_sink(explanation: Explanation, whole: Explanation) -> None:
    flow = explanation.circuit.flow
    assert flow is not None
    assert flow.embeddings + flow.errors + flow.features == pytest.approx(1, abs=1e-5)
    into = {node.id: node.inflow for node in explanation.circuit.nodes if node.inflow is not None}
    more = {node.id: node.inflow for node in whole.circuit.nodes if node.inflow is not None}
    reading = explanation.attribution.reading
    for node, inflow in into.items():
        expected = 0.0
        for place, scores in explanation.attribution.upstream(node).items():
            expected += float(scores.errors[1:].abs().sum() + scores.leaves[1:].abs().sum())
            if isinstance(place, Site):
                elsewhere = reading.encoded[place].positions > 0
                expected += float(scores.features[elsewhere].abs().sum())
        assert inflow == pytest.approx(expected, rel=1e-5)
    assert any(inflow < 0.99 * (more.get(node) or 0.0) for node, inflow in into.items())


def test_trust_ablates_nothing_at_a_sink(loaded: LoadedModel, explanation: Explanation) -> None:
    trust = explanation.circuit.trust
    assert trust is not None and trust.edges is not None
    measured = [node for node in explanation.circuit.nodes if node.exact is not None]
    assert measured and all(parse_node(node.id).position > 0 for node in measured)


def test_walking_along_the_prompt_passes_a_sink_over(
    explanation: Explanation, whole: Explanation
) -> None:
    reading = whole.attribution.reading
    site = SITES[1]
    at_sink = {i for p, i in reading.encoded[site].pairs if p == 0}
    position, index = next((p, i) for p, i in reading.encoded[site].pairs if p > 0 and i in at_sink)
    earlier = [p for p, i in reading.encoded[site].pairs if i == index and 0 < p < position]
    node = f"{site}/{index}@{position}"
    back = same_elsewhere(explanation.attribution, node, -1)  # type: ignore[arg-type]
    assert back == (f"{site}/{index}@{max(earlier)}" if earlier else None)
    assert same_elsewhere(whole.attribution, node, -1) is not None  # type: ignore[arg-type]


def test_a_sink_alone_has_no_rows_and_no_numbers(loaded: LoadedModel) -> None:
    circuit = explain(
        loaded, "t", target=7, contrast=11, settings=Settings(skip_first=True)
    ).circuit
    assert [node.id for node in circuit.nodes] == [circuit.target.root]
    assert circuit.share_explained is None
    assert all(s.share_explained is None and s.explained_variance is None for s in circuit.sites)


def test_one_token_has_no_explained_variance_but_a_share(loaded: LoadedModel) -> None:
    circuit = explain(loaded, "t", target=7, contrast=11).circuit
    assert circuit.share_explained is not None
    assert all(summary.explained_variance is None for summary in circuit.sites)


def test_prompts_that_differ_only_at_the_sink_keep_it(loaded: LoadedModel) -> None:
    circuit = explain(loaded, PROMPT, target=7, contrast=11, contrast_prompt=OTHER).circuit
    differing = [
        n for n, (a, b) in enumerate(zip(circuit.tokens, circuit.contrast_tokens, strict=True))
        if a.id != b.id
    ]  # fmt: skip
    assert differing == [0]
    assert circuit.sinks[0].kept is not None
    assert any(parse_node(node.id).position == 0 for node in circuit.nodes)
    # explained variance is of the prompt's own activations, without its sink
    alone = explain(loaded, PROMPT, target=7, contrast=11).circuit
    assert [s.explained_variance for s in circuit.sites] == [
        s.explained_variance for s in alone.sites
    ]


def test_integrated_gradients_leave_the_sink_where_it_is(
    loaded: LoadedModel, explanation: Explanation
) -> None:
    """Effects at the other positions add up to the loss when those alone go to their constants."""
    model, attribution = loaded.model, explanation.attribution
    # two blocks come after this site, so the sink reaches the other positions through attention
    reading, target, site = attribution.reading, attribution.target, Site(0, "resid_post")
    scores = dict(integrated_effects(model, reading, target, steps=200, batch=50))[site]
    x = reading.cut.activation(site)
    bare = torch.cat([x[:1], reading.clean[site].constant[1:]])
    with torch.no_grad():
        logits = model.forward(
            model.ids(reading.cut.tokens), [(site, lambda _: bare[None])], target.positions
        )
        lost = attribution.value - float(value_at(target, logits)[0])
    after = scores.features[reading.encoded[site].positions > 0].sum() + scores.errors[1:].sum()
    assert float(after) == pytest.approx(lost, rel=0.002, abs=0.002)


# --- curves and means -------------------------------------------------------------------------


def test_curves_touch_nothing_at_a_sink(loaded: LoadedModel, explanation: Explanation) -> None:
    """All features elsewhere taken out, errors kept, by plain hooks on the same model."""
    model, attribution = loaded.model, explanation.attribution
    reading, target = attribution.reading, attribution.target
    baselines = {
        site: Baseline.zero(dictionary, reading.cut.activation(site))
        for site, dictionary in loaded.dictionaries.items()
    }
    ranked = strongest_first(attribution, loaded.dictionaries)
    assert all((nodes.positions > 0).all() for nodes in ranked.values())
    (empty,) = circuit_metrics(
        model,
        reading.cut.tokens,
        target,
        loaded.dictionaries,
        baselines,
        ranked,
        [0],
    )

    def bare(site: Site, x: torch.Tensor) -> torch.Tensor:
        encoded = loaded.dictionaries[site].encode(x[0])
        return torch.cat([x[0, :1], (encoded.constant + encoded.error)[1:]])[None]

    with torch.no_grad():
        logits = model.forward(
            model.ids(reading.cut.tokens),
            [(site, lambda x, site=site: bare(site, x)) for site in loaded.dictionaries],
            target.positions,
        )
    assert empty == pytest.approx(float(value_at(target, logits)[0]), abs=1e-4)


def test_means_over_a_text_leave_sinks_out(
    loaded: LoadedModel, dictionaries: dict[Site, Dictionary]
) -> None:
    ids = torch.tensor([[3, 5, 7, 11, 13], [2, 4, 8, 16, 32]])
    windows = without_sinks(loaded.model, Windows(ids), dictionaries.values())
    assert windows.counted is not None and windows.tokens == 8
    assert windows.counted.tolist() == [[False] + [True] * 4] * 2
    found = mean_baselines(loaded.model, dictionaries, windows)
    neurons = mean_neurons(loaded.model, [1], windows)
    for site, dictionary in dictionaries.items():
        if site.kind != "resid_post":
            continue
        strengths, errors = torch.zeros(dictionary.width), torch.zeros(32)
        for window in ids:
            tokens = tuple(Token(int(token_id), "") for token_id in window)
            x = read(loaded.model, tokens, {site: dictionary}).cut.activation(site)
            encoded = dictionary.encode(x[1:])
            strengths.index_add_(0, encoded.indices, encoded.strengths)
            errors += encoded.error.sum(dim=0)
        torch.testing.assert_close(found[site].strengths, strengths / 8, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found[site].error, errors / 8, atol=1e-5, rtol=1e-4)
    # the massive activation would be in every mean
    assert all(float(baseline.error.norm()) < 30 for baseline in found.values())
    assert neurons[1].shape == (128,)


def test_neurons_at_a_sink_stay_and_come_last(
    loaded: LoadedModel, explanation: Explanation
) -> None:
    model, attribution = loaded.model, explanation.attribution
    tokens, target = attribution.reading.cut.tokens, attribution.target
    counted = attribution.reading.counted
    effects = neuron_effects(model, tokens, target)
    ranked = ranks(effects, counted)
    count = sum(effect.shape[1] for effect in effects.values()) * (len(tokens) - 1)
    assert all(bool((r[0] >= count).all() and (r[1:] < count).all()) for r in ranked.values())
    zeros = {layer: torch.zeros_like(effect[0]) for layer, effect in effects.items()}
    clean, gone = neuron_metrics(model, tokens, target, zeros, ranked, [count, 0], counted=counted)
    assert clean == pytest.approx(attribution.value, abs=1e-4)
    everywhere = neuron_metrics(model, tokens, target, zeros, ranked, [0])[0]
    assert gone != pytest.approx(everywhere, abs=1e-3)


def test_validation_says_which_position_is_left_out(explanation: Explanation) -> None:
    found = validate(explanation, Text("sample", TEXT * 3))
    assert any(note.startswith("position 0 't") and "left out" in note for note in found.notes)
    features = next(c for c in found.columns if c.nodes == "features")
    reading = explanation.attribution.reading
    assert features.count == sum(int((e.positions > 0).sum()) for e in reading.encoded.values())


def test_a_pinned_node_at_a_sink_has_no_curve(explanation: Explanation) -> None:
    position, index = explanation.attribution.reading.encoded[SITES[1]].pairs[0]
    assert position == 0
    with pytest.raises(InputError, match="leave out"):
        chosen_curves(explanation, [f"{SITES[1]}/{index}@0"])  # type: ignore[list-item]


# --- the dictionary check and contexts --------------------------------------------------------


def test_the_check_measures_and_splices_the_other_positions_only(
    folder: Path, model: LanguageModel
) -> None:
    site, sae = Site(1, "resid_post"), random_sae(32, 64, seed=3)
    dictionary = Dictionary(site, sae)
    ids = torch.tensor([[3, 5, 7, 11, 13, 17], [2, 4, 8, 16, 32, 64]])
    (found,) = measure(model, {site: dictionary}, Windows(ids, batch=1))
    assert found.tokens == 10

    theirs = GPT2LMHeadModel.from_pretrained(folder).eval()
    kept: list[torch.Tensor] = []

    def spliced(module: object, inputs: object, out: object) -> object:
        x = out[0] if isinstance(out, tuple) else out
        made = torch.cat([x[:, :1], sae.decode(sae.encode(x[:, 1:]))], dim=1)
        kept.append(x[:, 1:])
        return (made, *out[1:]) if isinstance(out, tuple) else made

    labels = ids.clone()
    labels[:, :2] = -100  # the second token is foretold at the sink
    with torch.no_grad():
        clean = float(theirs(ids, labels=labels).loss)
        hook = theirs.transformer.h[1].register_forward_hook(spliced)
        ce = float(theirs(ids, labels=labels).loss)
        hook.remove()
    assert found.ce == pytest.approx(clean, abs=1e-5)
    assert found.ce_spliced == pytest.approx(ce, abs=1e-5)
    x = kept[0].flatten(0, 1)
    error = x - sae.decode(sae.encode(x))
    variance = 1 - float(error.square().sum() / (x - x.mean(dim=0)).square().sum())
    assert found.explained_variance == pytest.approx(variance, abs=1e-4)


def test_contexts_have_no_activation_at_a_sink(
    loaded: LoadedModel, dictionaries: dict[Site, Dictionary]
) -> None:
    ids = torch.tensor([[3, 5, 7, 11, 13], [2, 4, 8, 16, 32], [1, 2, 3, 4, 5]])
    windows = without_sinks(loaded.model, Windows(ids, batch=2), dictionaries.values())
    for site, fired in fire(loaded.model, dictionaries, windows).items():
        assert fired.tokens == 12
        places = {int(at) for _, where, _ in fired.by_feature() for at in where}
        assert places and places <= {n for n in range(15) if n % 5}, site


def test_a_text_of_nothing_but_sinks_is_refused(loaded: LoadedModel) -> None:
    sae = random_sae(32, 64, seed=0)
    sae.cfg.metadata.seqpos_slice = (9, None)
    site = Site(1, "mlp_out")
    with pytest.raises(InputError, match="longer text"):
        without_sinks(loaded.model, Windows(torch.tensor([[1, 2, 3]])), [Dictionary(site, sae)])


def test_selection_by_hand_of_positions_reaches_every_user_of_a_reading(
    model: LanguageModel, dictionaries: dict[Site, Dictionary]
) -> None:
    """Positions are of the reading, so that nothing made of a reading can forget them."""
    reading = read(model, model.prompt(PROMPT), dictionaries)
    counted = torch.zeros(len(reading.cut.tokens), dtype=torch.bool)
    counted[4] = True
    alone = replace(reading, positions=Positions((), counted, counted))
    found = attribute(alone, target_of(model, alone), strongest(5)).selected
    assert {parse_node(n).position for nodes in found.values() for n in nodes} == {4}
