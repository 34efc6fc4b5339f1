"""SmolLM2 by transformers, sae_lens and autograd alone, in float64: what the engine is compared with.

Nothing of TransformerLens or of scd_tui.attribution takes part. Sites are the outputs of transformers'
own modules. Its RMS norms compute in float32 whatever they are given, so they are computed anew here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from real.training import module_at
from sae_lens import SAE
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from scd_tui.graph import NodeRef, Site

Place = Site | None
"""A site, or None for the token embeddings."""
Edit = Callable[[Tensor], Tensor]


def _rms_norm(module: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    (x,) = inputs
    scale = torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + module.variance_epsilon)
    return module.weight * x * scale


class PlainModel:
    """A Llama of transformers in float64, with frozen weights."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
        self.model.requires_grad_(False)
        for module in self.model.modules():
            if isinstance(module, LlamaRMSNorm):
                module.register_forward_hook(_rms_norm)

    def module(self, place: Place) -> Any:
        return self.model.model.embed_tokens if place is None else module_at(self.model, place)

    def run(self, ids: Sequence[int], edits: Mapping[Place, Edit], rows: int = 1) -> Tensor:
        """Logits `[rows, vocabulary]` after the last token; edits take and give `[rows, pos, d]`."""
        handles = [
            self.module(place).register_forward_hook(_as_hook(edit))
            for place, edit in edits.items()
        ]
        try:
            tokens = torch.tensor([list(ids)]).expand(rows, -1)
            logits: Tensor = self.model(tokens, use_cache=False, logits_to_keep=1).logits[:, 0]
        finally:
            for handle in handles:
                handle.remove()
        return logits


def _as_hook(edit: Edit) -> Callable[..., Any]:
    def hook(module: Any, inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (edit(output[0]), *output[1:])
        return edit(output)

    return hook


@dataclass(frozen=True)
class Transformer:
    """The model by transformers as anyone loads it, in float32."""

    model: Any
    tokenizer: Any

    @torch.no_grad()
    def logits(self, text: str) -> Tensor:
        """`[pos, vocabulary]`."""
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        found: Tensor = self.model(ids, use_cache=False).logits[0]
        return found


@dataclass(frozen=True)
class Parts:
    """An activation `[pos, d]` by one dictionary.

    `strengths` `[pos, d_sae]`: what decoder rows are multiplied by; `error`, `constant` `[pos, d]`;
    `s_in`, `s_out` `[pos]`: the scale going in and coming out.
    """

    strengths: Tensor
    error: Tensor
    constant: Tensor
    s_in: Tensor
    s_out: Tensor

    def minus(self, other: "Parts") -> "Parts":
        """What this prompt has more than the contrast prompt; the scales stay."""
        return Parts(
            self.strengths - other.strengths,
            self.error - other.error,
            self.constant - other.constant,
            self.s_in,
            self.s_out,
        )


def parts_of(sae: Any, x: Tensor) -> Parts:
    """By sae_lens's own encode and decode."""
    with torch.no_grad():
        features = sae.encode(x)
        reconstruction = sae.decode(features)
        # each decode uses up what the encode before it remembered of the scale
        constant = sae.decode(torch.zeros_like(sae.encode(x)))
    one = torch.ones(len(x), dtype=x.dtype)
    normed = sae.cfg.normalize_activations == "layer_norm"
    s_out = x.std(dim=-1) if normed else one
    strengths = features * s_out[:, None]
    torch.testing.assert_close(strengths @ sae.W_dec + constant, reconstruction)
    return Parts(strengths, x - reconstruction, constant, s_out + 1e-5 * normed, s_out)


@dataclass(frozen=True)
class PlainReading:
    """One prompt: `x` and gradients `g` `[pos, d]` by place, of logit(target) - logit(against)."""

    model: PlainModel
    ids: Sequence[int]
    target: int
    against: int
    saes: Mapping[Site, Any]
    value: float
    x: Mapping[Place, Tensor]
    g: Mapping[Place, Tensor]
    parts: Mapping[Site, Parts]

    def metric(self, logits: Tensor) -> Tensor:
        return logits[..., self.target] - logits[..., self.against]

    def effects(self, site: Site, parts: Parts) -> Tensor:
        """`[pos, d_sae]`: estimated effects of features, which have the strengths of `parts`."""
        return parts.strengths * (self.g[site] @ self.saes[site].W_dec.T)

    def strongest(self, site: Site, at: int | None = None) -> tuple[int, int]:
        """Position and index of the feature of largest |effect|, at one position or all but the sink."""
        effects = self.effects(site, self.parts[site])
        first = 1 if at is None else at
        rows = effects[first:] if at is None else effects[at : at + 1]
        position, index = divmod(int(rows.abs().argmax()), effects.shape[1])
        return first + position, index

    def worst_error(self, site: Site) -> int:
        """The position of the error of largest |effect|, the sink left out."""
        effects = (self.parts[site].error * self.g[site]).sum(dim=-1)
        return 1 + int(effects[1:].abs().argmax())

    def frozen(self, target: NodeRef, x: Tensor) -> Tensor:
        """`[rows]`: what a feature or error adds to the metric, by its site's `x` `[rows, pos, d]`.

        As a linear function of x: gradients, scales and the selection of features held; no constant.
        """
        assert target.site is not None
        at, q, sae = target.site, target.position, self.saes[target.site]
        parts, g = self.parts[at], self.g[at][q]
        slopes = parts.s_out[q] * (sae.W_dec @ g) / parts.s_in[q]
        if target.index is not None:
            return slopes[target.index] * (x[:, q] @ sae.W_enc[:, target.index])
        active = parts.strengths[q] != 0
        return x[:, q] @ (g - sae.W_enc[:, active] @ slopes[active])

    def written(self, site: Site, parts: Parts, index: int | None, position: int) -> Tensor:
        """`[d]`: what a feature writes at a position, or the error where `index` is None."""
        if index is None:
            return parts.error[position]
        row: Tensor = self.saes[site].W_dec[index]
        return parts.strengths[position, index] * row

    def without(self, nodes: Sequence[tuple[Site, int, Tensor]]) -> Tensor:
        """`[len(nodes)]`: what the metric loses without each (site, position, vector) alone."""

        def take(site: Site) -> Edit:
            def edit(x: Tensor) -> Tensor:
                changed = x.clone()
                for row, (at, position, vector) in enumerate(nodes):
                    if at == site:
                        changed[row, position] -= vector
                return changed

            return edit

        edits: dict[Place, Edit] = {site: take(site) for site in self.saes}
        with torch.no_grad():
            logits = self.model.run(self.ids, edits, len(nodes))
        return self.value - self.metric(logits)

    def with_only(self, changes: Sequence[tuple[Place, int, Tensor]], target: Place) -> Tensor:
        """`[len(changes), pos, d]`: a site's output with one place changed, every other site held.

        With no target, logits `[len(changes), vocabulary]`. A change is (place, position, vector).
        """
        seen: list[Tensor] = []

        def held(place: Place) -> Edit:
            def edit(x: Tensor) -> Tensor:
                if place == target and target is not None:
                    seen.append(x)
                    return x
                rows = self.x[place].repeat(len(changes), 1, 1)
                for row, (at, position, vector) in enumerate(changes):
                    if at == place:
                        rows[row, position] += vector
                return rows

            return edit

        edits: dict[Place, Edit] = {place: held(place) for place in self.x}
        with torch.no_grad():
            logits = self.model.run(self.ids, edits, len(changes))
        return seen[0] if target is not None else logits


def read_plainly(
    model: PlainModel, ids: Sequence[int], saes: Mapping[Site, Any], target: int, against: int
) -> PlainReading:
    """Activations and gradients of a prompt, by one forward and one backward pass."""
    x: dict[Place, Tensor] = {}
    zeros: dict[Place, Tensor] = {}

    def watch(place: Place) -> Edit:
        def edit(activation: Tensor) -> Tensor:
            x[place] = activation.detach()[0].clone()
            zeros[place] = torch.zeros_like(activation).requires_grad_()
            return activation + zeros[place]

        return edit

    with torch.enable_grad():
        logits = model.run(ids, {place: watch(place) for place in (None, *saes)})[0]
        value = logits[target] - logits[against]
        gradients = torch.autograd.grad(value, list(zeros.values()))
    g = {place: gradient[0] for place, gradient in zip(zeros, gradients, strict=True)}
    parts = {site: parts_of(sae, x[site]) for site, sae in saes.items()}
    return PlainReading(model, ids, target, against, saes, float(value.detach()), x, g, parts)


def furthest(found: Tensor, expected: Tensor, size: float | None = None) -> float:
    """The largest difference, as a share of `size`, by default the largest expected value."""
    size = float(expected.detach().abs().max()) if size is None else size
    return float((found.detach().double() - expected.detach()).abs().max()) / size


def load_saes(folders: Mapping[Site, Path]) -> dict[Site, Any]:
    """The dictionaries by sae_lens, in float64."""
    found = {
        site: SAE.load_from_disk(folder, device="cpu", dtype="float64").eval()
        for site, folder in folders.items()
    }
    for sae in found.values():
        sae.requires_grad_(False)
    return found
