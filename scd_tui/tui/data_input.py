"""A text line that keeps what is typed or pasted, byte for byte, and shows it safely.

Textual's own would hand an escape character in the text on to the terminal, and would drop all but
the first line of a paste. Here each unsafe character is drawn as one visible sign, so that the
cursor stays where it should be, and newlines are kept.
"""

from rich.text import Text
from textual import events
from textual.widgets import Input

from scd_tui.text import visible

MAXIMUM_PASTE = 100_000
"""Characters. More than any context holds; a larger paste is cut, not left to stall the screen."""


def glyph(character: str) -> str:
    """One visible character for one: control pictures for controls, `�` for other unsafe ones."""
    shown = visible("_" + character)[1:]  # a mark stays one, over what is typed before it
    if len(shown) == 1:
        return shown
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else "�"


def glyphs(text: str) -> str:
    return "".join(map(glyph, text))


class DataInput(Input):
    """An `Input` for data. `value` is the raw text. Its cursor does not blink: idle is silent."""

    def __init__(self, value: str = "", placeholder: str = "", *, name: str) -> None:
        super().__init__(value, placeholder, id=name, compact=True)
        self.cursor_blink = False

    @property
    def _value(self) -> Text:
        return Text(glyphs(self.value), no_wrap=True, overflow="ignore", end="")

    def _position_to_cell(self, position: int) -> int:
        return Text(glyphs(self.value[:position])).cell_len

    def _on_paste(self, event: events.Paste) -> None:
        text = event.text.replace("\r\n", "\n").replace("\r", "\n")[:MAXIMUM_PASTE]
        self.replace(text, *self.selection)
        event.prevent_default()
        event.stop()
