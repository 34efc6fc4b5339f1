import pytest
from tiny import TEXT

from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.windows import MOST_TOKENS, token_windows
from scd_tui.errors import InputError


def test_windows_are_the_beginning_of_the_text_and_nothing_else(tiny_model: LanguageModel) -> None:
    """The model's context of 32 is shorter than a window may be."""
    windows = token_windows(tiny_model, TEXT * 3)
    ids = [token.id for token in tiny_model.tokenize(TEXT * 3)]
    joined = [i for window in windows for i in window]
    assert {len(window) for window in windows} == {32}
    assert joined == ids[: len(joined)] and 0 <= len(ids) - len(joined) < 32


def test_a_long_text_is_read_up_to_a_limit(tiny_model: LanguageModel) -> None:
    assert sum(map(len, token_windows(tiny_model, "x " * 20_000))) == MOST_TOKENS


def test_a_short_text_is_one_window(tiny_model: LanguageModel) -> None:
    ids = [token.id for token in tiny_model.tokenize("the cat")]
    assert token_windows(tiny_model, "the cat") == [ids]


def test_a_text_without_tokens_is_refused(tiny_model: LanguageModel) -> None:
    with pytest.raises(InputError, match="no tokens"):
        token_windows(tiny_model, "")
