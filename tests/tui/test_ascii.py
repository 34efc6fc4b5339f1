from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from scd_tui.tui.ascii import AsciiFilter


def shown(text: str) -> str:
    segments = AsciiFilter().apply([Segment(text, Style(bold=True))], Color(0, 0, 0))
    assert [segment.style for segment in segments] == [Style(bold=True)]
    return "".join(segment.text for segment in segments)


def test_signs_have_a_likeness_and_keep_their_width() -> None:
    assert shown("▾ +1.320 ████▌ −0.110 ≠") == "v +1.320 ####= -0.110 !"
    assert shown("│ ├▸ «the» →") == "| |> <the> >"


def test_other_text_keeps_its_cells() -> None:
    assert shown("日本 é x") == "???? ? x"
    assert Segment(shown("日本 e\u0301")).cell_length == Segment("日本 e\u0301").cell_length
