"""Neurons in the place of features, against hooks set on the bridge itself, one circuit at a time."""

import pytest
import torch
from families import FAMILIES, LAYERS, write_family
from tiny import PROMPT

from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.model import LanguageModel, Neurons
from scd_tui.attribution.neurons import (
    mean_neurons,
    neuron_effects,
    neuron_metrics,
    neurons_of,
    ranks,
)
from scd_tui.attribution.windows import Windows
from scd_tui.errors import InputError
from scd_tui.graph import Target, Token

TEXTS = [[3, 5, 7, 11], [2, 4, 8, 16]]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("neurons") / request.param
    made = LanguageModel.boot(write_family(folder, request.param), torch.device("cpu"))
    made._bridge.to(torch.float64)
    return made


@pytest.fixture(scope="module")
def tokens(model: LanguageModel) -> tuple[Token, ...]:
    return model.prompt(PROMPT)


@pytest.fixture(scope="module")
def target(model: LanguageModel, tokens: tuple[Token, ...]) -> Target:
    logits = model.forward(model.ids(tokens))[0]
    return resolve_target(model, tokens, logits, target=7, contrast=11)


def hooked(model: LanguageModel, ids: torch.Tensor, change) -> float:
    """logit(7) - logit(11) at the end, `change(layer, neurons)` made at every MLP."""
    with torch.no_grad():
        logits = model._bridge.run_with_hooks(
            ids,
            return_type="logits",
            fwd_hooks=[
                (f"blocks.{n}.mlp.hook_post", lambda x, hook, n=n: change(n, x))
                for n in range(LAYERS)
            ],
        )[0, -1]
    return float(logits[7] - logits[11])


def test_effects_are_finite_differences_of_scaling_one_neuron(
    model: LanguageModel, tokens: tuple[Token, ...], target: Target
) -> None:
    effects = neuron_effects(model, tokens, target)
    assert list(effects) == list(range(LAYERS))
    h = 1e-3
    for layer, effect in effects.items():
        place = divmod(int(effect.abs().argmax()), effect.shape[1])
        moved = []
        for scale in (1 + h, 1 - h):

            def change(n: int, x: torch.Tensor, at=(layer, *place), scale=scale) -> torch.Tensor:
                x = x.clone()
                if n == at[0]:
                    x[0, at[1], at[2]] *= scale
                return x

            moved.append(hooked(model, model.ids(tokens), change))
        assert float(effect[place]) == pytest.approx((moved[0] - moved[1]) / (2 * h), rel=2e-3)


def test_against_a_contrast_prompt_effects_are_finite_differences_of_going_there(
    model: LanguageModel, tokens: tuple[Token, ...], target: Target
) -> None:
    there = neurons_of(model, tokens[::-1])
    effects = neuron_effects(model, tokens, target, there)
    h = 1e-3
    for layer, effect in effects.items():
        place = divmod(int(effect.abs().argmax()), effect.shape[1])
        moved = []
        for step in (h, -h):

            def change(n: int, x: torch.Tensor, at=(layer, *place), step=step) -> torch.Tensor:
                x = x.clone()
                if n == at[0]:
                    x[0, at[1], at[2]] += step * (there[n][at[1:]] - x[0, at[1], at[2]])
                return x

            moved.append(hooked(model, model.ids(tokens), change))
        assert float(effect[place]) == pytest.approx((moved[1] - moved[0]) / (2 * h), rel=2e-3)


def test_ranks_count_the_stronger_neurons_of_all_layers() -> None:
    effects = {
        0: torch.tensor([[0.5, -3.0], [0.0, 0.5]]),
        1: torch.tensor([[2.0, -0.5], [9.0, 0.0]]),
    }
    found = ranks(effects)
    # ties by layer, position, index
    assert found[0].tolist() == [[3, 1], [6, 4]]
    assert found[1].tolist() == [[2, 5], [0, 7]]


@pytest.mark.parametrize("mean", [False, True], ids=["zero", "mean"])
@pytest.mark.parametrize("complement", [False, True], ids=["alone", "others"])
def test_a_circuit_of_neurons_is_what_plain_hooks_make_of_it(
    model: LanguageModel, tokens: tuple[Token, ...], target: Target, mean: bool, complement: bool
) -> None:
    effects = neuron_effects(model, tokens, target)
    everyone = sorted(
        (-abs(value), layer, position, neuron)
        for layer, effect in effects.items()
        for position, row in enumerate(effect.tolist())
        for neuron, value in enumerate(row)
    )
    looked: dict[int, list[torch.Tensor]] = {layer: [] for layer in effects}

    def look(layer: int, x: torch.Tensor) -> torch.Tensor:
        looked[layer].append(x[0])
        return x

    for window in TEXTS:
        hooked(model, torch.tensor([window]), look)
    baselines = {
        layer: torch.cat(parts).mean(dim=0) * (1.0 if mean else 0.0)
        for layer, parts in looked.items()
    }
    if mean:
        found = mean_neurons(model, effects, Windows(torch.tensor(TEXTS)))
        for layer, baseline in baselines.items():
            torch.testing.assert_close(found[layer], baseline, atol=1e-12, rtol=1e-9)

    sizes = [0, 1, 40, len(everyone) // 2, len(everyone)]
    expected = []
    for size in sizes:
        chosen = {node[1:] for node in everyone[:size]}

        def change(layer: int, x: torch.Tensor, chosen=chosen) -> torch.Tensor:
            x = x.clone()
            for position in range(x.shape[1]):
                for neuron in range(x.shape[2]):
                    if ((layer, position, neuron) in chosen) == complement:
                        x[0, position, neuron] = baselines[layer][neuron]
            return x

        expected.append(hooked(model, model.ids(tokens), change))
    measured = neuron_metrics(
        model, tokens, target, baselines, ranks(effects), sizes, complement=complement
    )
    assert measured == pytest.approx(expected, abs=1e-5)
    clean = hooked(model, model.ids(tokens), lambda n, x: x)
    assert measured[0 if complement else -1] == pytest.approx(clean, abs=1e-5)
    assert measured[-1 if complement else 0] != pytest.approx(clean, abs=1e-2)


def test_a_model_without_neurons_is_refused(
    tiny_model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tiny_model.prompt(PROMPT)
    logits = tiny_model.forward(tiny_model.ids(tokens))[0]
    target = resolve_target(tiny_model, tokens, logits, target=7)
    with pytest.raises(InputError, match="no MLP neurons in layer 3"):
        tiny_model.forward(tiny_model.ids(tokens), [(Neurons(3), lambda x: x)])
    has = LanguageModel.has
    monkeypatch.setattr(LanguageModel, "has", lambda self, p: p != Neurons(1) and has(self, p))
    with pytest.raises(InputError, match="no MLP neurons in layer 1"):
        neuron_effects(tiny_model, tokens, target)
