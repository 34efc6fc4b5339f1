"""Validation curves of what is pinned, drawn in the terminal."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType

from scd_tui.curves import ENOUGH, Column, held_against
from scd_tui.export.curves import look, number, plot, words
from scd_tui.numbers import counted
from scd_tui.tui.bindings import close_keys
from scd_tui.tui.ink import Ink, Line, Span, pad, wrap
from scd_tui.tui.text_screen import TextScreen

_INKS: dict[str, Ink] = {
    "blue": "towards",
    "cyan": "label",
    "red": "away",
    "magenta": "key",
    "green": "good",
}
_ANSI = {1: "red", 2: "green", 4: "blue", 5: "magenta", 6: "cyan"}
_NAME_CELLS = 44


def inked(drawing: str) -> list[Line]:
    """Lines with ANSI colours as lines of spans."""
    lines: list[Line] = []
    for line in Text.from_ansi(drawing).split("\n"):
        spans: list[Span] = []
        end = 0
        for span in sorted(line.spans):
            colour = _ANSI.get(getattr(getattr(span.style, "color", None), "number", None) or 0, "")
            if span.start > end:
                spans.append((line.plain[end : span.start], "dim"))
            if span.end > max(end, span.start):
                spans.append(
                    (line.plain[max(end, span.start) : span.end], _INKS.get(colour, "dim"))
                )
                end = span.end
        if end < len(line.plain):
            spans.append((line.plain[end:], "dim"))
        lines.append(tuple(spans))
    return lines


def curve_lines(columns: Sequence[Column], width: int) -> list[Line]:
    """Faithfulness by number of nodes, with the dictionaries' errors kept and out; then the numbers."""
    lines: list[Line] = []
    for errors in (True, False):
        some = [column for column in columns if column.errors == errors]
        what = "kept" if errors else "out: the verdict on the dictionaries"
        lines.append(((f"faithfulness by number of nodes, errors {what}", "heading"),))
        lines += inked(plot(some, max(40, width)))
        for column in some:
            lines += _numbers(column, width)
        lines.append(())
    return [*lines, *wrap([(_told(columns), "dim")], width)]


def _told(columns: Sequence[Column]) -> str:
    """What the numbers are of."""
    against = held_against(columns)
    place = "as in the contrast prompt" if against else "at zero"
    told = (
        "faithfulness of n nodes: (m(C) − m(∅)) / (m(M) − m(∅)), C the n first, every other feature "
        f"{place} at every site at once; completeness, here “without”: the same of all features but these n"
    )
    if against:
        told += (
            ". Errors that are out are that prompt's too, so that m(∅) is then its metric, and the "
            "curve the share of the difference between the two prompts"
        )
    return told


def _numbers(column: Column, width: int) -> list[Line]:
    mark, colour = look(column)
    name: list[Span] = [
        (f"{mark} ", _INKS[colour]),
        (pad(words(column).partition(", errors")[0], _NAME_CELLS), "text"),
    ]
    if column.curve is None:
        return wrap([*name, (f"no curve: {column.refused}", "warn")], width, indent=2)
    enough = (
        f"{ENOUGH} not within {column.curve.sizes[-1]}"
        if column.needed is None
        else f"{ENOUGH} at {column.needed}{', less again after' * column.passing}"
    )
    faithful, complete = column.curve.faithfulness[-1], column.curve.completeness[-1]
    numbers = f"{number(faithful)} faithful, {number(complete)} without; {enough}"
    return wrap([*name, (numbers, "dim")], width, indent=2)


class CurveScreen(TextScreen):
    """Draws curves as wide as there is room, in a thread, where the drawing library is at home."""

    BINDINGS: ClassVar[list[BindingType]] = close_keys()

    def __init__(self, columns: Sequence[Column]) -> None:
        count = columns[0].count
        features, do = counted(count, "chosen feature"), "does" if count == 1 else "do"
        super().__init__(f"What {features} {do} alone", "esc closes", pane="curves", wide=True)
        self._columns = columns
        self._width = 0

    def fill(self) -> None:
        width = self.pane.text_width
        if width != self._width:
            self._width = width
            self.run_worker(self._draw(width), group="drawing", exclusive=True)

    async def _draw(self, width: int) -> None:
        lines = await asyncio.to_thread(curve_lines, self._columns, width)
        if self.is_running and width == self._width:
            self.pane.show(lines, top=False)
