"""The bundled dictionaries' names, and the model's activations at their sites.

A dictionary is named by the hook it reads, as sae_lens names its own ("blocks.2.hook_mlp_out"),
and its feature records by a source id in Neuronpedia's form ("2-mlp").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

HOOKS: tuple[str, ...] = ("hook_attn_out", "hook_mlp_out", "hook_resid_post")
SUFFIXES: dict[str, str] = {"hook_attn_out": "att", "hook_mlp_out": "mlp", "hook_resid_post": "res"}


def dictionary_ids(layers: int) -> list[str]:
    """Hook names of every dictionary, in the order in which a forward pass meets them."""
    return [f"blocks.{layer}.{hook}" for layer in range(layers) for hook in HOOKS]


def source_id(dictionary_id: str) -> str:
    """The feature source of a dictionary: "blocks.2.hook_mlp_out" -> "2-mlp"."""
    _, layer, hook = dictionary_id.split(".")
    return f"{layer}-{SUFFIXES[hook]}"


class Recorder:
    """Keeps what a Hugging Face GPT-2 computes at every site of its last forward pass.

    Use as a context manager. `stacked()` gives `[sites, tokens, width]` in the order of
    `dictionary_ids`.
    """

    def __init__(self, model: GPT2LMHeadModel) -> None:
        self._model = model
        self._seen: list[Tensor] = []
        self._handles: list[Any] = []

    def __enter__(self) -> Recorder:
        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            out = output[0] if isinstance(output, tuple) else output
            self._seen.append(out.detach().flatten(0, 1))

        for block in self._model.transformer.h:
            # within a block: attention, MLP, then the block's own output
            for module in (block.attn, block.mlp, block):
                self._handles.append(module.register_forward_hook(keep))
        return self

    def __exit__(self, *_exc: object) -> None:
        for handle in self._handles:
            handle.remove()

    @torch.no_grad()
    def stacked(self, ids: Tensor) -> Tensor:
        """Activations `[sites, batch·positions, width]` for token ids `[batch, positions]`."""
        self._seen.clear()
        self._model.transformer(ids)
        return torch.stack(self._seen)


def batches(rows: Any, size: int) -> Sequence[Any]:
    """Slices of at most `size` rows, in order."""
    return [rows[i : i + size] for i in range(0, len(rows), size)]
