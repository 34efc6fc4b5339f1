import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.convert_slow_tokenizer import bytes_to_unicode

from scd_tui.neuronpedia.tokens import MAXIMUM_TOKEN, assembled, clip, readable


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (" the", " the"),
        ("Ġthe", " the"),
        ("ĠĠĠ", "   "),
        ("Ċ", "\n"),
        ("ĉif", "\tif"),
        ("âĢĶ", "—"),
        (" âĢĶ", " —"),
        ("âĢĻs", "’s"),
        ("cafÃ©", "café"),
        ("▁the", " the"),
        ("▁▁", "  "),
        ("<0x0A>", "\n"),
        ("<0xE2>", "<0xE2>"),
        ("a<0x09>", "a\t"),
        ("é", "é"),
        ("naïve", "naïve"),
        ("číslo", "číslo"),
        ("Āda", "Āda"),
        ("日本", "日本"),
        ("🙂", "🙂"),
        ("âĢ", "âĢ"),
        ("", ""),
    ],
)
def test_debris_is_decoded_and_real_letters_stay(token: str, text: str) -> None:
    assert readable(token) == text


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20))
def test_any_text_in_a_byte_level_vocabulary_comes_back(text: str) -> None:
    """Encoded with the alphabet of the tokenizers library, a word with its leading space."""
    alphabet = bytes_to_unicode()
    token = "".join(alphabet[byte] for byte in (" " + text).encode())
    assert readable(token) == " " + text or "▁" in token


def test_a_token_of_a_megabyte_is_cut_and_half_a_character_replaced() -> None:
    assert len(readable("Ġ" * 1_000_000)) == MAXIMUM_TOKEN
    assert readable("a\ud800b") == "a?b"
    assert clip("abc", 3) == "abc" and clip("abcd", 3) == "ab…"


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        (["Ġæ", "Ĺ", "¥", "Ġthe"], [(" 日", 3), (" the", 1)]),
        (["ðŁ", "ĻĤ", "!"], [("🙂", 2), ("!", 1)]),
        (["<0xE6>", "<0x97>", "<0xA5>", "▁the"], [("日", 3), (" the", 1)]),
        (["é", " un"], [("é", 1), (" un", 1)]),
        (["âĢ"], [("âĢ", 1)]),
        (["âĢ", "the"], [("âĢ", 1), ("the", 1)]),
        ([], []),
    ],
)
def test_a_character_that_is_split_over_tokens_is_put_together(
    tokens: list[str], found: list[tuple[str, int]]
) -> None:
    assert assembled(tokens) == found


@given(st.text(alphabet=st.characters(codec="utf-8", min_codepoint=0x3000), min_size=1, max_size=6))
def test_any_text_that_is_cut_into_bytes_comes_back(text: str) -> None:
    alphabet = bytes_to_unicode()
    found = assembled([alphabet[byte] for byte in text.encode()])
    assert "".join(part for part, _ in found) == text
    assert [count for _, count in found] == [len(letter.encode()) for letter in text]
