"""A pane of finished lines that scrolls: the feature pane, and the help."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import ClassVar

from textual.binding import BindingType

from scd_tui.tui.bindings import list_keys
from scd_tui.tui.ink import Line, Span
from scd_tui.tui.view import Pane


class TextPane(Pane):
    """Shows lines that somebody else has wrapped to `text_width`."""

    BINDINGS: ClassVar[list[BindingType]] = list_keys()

    def __init__(self, *, name: str) -> None:
        super().__init__(id=name)
        self._lines: tuple[Line, ...] = ()

    @property
    def text_width(self) -> int:
        """Cells to wrap to: a margin at the left, and the scrollbar whether it is there or not."""
        return max(10, self.size.width - 3)

    @property
    def lines(self) -> tuple[Line, ...]:
        return self._lines

    @property
    def line_count(self) -> int:
        return len(self._lines)

    def show(self, lines: Sequence[Line], top: bool = True) -> None:
        """Draw these lines, from the first where `top` says so."""
        old, self._lines = self._lines, tuple(lines)
        if top and self.scroll_offset.y:
            self.scroll_to(y=0, animate=False, force=True)
        if len(old) != len(self._lines):
            self.resize_rows()
        changed = [y for y, pair in enumerate(zip_longest(old, self._lines)) if pair[0] != pair[1]]
        self.redraw(*changed)

    def draw(self, y: int, width: int) -> tuple[Sequence[Span], bool]:
        return ((" ", "text"), *self._lines[y]), False

    def _scroll(self, lines: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False, force=True)

    def action_move(self, step: int) -> None:
        self._scroll(step)

    def action_page(self, step: int) -> None:
        self._scroll(step * self.page)

    def action_half(self, step: int) -> None:
        self._scroll(step * max(1, self.page // 2))

    def action_top(self) -> None:
        self.scroll_to(y=0, animate=False, force=True)

    def action_bottom(self) -> None:
        self.scroll_to(y=self.line_count, animate=False, force=True)
