from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from scd_tui.tui.ink import Span, between, cut, cut_start, fit, flow, pad, plain, width_of, wrap

texts = st.text(st.characters(exclude_categories=["C", "Mn", "Me", "Zl", "Zp"]), max_size=40)
spans = st.lists(st.tuples(texts, st.just("text")), max_size=6)


@given(texts, st.integers(0, 30))
def test_cut_and_pad_keep_to_the_width(text: str, width: int) -> None:
    assert cell_len(cut(text, width)) <= width
    if width:
        assert cell_len(pad(text, width)) == width


@given(texts, st.integers(1, 30))
def test_cut_start_keeps_the_end(text: str, width: int) -> None:
    short = cut_start(text, width)
    assert cell_len(short) <= width
    assert text.endswith(short.removeprefix("…"))


@given(spans, st.integers(1, 60))
def test_fit_is_exactly_as_wide_as_asked(line: list[Span], width: int) -> None:
    assert width_of(fit(line, width)) == width


@given(spans, st.integers(4, 40), st.integers(0, 4))
def test_wrap_keeps_to_the_width_and_loses_only_spaces(
    line: list[Span], width: int, indent: int
) -> None:
    lines = wrap(line, width, indent)
    assert all(cell_len(plain(one).rstrip(" ")) <= max(width, indent + 2) for one in lines)
    assert "".join(map(plain, lines)).replace(" ", "") == plain(line).replace(" ", "")


def test_fit_says_that_something_is_missing() -> None:
    assert plain(fit([("abc", "text"), ("def", "dim")], 5)) == "abcd…"
    assert plain(fit([("abc", "text"), ("def", "dim")], 6)) == "abcdef"


def test_wrap_breaks_at_spaces_and_never_between_inks() -> None:
    line: list[Span] = [(" the", "text"), (" John", "shade1"), ("²", "dim"), (". He", "text")]
    assert [plain(one) for one in wrap(line, 9)] == [" the ", "John². He"] or [
        plain(one) for one in wrap(line, 9)
    ] == [" the", " John². ", "He"]


def test_the_right_end_gives_way_to_the_left() -> None:
    assert plain(between([("left", "text")], [("right", "dim")], 12)) == "left   right"
    assert plain(between([("left", "text")], [("right", "dim")], 8)) == "left    "


@given(
    st.lists(st.text("ab 語é", min_size=1, max_size=30), max_size=12),
    st.integers(8, 40),
)
def test_pieces_flow_and_are_torn_only_where_they_are_wider_than_a_line(
    pieces: list[str], width: int
) -> None:
    lines = flow([("name ", "dim")], [[(piece, "text")] for piece in pieces], width)
    texts = [plain(line).rstrip(" ") for line in lines]
    assert all(cell_len(text) <= width for text in texts)
    for piece in pieces:
        if cell_len(piece.rstrip(" ")) <= width - 2:
            assert any(piece.rstrip(" ") in text for text in texts)
    assert "".join("".join(texts).split()) == "".join(("name" + "".join(pieces)).split())


def test_a_start_that_is_cut_off_takes_its_marks_with_it() -> None:
    assert cut_start("abe\u0301cd", 3) == "…cd"
    assert cut_start("abe\u0301cd", 4) == "…e\u0301cd"
