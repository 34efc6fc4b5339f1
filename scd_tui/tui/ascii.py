"""For terminals without Unicode: every line, borders and all, in ASCII and as wide as before."""

from rich.cells import get_character_cell_size
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_SIGNS = {
    "−": "-", "–": "-", "—": "-", "·": ".", "…": "~", "⋯": "~", "×": "x", "≠": "!", "±": "+",
    "“": '"', "”": '"', "‘": "'", "’": "'", "«": "<", "»": ">", "→": ">", "←": "<", "↑": "^",
    "↓": "v", "⇧": "^", "▲": "^", "▼": "v", "▸": ">", "▾": "v", "●": "*", "○": "o", "✓": "+",
    "✗": "x", "█": "#", "▉": "#", "▊": "#", "▋": "=", "▌": "=", "▍": "-", "▎": "-", "▏": ".",
    "░": ".", "▒": ":", "▓": "%", "▁": "_", "▂": "_", "▃": "-", "▄": "-", "▅": "=", "▆": "=",
    "▇": "#", "▔": "-", "▀": '"', "▐": "=", "│": "|", "┃": "|", "║": "|", "─": "-", "━": "-",
    "═": "=", "├": "|", "┤": "|", "┼": "+", "┬": "+", "┴": "+", "└": "`", "┘": "'", "┌": "+",
    "┐": "+", "╭": "+", "╮": "+", "╰": "`", "╯": "'", "Σ": "S", "ρ": "r", "Δ": "D", "⏎": "\\",
    "⇥": ">", "␣": "_", "¹": "1", "²": "2", "³": "3", "⁰": "0", "⁴": "4", "⁵": "5", "⁶": "6",
    "⁷": "7", "⁸": "8", "⁹": "9", "◌": "o", "◆": "*", "◇": "o", "★": "*", "☆": "o", "✎": "n",
    **dict.fromkeys("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "@"),
    "↺": "@", "›": ">", "⟳": "@", "↗": "^", "↘": "v", "≥": ">", "≤": "<", "≈": "~", "\xa0": " ",
}  # fmt: skip


class _Table(dict[int, str]):
    """For `str.translate`: what is not ASCII and has no sign of its own becomes `?`, cell by cell."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        shown = character
        if code > 0x7E:
            shown = _SIGNS.get(character) or "?" * get_character_cell_size(character)
            if 0x2800 <= code < 0x2900:
                shown = "*"  # spinners and curves are drawn with dots
        self[code] = shown
        return shown


class AsciiFilter(LineFilter):
    """Turns lines into ASCII on their way to the terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._table = _Table()

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            Segment(text.translate(self._table), style, control)
            for text, style, control in segments
        ]
