"""Fields of a panel of settings: one line each, a name before it."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from scd_tui.tui.bindings import field_keys, token_keys
from scd_tui.tui.data_input import DataInput
from scd_tui.tui.ink import Span
from scd_tui.tui.view import INK_CLASSES, Bar, strip_of

NAME_CELLS = 17


class Cycle(Widget, can_focus=True):
    """One of several words: arrows and space go through them."""

    BINDINGS: ClassVar[list[BindingType]] = field_keys()
    COMPONENT_CLASSES: ClassVar[set[str]] = set(INK_CLASSES)
    DEFAULT_CSS = "Cycle { height: 1; width: 1fr; }"

    class Submitted(Message):
        """Enter was pressed on it."""

    def __init__(self, words: Sequence[str], value: str, *, name: str) -> None:
        super().__init__(id=name)
        self._words = tuple(words)
        self.value = value

    def action_cycle(self, step: int) -> None:
        self.value = self._words[(self._words.index(self.value) + step) % len(self._words)]
        self.refresh()

    def action_submit(self) -> None:
        self.post_message(self.Submitted())

    def on_click(self) -> None:
        self.action_cycle(1)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        spans: list[Span] = [(" ", "text")]
        for word in self._words:
            chosen = word == self.value
            # The brackets say it without colours, and the arrows that this is the field one is in.
            left, right = ("‹", "›") if self.has_focus else ("[", "]")
            text = f"{left}{word}{right} " if chosen else f" {word}  "
            spans.append((text, "key" if chosen else "dim"))
        return strip_of(self, spans, self.size.width)


class TokenInput(DataInput):
    """A text line for a token; with ↓ and ↑ one goes through the tokens that begin with the text."""

    BINDINGS: ClassVar[list[BindingType]] = token_keys()

    def __init__(self, value: str, placeholder: str, *, name: str) -> None:
        super().__init__(value, placeholder, name=name)
        self._typed = value
        self._offered: tuple[str, ...] = ()
        self._at = -1

    @property
    def typed(self) -> str:
        """What was typed, whatever was taken from the offered since."""
        return self._typed

    @property
    def offered(self) -> tuple[tuple[str, ...], int]:
        """The tokens that are offered, and which of them is taken (-1 for none)."""
        return self._offered, self._at

    def offer(self, typed: str, tokens: Sequence[str]) -> None:
        """Tokens that begin with what was typed; too late if something else is there by now."""
        if typed == self._typed and self._at < 0:
            self._offered = tuple(tokens)

    def retyped(self) -> bool:
        """Take in that the text changed. Returns whether it was typed, and not taken from the offered."""
        taken = self._typed if self._at < 0 else self._offered[self._at]
        if self.value == taken:
            return False
        self._typed, self._at, self._offered = self.value, -1, ()
        return True

    def action_offered(self, step: int) -> None:
        """Take the next of the offered tokens, or what was typed, as one goes round."""
        if not self._offered:
            return
        at = (self._at + 1 + step) % (len(self._offered) + 1) - 1
        self._at = at
        self.value = self._typed if at < 0 else self._offered[at]
        self.cursor_position = len(self.value)


class Named(Horizontal):
    """A field with its name before it."""

    DEFAULT_CSS = """
    Named { height: 1; }
    Named > Input, Named > Cycle { width: 1fr; }
    """

    def __init__(self, title: str, field: Widget) -> None:
        super().__init__()
        self._title, self._field = title, field

    def compose(self) -> ComposeResult:
        bar = Bar(name=f"name-{self._field.id}")
        bar.styles.width = NAME_CELLS
        bar.show([(self._title, "heading")])
        yield bar
        yield self._field
