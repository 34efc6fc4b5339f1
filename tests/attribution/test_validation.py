"""All curves of a circuit, each against the plain measurement of its own kind."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from statistics import fmean

import pytest
import torch
from attributing import metric_value
from tiny import PROMPT, TEXT, random_dictionaries

from scd_tui.attribution.baseline import Baseline, mean_baselines
from scd_tui.attribution.explain import Explanation, explain
from scd_tui.attribution.faithfulness import by_chance, circuit_metrics, strongest_first
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.model import LanguageModel, Neurons
from scd_tui.attribution.neurons import mean_neurons, neuron_effects, neuron_metrics, ranks
from scd_tui.attribution.validation import (
    MOST_TOKENS,
    in_batches,
    mean_of,
    nodes_needed,
    sizes_up_to,
    validate,
)
from scd_tui.attribution.windows import Windows, token_windows
from scd_tui.catalog.texts import Text
from scd_tui.curves import Column, Validation
from scd_tui.graph import ModelIdentity, Settings

SAMPLE = Text("sample", TEXT * 4)


@pytest.fixture(scope="module")
def explanation(tiny_model: LanguageModel) -> Explanation:
    dictionaries = random_dictionaries(3, 32, features=40)
    identity = ModelIdentity(
        name="tiny",
        revision="0",
        dictionaries="random",
        dictionaries_revision="0",
        device="cpu",
        layers=3,
        context=32,
        vocabulary=tiny_model.vocabulary,
        sites=tuple(dictionaries),
    )
    loaded = LoadedModel(tiny_model, dictionaries, identity)
    return explain(loaded, PROMPT, target=60, contrast=77, settings=Settings(top=2))


@pytest.fixture(scope="module")
def validation(explanation: Explanation) -> Validation:
    return validate(explanation, SAMPLE)


def features_alone(
    explanation: Explanation,
    column: Column,
    sizes: Sequence[int],
    *,
    complement: bool = False,
    seed: int | None = None,
) -> list[float]:
    """m(C) of each size by a forward pass of its own."""
    loaded, attribution = explanation.loaded, explanation.attribution
    reading = attribution.reading
    if column.baseline == "mean":
        windows = Windows(token_windows(loaded.model, SAMPLE.text, MOST_TOKENS))
        baselines = mean_baselines(loaded.model, loaded.dictionaries, windows)
    else:
        baselines = {
            site: Baseline.zero(dictionary, reading.cut.activation(site))
            for site, dictionary in loaded.dictionaries.items()
        }
    ranked = (
        strongest_first(attribution, loaded.dictionaries)
        if seed is None
        else by_chance(attribution, loaded.dictionaries, seed)
    )
    return [
        circuit_metrics(
            *(loaded.model, reading.cut.tokens, attribution.target),
            *(loaded.dictionaries, baselines, ranked, [size]),
            complement=complement,
            keep_errors=bool(column.errors),
        )[0]
        for size in sizes
    ]


def neurons_alone(
    explanation: Explanation, column: Column, sizes: Sequence[int], *, complement: bool = False
) -> list[float]:
    model, attribution = explanation.loaded.model, explanation.attribution
    tokens = attribution.reading.cut.tokens
    effects = neuron_effects(model, tokens, attribution.target)
    means = mean_neurons(model, effects, Windows(token_windows(model, SAMPLE.text, MOST_TOKENS)))
    if column.baseline == "zero":
        means = {layer: torch.zeros_like(mean) for layer, mean in means.items()}
    return [
        neuron_metrics(
            *(model, tokens, attribution.target, means, ranks(effects), [size]),
            complement=complement,
        )[0]
        for size in sizes
    ]


def test_there_is_a_column_for_every_way(validation: Validation) -> None:
    found = [(c.nodes, c.baseline, c.errors, c.order) for c in validation.columns]
    features = product(["features"], ["zero", "mean"], [True, False], ["effect", "random"])
    assert found == [
        *features,
        ("neurons", "zero", None, "effect"),
        ("neurons", "mean", None, "effect"),
    ]
    assert all(column.curve is not None for column in validation.columns)


def test_features_curves_are_ratios_of_circuits_measured_one_by_one(
    explanation: Explanation, validation: Validation
) -> None:
    whole = explanation.attribution.value
    assert validation.metric_value == whole
    reading = explanation.attribution.reading
    active = sum(len(encoded.values) for encoded in reading.encoded.values())
    for column in validation.columns:
        if column.nodes != "features":
            continue
        assert column.count == active and column.curve is not None and column.empty is not None
        assert column.curve.sizes == tuple(sizes_up_to(active))
        seeds = [None] if column.order == "effect" else list(validation.seeds)
        sizes = [0, 10, active]
        at = [column.curve.sizes.index(size) for size in sizes]
        (empty,) = features_alone(explanation, column, [0])
        assert column.empty == pytest.approx(empty, abs=1e-4)
        for name, complement in (("faithfulness", False), ("completeness", True)):
            runs = [
                features_alone(explanation, column, sizes, complement=complement, seed=seed)
                for seed in seeds
            ]
            by_hand = [(fmean(v) - empty) / (whole - empty) for v in zip(*runs, strict=True)]
            values = getattr(column.curve, name)
            assert [values[i] for i in at] == pytest.approx(by_hand, abs=2e-3)


def test_neurons_are_measured_at_the_features_sizes_and_on_to_all_of_them(
    explanation: Explanation, validation: Validation
) -> None:
    whole = explanation.attribution.value
    features = validation.columns[0]
    for column in validation.columns[-2:]:
        assert column.count == 3 * 128 * len(explanation.circuit.tokens)
        assert column.curve is not None and features.curve is not None
        assert set(features.curve.sizes) < set(column.curve.sizes)
        assert max(column.curve.sizes) == column.count
        sizes = [0, 30, features.count, column.count]
        at = [column.curve.sizes.index(size) for size in sizes]
        alone = neurons_alone(explanation, column, sizes)
        others = neurons_alone(explanation, column, sizes, complement=True)
        assert column.empty == pytest.approx(alone[0], abs=1e-4)
        for values, found in (
            (column.curve.faithfulness, alone),
            (column.curve.completeness, others),
        ):
            by_hand = [(value - alone[0]) / (whole - alone[0]) for value in found]
            assert [values[i] for i in at] == pytest.approx(by_hand, abs=1e-3)


def test_everything_is_the_model_unless_something_stays_out(validation: Validation) -> None:
    """With errors out, random dictionaries make something else of it."""
    for column in validation.columns:
        assert column.curve is not None
        assert column.curve.faithfulness[0] == pytest.approx(0.0, abs=1e-5)
        together, untouched = column.curve.faithfulness[-1], column.curve.completeness[0]
        if column.nodes == "neurons" or column.errors:
            assert untouched == pytest.approx(1.0, abs=1e-3)
            if column.nodes == "neurons" or column.baseline == "zero":
                assert together == pytest.approx(1.0, abs=1e-3)
        else:
            assert abs(untouched - 1.0) > 0.05 and abs(together - 1.0) > 0.05


def test_the_nodes_needed_have_enough_and_one_fewer_has_not(
    explanation: Explanation, validation: Validation
) -> None:
    whole, checked = explanation.attribution.value, 0
    for column in validation.columns:
        if column.order != "effect":
            continue
        assert column.curve is not None and column.empty is not None
        if column.needed is None:
            assert max(column.curve.faithfulness) < 0.8
            continue
        measure = neurons_alone if column.nodes == "neurons" else features_alone
        at = measure(explanation, column, [column.needed - 1, column.needed])
        one_fewer, enough = ((value - column.empty) / (whole - column.empty) for value in at)
        assert one_fewer < 0.8 <= enough, column
        checked += 1
    assert checked >= 3


def test_a_refused_combination_says_why_and_the_others_go_on(
    explanation: Explanation, validation: Validation
) -> None:
    empty = validation.columns[0].empty
    assert empty is not None
    attribution = replace(explanation.attribution, value=empty + 0.05)
    found = validate(replace(explanation, attribution=attribution), SAMPLE)
    for column in found.columns:
        refused = column.nodes == "features" and column.baseline == "zero" and column.errors
        if refused:
            assert "without any feature the metric is" in column.refused
            assert "too near for a ratio" in column.refused
            assert column.empty == pytest.approx(empty, abs=1e-4)
            assert column.curve is None and column.needed is None
    assert sum(column.curve is not None for column in found.columns) >= 6


def test_with_a_contrast_prompt_its_values_stand_in_the_place_of_zero(
    explanation: Explanation,
) -> None:
    loaded = explanation.loaded
    held = explain(
        *(loaded, "the cat sat on the mat. To be"),
        target=60,
        contrast=77,
        contrast_prompt="the mat sat on the cat. be To",
    )
    model, circuit = loaded.model, held.circuit
    found = validate(held, SAMPLE)
    stands = [(column.nodes, column.baseline) for column in found.columns]
    assert stands == [
        *[("features", "contrast")] * 4,
        *[("features", "mean")] * 4,
        ("neurons", "contrast"),
        ("neurons", "mean"),
    ]
    there = float(
        metric_value(circuit.target, model.forward(model.ids(circuit.contrast_tokens))[0])
    )
    for column in found.columns[2:4]:
        assert not column.errors and column.empty == pytest.approx(there, abs=1e-3)

    # neurons by hand: all of them as in the contrast prompt
    seen: dict[int, torch.Tensor] = {}

    def look(layer: int, x: torch.Tensor) -> torch.Tensor:
        seen[layer] = x
        return x

    def metric_of(edits) -> float:
        with torch.no_grad():
            logits = model.forward(model.ids(circuit.tokens), edits)[0]
        return float(metric_value(circuit.target, logits))

    with torch.no_grad():
        model.forward(
            model.ids(circuit.contrast_tokens),
            [(Neurons(layer), partial(look, layer)) for layer in range(model.layers)],
        )
    column = found.columns[-2]
    put = [(Neurons(layer), lambda x, layer=layer: seen[layer]) for layer in range(model.layers)]
    assert column.empty == pytest.approx(metric_of(put), abs=1e-4)


def test_a_model_without_neurons_keeps_its_other_columns(
    explanation: Explanation, validation: Validation, monkeypatch: pytest.MonkeyPatch
) -> None:
    has = LanguageModel.has
    monkeypatch.setattr(LanguageModel, "has", lambda self, p: p != Neurons(2) and has(self, p))
    found = validate(explanation, SAMPLE)
    assert found.columns == validation.columns[:-2]
    assert found.notes == ("no baseline of neurons: this model has no MLP neurons in layer 2",)


def test_progress_is_told_and_can_end_the_work(explanation: Explanation) -> None:
    told: list[tuple[int, int]] = []
    validate(explanation, SAMPLE, lambda stage, done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(len(told)))
    assert {total for _, total in told} == {told[-1][0]}

    def stop(stage: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        validate(explanation, SAMPLE, stop)


def test_what_was_averaged_over_is_told(explanation: Explanation, validation: Validation) -> None:
    windows = token_windows(explanation.loaded.model, SAMPLE.text, MOST_TOKENS)
    assert (validation.text, validation.text_tokens) == ("sample", windows.numel())
    assert validation.seeds == (0, 1, 2)
    assert validation.prompt == PROMPT


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (0, [0]),
        (1, [0, 1]),
        (3, [0, 1, 3]),
        (29, [0, 1, 3, 10, 29]),
        (5376, [0, 1, 3, 10, 30, 100, 300, 1000, 3000, 5376]),
    ],
)
def test_sizes_grow_to_all_there_are(count: int, sizes: list[int]) -> None:
    assert sizes_up_to(count) == sizes


def test_batches_ask_the_same_in_smaller_calls() -> None:
    calls: list[tuple[list[int], bool]] = []

    def measure(sizes: Sequence[int], *, complement: bool = False) -> list[float]:
        calls.append((list(sizes), complement))
        return [size * 2.0 for size in sizes]

    assert in_batches(measure, 2)([5, 1, 4], complement=True) == [10.0, 2.0, 8.0]
    assert calls == [([5, 1], True), ([4], True)]


def test_the_mean_of_orders_is_taken_size_by_size() -> None:
    def times(factor: float):
        def measure(sizes: Sequence[int], *, complement: bool = False) -> list[float]:
            return [factor * size * (-1 if complement else 1) for size in sizes]

        return measure

    both = mean_of([times(1), times(3)])
    assert both([1, 5]) == [2.0, 10.0]
    assert both([1, 5], complement=True) == [-2.0, -10.0]


@pytest.mark.parametrize("crossing", [1, 2, 30, 31, 77, 99, 100])
def test_the_crossing_is_found_to_the_node(crossing: int) -> None:
    def faithfulness(sizes: Sequence[int]) -> list[float]:
        return [0.8 if size >= crossing else 0.79 for size in sizes]

    sizes = [0, 1, 3, 10, 30, 100]
    assert nodes_needed(faithfulness, sizes, faithfulness(sizes)) == crossing


def test_a_curve_that_never_gets_there_needs_no_number_of_nodes() -> None:
    def refuse(sizes: Sequence[int]) -> list[float]:
        raise AssertionError("nothing is left to be measured")

    assert nodes_needed(refuse, [0, 1, 3], [0.0, 0.5, 0.79]) is None
