import pytest
from tiny import TEXT

from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.windows import token_windows
from scd_tui.errors import InputError

LONG = TEXT * 20


def test_windows_are_pieces_of_the_text_spread_over_all_of_it(tiny_model: LanguageModel) -> None:
    ids = [token.id for token in tiny_model.tokenize(LONG)]
    windows = token_windows(tiny_model, LONG, 45, length=10)
    assert windows.shape == (4, 10)
    starts = [len(ids) // 10 * n // 4 * 10 for n in range(4)]
    assert windows.tolist() == [ids[start : start + 10] for start in starts]
    assert starts[-1] > len(ids) // 2


def test_all_of_the_text_is_read_once_where_it_is_shorter(tiny_model: LanguageModel) -> None:
    ids = [token.id for token in tiny_model.tokenize(TEXT)]
    windows = token_windows(tiny_model, TEXT, 10_000, length=10)
    assert windows.flatten().tolist() == ids[: len(ids) // 10 * 10]


def test_windows_are_no_longer_than_text_context_and_what_was_asked(
    tiny_model: LanguageModel,
) -> None:
    assert token_windows(tiny_model, "the cat sat", 4096).shape[1] == len(
        tiny_model.tokenize("the cat sat")
    )
    assert token_windows(tiny_model, LONG, 4096).shape[1] == tiny_model.context == 32
    assert token_windows(tiny_model, LONG, 4096, first=0).shape[1] == 31
    assert token_windows(tiny_model, LONG, 5).shape == (1, 5)


@pytest.mark.parametrize(("text", "tokens"), [("", 100), ("a", 100), (TEXT, 1)])
def test_one_token_is_too_little(tiny_model: LanguageModel, text: str, tokens: int) -> None:
    with pytest.raises(InputError, match="at least two tokens"):
        token_windows(tiny_model, text, tokens)


def test_the_token_that_texts_begin_with(tiny_model: LanguageModel) -> None:
    assert tiny_model.token(tiny_model.bos).text == "<|endoftext|>"
