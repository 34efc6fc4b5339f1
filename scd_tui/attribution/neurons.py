"""MLP neurons in the place of features: the baseline that a circuit of features has to beat.

A node is one neuron at one position, its activation `a` what the MLP's output matrix reads. As
for features (Marks et al. 2024, section 4)

    effect = a · ∂m/∂a        m(C): neurons in C as they are now, the others at zero or at their mean

with nothing else touched: attention, embeddings and biases stay, and so ∅, all neurons out, is another
one than that of features. Neurons have no error, because a basis leaves nothing out. With a contrast
prompt `a` is counted from what it is there, and that is what neurons are set to in the place of zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from scd_tui.attribution.metric import value_at
from scd_tui.attribution.model import LanguageModel, Neurons
from scd_tui.attribution.windows import Windows
from scd_tui.errors import InputError
from scd_tui.graph import Target, Token


def layers_with_neurons(model: LanguageModel) -> tuple[int, ...]:
    """All layers. Raises InputError unless the neurons of each can be replaced."""
    for layer in range(model.layers):
        if not model.has(Neurons(layer)):
            raise InputError(f"this model has no {Neurons(layer)}")
    return tuple(range(model.layers))


def neuron_effects(
    model: LanguageModel,
    tokens: Sequence[Token],
    target: Target,
    there: Mapping[int, Tensor] | None = None,
) -> dict[int, Tensor]:
    """`[pos, d_mlp]` of each layer: activation times gradient, in the metric's unit.

    With `there`, `neurons_of` a contrast prompt, the activation is counted from what it is there.
    Raises InputError on a model whose neurons cannot be replaced.
    """
    activations: dict[int, Tensor] = {}
    pushes: dict[int, Tensor] = {}

    def look(layer: int, activation: Tensor) -> Tensor:
        # Adding a zero that asks for a gradient leaves the graph whole, unlike cutting it.
        activations[layer] = activation.detach()[0]
        pushes[layer] = torch.zeros_like(activation).requires_grad_()
        return activation + pushes[layer]

    edits = [(Neurons(layer), partial(look, layer)) for layer in layers_with_neurons(model)]
    with torch.enable_grad():
        logits = model.forward(model.ids(tokens), edits, target.positions)
        metric = value_at(target, logits)[0]
    layers = sorted(pushes)
    gradients = torch.autograd.grad(metric, [pushes[layer] for layer in layers])
    return {
        layer: (activations[layer] - (there[layer] if there else 0.0)) * gradient[0]
        for layer, gradient in zip(layers, gradients, strict=True)
    }


def ranks(effects: Mapping[int, Tensor], counted: Tensor | None = None) -> dict[int, Tensor]:
    """`[pos, d_mlp]` of each layer: how many neurons of all layers have a larger |effect|.

    Ties in the order of computation: by layer, position, index. Neurons at positions that are not
    `counted` `[pos]` come after all others; by default all positions count.
    """

    def size(effect: Tensor) -> Tensor:
        sizes = effect.abs()
        return sizes if counted is None else torch.where(counted[:, None], sizes, -1.0)

    sizes = torch.cat([size(effect).flatten() for effect in effects.values()])
    order = torch.argsort(sizes, descending=True, stable=True)
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    parts = torch.split(places, [effect.numel() for effect in effects.values()])
    return {
        layer: part.reshape(effects[layer].shape)
        for layer, part in zip(effects, parts, strict=True)
    }


@torch.no_grad()
def neurons_of(model: LanguageModel, tokens: Sequence[Token]) -> dict[int, Tensor]:
    """`[pos, d_mlp]` of each layer: the activations in a prompt.

    Raises InputError on a model whose neurons cannot be replaced.
    """
    found: dict[int, Tensor] = {}

    def look(layer: int, activation: Tensor) -> Tensor:
        found[layer] = activation[0]
        return activation

    edits = [(Neurons(layer), partial(look, layer)) for layer in layers_with_neurons(model)]
    model.forward(model.ids(tokens), edits, [-1])
    return found


@torch.no_grad()
def mean_neurons(
    model: LanguageModel, layers: Iterable[int], windows: Windows
) -> dict[int, Tensor]:
    """`[d_mlp]` of each layer: means over the positions of a text that count."""
    totals: dict[int, Tensor] = {}

    def add(layer: int, activations: Tensor) -> Tensor:
        here = activations.sum(dim=0)
        totals[layer] = totals[layer] + here if layer in totals else here
        return activations

    layers = tuple(layers)
    for batch in windows:
        edits = [(Neurons(layer), batch.edit(partial(add, layer))) for layer in layers]
        model.forward(batch.ids, edits, [-1])
    return {layer: total / windows.tokens for layer, total in totals.items()}


@torch.no_grad()
def neuron_metrics(
    model: LanguageModel,
    tokens: Sequence[Token],
    target: Target,
    baselines: Mapping[int, Tensor],
    ranked: Mapping[int, Tensor],
    sizes: Sequence[int],
    *,
    counted: Tensor | None = None,
    complement: bool = False,
) -> list[float]:
    """m(C) for the circuits of the n first neurons, for each n of `sizes`; all else as it is.

    `baselines[layer]` `[d_mlp]` or `[pos, d_mlp]`, `ranked[layer]` `[pos, d_mlp]`. With `complement`, for
    those of all other neurons. Neurons at positions that are not `counted` `[pos]` stay as they are; by
    default all positions count.
    """
    limits = torch.tensor(list(sizes), device=model.device)[:, None, None]

    def replace(layer: int, activation: Tensor) -> Tensor:
        kept = (ranked[layer] < limits) != complement
        if counted is not None:
            kept = kept | ~counted[:, None]
        return torch.where(kept, activation, baselines[layer])

    ids = model.ids(tokens).expand(len(limits), -1)
    edits = [(Neurons(layer), partial(replace, layer)) for layer in ranked]
    logits = model.forward(ids, edits, target.positions)
    return [float(value) for value in value_at(target, logits)]
