"""A text as windows of tokens, each to be read on its own."""

import torch
from torch import Tensor

from scd_tui.attribution.model import LanguageModel
from scd_tui.errors import InputError

WINDOW = 64
"""Tokens: the shortest context that published dictionaries were trained on (OpenAI's of GPT-2)."""


def token_windows(
    model: LanguageModel, text: str, tokens: int, *, length: int = WINDOW, first: int | None = None
) -> Tensor:
    """`[windows, length]`: about `tokens` tokens in all, spread evenly over the text.

    Windows are shorter where the text, the number of tokens or the model's context is; the context
    has to hold the token `first` too, which is not put in. Raises InputError on a text of fewer
    than two tokens, after which there is nothing to foretell.
    """
    ids = [token.id for token in model.tokenize(text)]
    length = min(length, len(ids), tokens, model.context - (first is not None))
    if length < 2:
        raise InputError("there is too little text to measure on: give at least two tokens")
    places = len(ids) // length
    count = min(places, tokens // length)
    starts = [length * (n * places // count) for n in range(count)]
    return torch.tensor([ids[start : start + length] for start in starts], device=model.device)
