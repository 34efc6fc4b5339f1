"""Random dictionaries of every kind that sae_lens can load for inference, made by sae_lens itself."""

import tempfile
from dataclasses import dataclass
from typing import Any

import torch
from sae_lens import SAE
from sae_lens.saes import (
    AbsTopKSAE,
    AbsTopKSAEConfig,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedSAE,
    GatedSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
    StandardSAE,
    StandardSAEConfig,
    TopKSAE,
    TopKSAEConfig,
)


@dataclass(frozen=True)
class SaeKind:
    """What decides how a dictionary computes, apart from its weights and its size."""

    architecture: str
    normalisation: str = "none"
    applies_b_dec: bool = True
    rescales: bool = False
    folds: str = ""

    def __str__(self) -> str:
        said = [self.architecture, self.normalisation.replace("_", " ")]
        said += ["b_dec applied"] * self.applies_b_dec + ["rescaled by norms"] * self.rescales
        return ", ".join(said + [f"{self.folds} folded"] * bool(self.folds))


TOPK = SaeKind("topk", "layer_norm")
RELU = SaeKind("standard", "none", applies_b_dec=False)
EVERY_KIND: tuple[SaeKind, ...] = (
    TOPK,
    RELU,
    SaeKind("standard", "constant_norm_rescale"),
    SaeKind("standard", folds="average norm"),
    SaeKind("standard", folds="whitening", applies_b_dec=False),
    SaeKind("topk", "none", rescales=True, applies_b_dec=False),
    SaeKind("topk", "layer_norm", rescales=True),
    SaeKind("topk", folds="whitening", rescales=True),
    SaeKind("abstopk", "constant_norm_rescale"),
    SaeKind("abstopk", "layer_norm", rescales=True, applies_b_dec=False),
    SaeKind("jumprelu", "layer_norm", applies_b_dec=False),
    SaeKind("jumprelu", folds="average norm"),
    SaeKind("gated", "layer_norm"),
    SaeKind("gated", "none", applies_b_dec=False),
    SaeKind("gated", folds="whitening", applies_b_dec=False),
    SaeKind("batchtopk", folds="average norm"),
    SaeKind("batchtopk", "layer_norm", rescales=True, applies_b_dec=False),
    SaeKind("matryoshka_batchtopk", "none"),
)
DIFFERENT_KINDS: tuple[SaeKind, ...] = (TOPK, RELU, *EVERY_KIND[8:10], EVERY_KIND[12])
"""A few that differ in everything that the engine has to keep apart."""

_INFERENCE: dict[str, tuple[Any, Any]] = {
    "standard": (StandardSAE, StandardSAEConfig),
    "topk": (TopKSAE, TopKSAEConfig),
    "abstopk": (AbsTopKSAE, AbsTopKSAEConfig),
    "jumprelu": (JumpReLUSAE, JumpReLUSAEConfig),
    "gated": (GatedSAE, GatedSAEConfig),
}
_TRAINED: dict[str, tuple[Any, Any]] = {
    "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig),
    "matryoshka_batchtopk": (
        MatryoshkaBatchTopKTrainingSAE,
        MatryoshkaBatchTopKTrainingSAEConfig,
    ),
}


def random_sae(
    width: int, features: int, *, seed: int, kind: SaeKind = TOPK, hook: str = "hook"
) -> SAE:
    """A random dictionary. No bias, threshold or norm in it is one that could be left out unnoticed."""
    options: dict[str, Any] = {
        "d_in": width,
        "d_sae": features,
        "normalize_activations": kind.normalisation,
        "apply_b_dec_to_input": kind.applies_b_dec,
        "device": "cpu",
    }
    trained = kind.architecture in _TRAINED
    if trained or kind.architecture.endswith("topk"):
        options["k"] = 8
        options["rescale_acts_by_decoder_norm"] = kind.rescales
    if kind.architecture.startswith("matryoshka"):
        options["matryoshka_widths"] = [features // 2, features]
    make, config = (_TRAINED if trained else _INFERENCE)[kind.architecture]
    sae: Any = make(config(**options))
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            scale = 0.2 if name.startswith(("b_", "r_")) else width**-0.5
            parameter.copy_(draw(*parameter.shape) * scale)
            if name == "threshold":
                parameter.copy_(0.1 + 0.3 * draw(*parameter.shape).abs())
        # decoder norms all over, or a forgotten one would pass for 1
        sae.W_dec.mul_(torch.exp(0.4 * draw(features, 1)))
        if trained:
            sae.topk_threshold.fill_(0.7)
    if trained:
        # what sae_lens saves of these is a JumpReLU dictionary
        with tempfile.TemporaryDirectory() as folder:
            sae.save_inference_model(folder)
            sae = SAE.load_from_disk(folder, device="cpu")
    if kind.folds == "average norm":
        sae.fold_activation_norm_scaling_factor(0.6)
    elif kind.folds == "whitening":
        matrix = torch.eye(width) + 0.2 * draw(width, width) * width**-0.5
        sae.fold_activation_whitening(0.3 * draw(width), matrix, torch.linalg.inv(matrix))
    sae.cfg.metadata.hook_name = hook
    return sae.eval()
