import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from scd_tui.text import shorten, visible, whole


@given(st.text())
def test_nothing_that_controls_a_terminal_comes_through(text: str) -> None:
    shown = visible(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)


SKIN_TONES = "".join(map(chr, range(0x1F3FB, 0x1F400)))
"""Signs by their category; they change the width of what stands before them."""


@given(
    st.text(
        alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters=SKIN_TONES)
    )
)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_what_is_spelled_out_can_be_read() -> None:
    assert visible("a\x1b[31m\n\t\x9b\u202e\U000e0001") == "a\\x1b[31m⏎⇥\\x9b\\u202e\\U000e0001"


@given(st.text(), st.integers(min_value=1, max_value=20))
def test_shortened_text_fits_and_says_that_it_was_cut(text: str, width: int) -> None:
    short = shorten(text, width)
    assert len(short) <= width
    assert short == text or short.endswith("…")


def test_characters_that_tokens_split_are_whole_again() -> None:
    pieces = [b" \xe6\x97", b"\xa5\xf0\x9f", b"\x98\x80!", b"\xff"]
    texts = [piece.decode("utf-8", "backslashreplace") for piece in pieces]
    assert "日" not in "".join(texts)
    assert whole("".join(texts)) == " 日😀!\\xff"
    assert whole("\\x1b \\xzz café") == "\\x1b \\xzz café", "what spells no bytes of UTF-8 stays"


def test_what_terminals_draw_in_other_widths_is_spelled_out() -> None:
    assert visible("❤\ufe0f") == "❤\\ufe0f"
    assert visible("👍\U0001f3fd") == "👍\\U0001f3fd"
    assert visible("👩\u200d👧") == "👩\\u200d👧"
    assert visible("e\u0301 日本語 🇫🇷") == "e\u0301 日本語 🇫🇷"


def test_a_mark_is_not_drawn_over_what_stands_before_it() -> None:
    assert visible("\u0301x") == "◌\u0301x" == visible(visible("\u0301x"))
