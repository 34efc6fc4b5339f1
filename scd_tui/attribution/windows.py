"""A text in pieces that a model can read, to take means over."""

from scd_tui.attribution.model import LanguageModel
from scd_tui.errors import InputError

WINDOW = 64
"""Tokens a piece, or the model's context where that is less."""
MOST_TOKENS = 4096
MOST_CHARACTERS = 64 * MOST_TOKENS
"""Of a text, so that a long file is not split into tokens that nobody reads."""


def token_windows(model: LanguageModel, text: str) -> list[list[int]]:
    """Token ids of pieces of equal length from the beginning of a text, nothing put before them.

    A text shorter than one piece is one. Raises InputError on a text without tokens.
    """
    ids = [token.id for token in model.tokenize(text[:MOST_CHARACTERS])]
    if not ids:
        raise InputError("the text has no tokens: give some text to measure on")
    length = min(model.context, WINDOW)
    whole = range(0, min(len(ids), MOST_TOKENS) - length + 1, length)
    return [ids[start : start + length] for start in whole] or [ids]
