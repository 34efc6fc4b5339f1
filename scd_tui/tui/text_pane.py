"""A pane of finished lines that scrolls: the feature pane, and the help."""

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import ClassVar

from textual.binding import BindingType

from scd_tui.tui.bindings import list_keys
from scd_tui.tui.ink import Line, Span, width_of
from scd_tui.tui.view import NO_LINKS, Pane

_ADDRESS = re.compile(r"https://[!-~]+")


def links_of(lines: Sequence[Line], width: int) -> dict[int, dict[str, str]]:
    """The addresses in `lines`, wrapped to `width`, by line and by the text that stands there.

    An address that is longer than a line goes on at the start of the next, in the same ink.
    """
    found: dict[int, dict[str, str]] = {}
    for y, line in enumerate(lines):
        for number, (text, ink) in enumerate(line):
            if not _ADDRESS.fullmatch(text):
                continue
            pieces, last = [(y, text)], number == len(line) - 1
            while last and pieces[-1][0] + 1 < len(lines):
                below = pieces[-1][0] + 1
                words = [span for span in lines[below] if span[0].strip(" ")]
                full = width_of(lines[below - 1]) >= width
                if not full or len(words) != 1 or words[0][1] != ink or " " in words[0][0]:
                    break
                pieces.append((below, words[0][0]))
            address = "".join(piece for _, piece in pieces)
            for at, piece in pieces:
                found.setdefault(at, {})[piece] = address
    return found


class TextPane(Pane):
    """Shows lines that somebody else has wrapped to `text_width`."""

    BINDINGS: ClassVar[list[BindingType]] = list_keys()

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name)
        self._lines: tuple[Line, ...] = ()
        self._links: dict[int, dict[str, str]] = {}

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
        self._links = links_of(self._lines, self.text_width)
        if top and self.scroll_offset.y:
            self.scroll_to(y=0, animate=False, force=True)
        if len(old) != len(self._lines):
            self.resize_rows()
        changed = [y for y, pair in enumerate(zip_longest(old, self._lines)) if pair[0] != pair[1]]
        self.redraw(*changed)

    def links(self, y: int) -> Mapping[str, str]:
        return self._links.get(y, NO_LINKS)

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
