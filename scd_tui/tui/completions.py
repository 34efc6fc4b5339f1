"""The completions pane: what the model would say next, and which of it is being explained."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message

from scd_tui.graph import Completion
from scd_tui.numbers import bar, probability
from scd_tui.text import visible
from scd_tui.tui.bindings import completion_keys
from scd_tui.tui.ink import Line, Span, pad, width_of, wrap
from scd_tui.tui.paint import token_cells
from scd_tui.tui.view import Pane
from scd_tui.wording import ids_of_alike


class CompletionList(Pane):
    """Completions with a cursor; `●` marks the target, `○` the contrast. Below, the metric."""

    BINDINGS: ClassVar[list[BindingType]] = completion_keys()

    class Chosen(Message):
        """Explain the token of this id."""

        def __init__(self, token: int) -> None:
            super().__init__()
            self.token = token

    class Contrasted(Message):
        """Hold the target against the token of this id."""

        def __init__(self, token: int) -> None:
            super().__init__()
            self.token = token

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name)
        self._completions: tuple[Completion, ...] = ()
        self._numbers: dict[int, tuple[str, ...]] = {}
        self._below: tuple[Span, ...] = ()
        self._target: int | None = None
        self._contrast: int | None = None
        self.cursor = 0

    def show(
        self,
        completions: tuple[Completion, ...],
        target: int | None,
        contrast: int | None,
        below: Sequence[Span],
    ) -> None:
        """Draw these; the cursor goes to the top when the list is another."""
        if completions != self._completions:
            self.cursor = 0
        self._completions, self._target, self._contrast = completions, target, contrast
        self._below = tuple(below)
        self._numbers = {}
        self.relayout()

    @property
    def line_count(self) -> int:
        return len(self._completions) + len(self._footer(self.scrollable_content_region.width))

    def _footer(self, width: int) -> list[Line]:
        if not self._below:
            return []
        return [(), *wrap(self._below, max(4, width - 1))]

    def _number(self, y: int, room: int) -> str:
        """The id of a row's token, where another row shows the same in `room` cells."""
        if room not in self._numbers:
            tokens = [completion.token for completion in self._completions]
            self._numbers[room] = ids_of_alike(tokens, lambda text: pad(visible(text), room))
        return self._numbers[room][y]

    def draw(self, y: int, width: int) -> tuple[Sequence[Span], bool]:
        if y >= len(self._completions):
            lines = self._footer(width)
            index = y - len(self._completions)
            return ((" ", "text"), *lines[index]) if index < len(lines) else (), False
        completion = self._completions[y]
        token = completion.token
        mark: Span = (" ", "text")
        if token.id == self._target:
            mark = ("●", "towards")
        elif token.id == self._contrast:
            mark = ("○", "away")
        # In a narrow pane the token gets the room of the bar.
        room = max(4, width - 8 if width < 20 else min(18, width - 12))
        spans: list[Span] = [
            mark,
            *token_cells(token.text, self._number(y, room), room),
            (probability(completion.probability, 6) + " ", "text"),
        ]
        left = width - width_of(spans)
        if left > 2:
            spans.append((bar(completion.probability, left), "dim"))
        return spans, y == self.cursor

    def go(self, to: int) -> None:
        old = self.cursor
        self.cursor = max(0, min(to, len(self._completions) - 1))
        self.redraw(old, self.cursor)
        self.keep_visible(self.cursor)

    def action_move(self, step: int) -> None:
        self.go(self.cursor + step)

    def action_page(self, step: int) -> None:
        self.go(self.cursor + step * self.page)

    def action_half(self, step: int) -> None:
        self.go(self.cursor + step * max(1, self.page // 2))

    def action_top(self) -> None:
        self.go(0)

    def action_bottom(self) -> None:
        self.go(len(self._completions))

    def action_choose(self) -> None:
        if self._completions:
            self.post_message(self.Chosen(self._completions[self.cursor].token.id))

    def action_contrast(self) -> None:
        if self._completions:
            self.post_message(self.Contrasted(self._completions[self.cursor].token.id))

    def on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if 0 <= index < len(self._completions):
            again = index == self.cursor
            self.go(index)
            if again:
                self.action_choose()
