"""Is the model that TransformerLens runs the one that transformers runs?

The bridge wraps transformers' own modules, and in a few families it loses a step on the way (Cohere's
scale of the logits). At the first load both say what comes after each of a few tokens. Plain
transformers comes first and is let go of before the bridge is loaded, so that there is one copy
in memory at a time. Log-probabilities are compared, which a constant added to all logits does not change.
"""

from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from scd_tui.attribution.foreign import is_foreign
from scd_tui.attribution.guard import nothing_installed
from scd_tui.attribution.model import LanguageModel

TOLERANCE = 0.01
"""Nats. Rounding in float32 comes to some 1e-5."""
_TOKENS = 8


def spread_ids(vocabulary: int, context: int) -> list[int]:
    """A few different token ids from all over the vocabulary."""
    count = min(_TOKENS, context)
    return [(n + 1) * vocabulary // (count + 2) for n in range(count)]


@torch.no_grad()
def plain_log_probabilities(folder: Path | str, device: torch.device) -> Tensor | None:
    """`[pos, vocabulary]` after `spread_ids` by plain transformers, in float32 on the CPU.

    None where transformers itself does not load the model, or not as a language model, or where it
    says NaN.
    """
    try:
        with nothing_installed():
            model = AutoModelForCausalLM.from_pretrained(
                str(folder), dtype=torch.float32, trust_remote_code=False
            )
        model = model.eval().to(device)
        config = model.config.get_text_config()
        context = getattr(config, "max_position_embeddings", None) or _TOKENS
        ids = torch.tensor([spread_ids(config.vocab_size, context)], device=device)
        logits: Tensor = model(ids).logits[0]
    except BaseException as error:
        if not is_foreign(error):
            raise
        return None
    found = logits.float().log_softmax(dim=-1).cpu()
    return None if bool(found.isnan().any()) else found


@torch.no_grad()
def largest_difference(model: LanguageModel, plain: Tensor) -> float:
    """The largest |Δ log-probability|, in nats, from `plain_log_probabilities`; inf for other shapes."""
    count, vocabulary = plain.shape
    ids = torch.tensor([spread_ids(vocabulary, count)], device=model.device)
    ours = model.forward(ids)[0].float().log_softmax(dim=-1).cpu()
    if ours.shape != plain.shape:
        return float("inf")
    # a token that both rule out (-inf) is no difference
    return float(torch.where(ours == plain, 0.0, ours - plain).abs().max())
