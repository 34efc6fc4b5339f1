"""What the terminal shows already is not written again.

Textual writes whole lines of a widget when one of their cells changes. Over a line of 64 kbit/s that is
what a move of the cursor waits for, so a copy of the terminal's screen is kept, and only cells that
change are written, with the shortest moves and changes of style between them. A sequence that this does
not know is passed on, and nothing is then taken for shown until it has been written again.
"""

import re
import shutil
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len, get_character_cell_size
from textual.driver import Driver

from scd_tui.tui.thin import change, look_of_blanks, thin

_PIECE = re.compile(
    r"\x1b\[(?P<row>[0-9]*);(?P<column>[0-9]*)H"
    r"|\x1b\[(?P<style>[0-9;:]*)m"
    r"|\x1b\]8;[^;\x07\x1b]*;(?P<link>[^\x07\x1b]*)\x1b\\"
    r"|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|(?P<newline>\n)"
)
_HARMLESS = re.compile(
    # questions, modes that change no cell, titles and the clipboard, the bell
    r"(?:\x1b\[\?(?:25|1000|1003|1004|1006|1015|1016|2004|2026|2048)[hl]|\x1b\[\?[0-9;]*\$p"
    r"|\x1b\[[<>][0-9;]*u|\x1b\](?:0|2|22|52);[^\x07\x1b]*(?:\x07|\x1b\\)|\x07)+"
)
_GAP = 6
"""Cells that are written again rather than skipped: as long as what skips them."""

Cell = tuple[str, str]
"""A character, and its style and link; of a blank the part of its style that shows."""


class _Run(NamedTuple):
    """Text in one style on one row. `link` is "" where it leads nowhere.

    Terminals do not agree on how wide some characters are. What follows one, up to the next move, is in
    the same run as it came, `raw`: it then begins wherever the terminal says.
    """

    row: int
    column: int
    text: str
    style: str
    link: str
    raw: str = ""

    def pen_up(self) -> tuple[str, str, int, int]:
        """What sorts runs so that those of one style, and then of one background, come together."""
        return self.link, ";".join(reversed(self.style.split(";"))), self.row, self.column


class Painted:
    """A terminal's screen of `width` × `height` cells, as far as it is known."""

    def __init__(self, width: int, height: int) -> None:
        self.size = width, height
        self._rows: list[list[Cell | None]] = []
        self._cursor: tuple[int, int] | None = None
        self.forget()

    def forget(self) -> None:
        """Take nothing for shown any more."""
        width, height = self.size
        self._rows = [[None] * width for _ in range(height)]
        self._cursor = None

    def changes(self, data: str) -> str:
        """What has to be written so that `data` is shown. No style is set before it or after it."""
        if _HARMLESS.fullmatch(data):
            return data
        found = _parsed(data)
        if found is None:
            self.forget()
            return thin(data)
        runs, end = found
        needed = [part for run in runs for part in self._changed(run)]
        pen = self._shortest(needed)
        if end is not None and (pen.written or end != self._cursor):
            pen.move(*end)
        if pen.written:
            self._cursor = pen.at
        return "".join(pen.written)

    def _changed(self, run: _Run) -> list[_Run]:
        """The parts of a run that are not on the screen yet; they are taken to be from now on."""
        width, height = self.size
        if run.row >= height or run.column >= width:
            return []
        row = self._rows[run.row]
        if run.raw:
            for place in range(max(0, run.column - 1), width):
                row[place] = None
            return [run]
        text, column = run.text[: width - run.column], run.column
        blank = (" ", f"{look_of_blanks(run.style)}\0{run.link}")
        name = f"{run.style}\0{run.link}"
        cells: list[Cell | None] = [blank if char == " " else (char, name) for char in text]
        shown = row[column : column + len(cells)]
        if shown == cells:
            return []
        row[column : column + len(cells)] = cells
        changed = [n for n, (old, new) in enumerate(zip(shown, cells, strict=True)) if old != new]
        parts: list[_Run] = []
        start = end = changed[0]
        for n in [*changed[1:], len(text) + _GAP]:
            if n - end > _GAP or n >= len(text):
                piece = text[start : end + 1]
                parts.append(run._replace(column=column + start, text=piece))
                start = n
            end = n
        return parts

    def _shortest(self, runs: list[_Run]) -> "_Pen":
        """The runs written in order, or one style after the other, whichever is shorter."""
        odd = {run.row for run in runs if run.raw}
        first = [run for run in runs if run.row in odd]
        others = [run for run in runs if run.row not in odd]
        ordered = _Pen.of(runs, self.size[0])
        if _overlap(others):
            return ordered
        by_style = _Pen.of([*first, *sorted(others, key=_Run.pen_up)], self.size[0])
        return min(ordered, by_style, key=lambda pen: sum(map(len, pen.written)))


class _Pen:
    """Writes runs one after the other, with the least between them."""

    def __init__(self, width: int) -> None:
        # the first move is to a place and not by a distance: others can have written meanwhile
        self.at: tuple[int, int] | None = None
        self.written: list[str] = []
        self._width = width
        self._style = self._link = ""

    @classmethod
    def of(cls, runs: Iterable[_Run], width: int) -> "_Pen":
        """A pen that has written these."""
        pen = cls(width)
        for run in runs:
            pen.write(run)
        pen.restore()
        return pen

    def write(self, run: _Run) -> None:
        if run.raw:
            self.restore()
            self.move(run.row, run.column)
            self.written.append(run.raw)
            self.at = None
            return
        self.move(run.row, run.column)
        if run.link != self._link:
            self.written.append(f"\x1b]8;;{run.link}\x1b\\")
            self._link = run.link
        blank = not run.text.strip(" ")
        if run.style != self._style and not (
            blank and look_of_blanks(run.style) == look_of_blanks(self._style)
        ):
            self.written.append(change(self._style, run.style))
            self._style = run.style
        self.written.append(run.text)
        end = run.column + len(run.text)
        # at the right margin terminals differ in where the cursor is
        self.at = (run.row, end) if end < self._width else None

    def move(self, row: int, column: int) -> None:
        if self.at == (row, column):
            return
        if self.at is not None and self.at[0] == row and column > self.at[1]:
            count = column - self.at[1]
            self.written.append(f"\x1b[{count if count > 1 else ''}C")
        else:
            self.written.append(f"\x1b[{row + 1};{column + 1}H")
        self.at = row, column

    def restore(self) -> None:
        """Leave no style and no link behind."""
        if self._link:
            self.written.append("\x1b]8;;\x1b\\")
        if self._style:
            self.written.append("\x1b[0m")
        self._style = self._link = ""


def _parsed(data: str) -> tuple[list[_Run], tuple[int, int] | None] | None:
    """Runs of text, and where the cursor is left if `data` ends with that; None for anything else."""
    runs: list[_Run] = []
    at: tuple[int, int] | None = None
    style = link = ""
    position = 0
    while position < len(data):
        found = _PIECE.match(data, position)
        if found is None:
            return None
        position = found.end()
        match found.lastgroup:
            case "text":
                if at is None:
                    return None
                text = found["text"]
                odd = not text.isascii() and not _one_cell_each(text)
                if odd or (runs and runs[-1].raw and at == _end(runs[-1])):
                    _append_raw(runs, _Run(*at, text, style, link))
                else:
                    runs.append(_Run(*at, text, style, link))
                at = _end(runs[-1])
            case "style":
                named = found["style"]
                # a style that does not begin with a reset is laid over the one before
                style = "" if named in ("", "0") else f"{style};{named}".removeprefix(";")
            case "link":
                link = found["link"]
            case "newline":
                at = None
            case _:
                at = int(found["row"] or 1) - 1, int(found["column"] or 1) - 1
    return runs, at


def _end(run: _Run) -> tuple[int, int]:
    """Where a run ends, by the widths that Textual lays out with."""
    return run.row, run.column + cell_len(run.text)


def _append_raw(runs: list[_Run], run: _Run) -> None:
    """Add a run in which a character has no certain width, to such a one before it if it follows that."""
    styled = f"\x1b[{run.style}m{run.text}\x1b[0m" if run.style else run.text
    raw = f"\x1b]8;;{run.link}\x1b\\{styled}\x1b]8;;\x1b\\" if run.link else styled
    if runs and runs[-1].raw and (run.row, run.column) == _end(runs[-1]):
        before = runs.pop()
        text, raw = before.text + run.text, before.raw + raw
        run = before._replace(text=text)
    runs.append(run._replace(raw=thin(raw)))


def _overlap(runs: list[_Run]) -> bool:
    """Whether a cell is in two of the runs, so that their order counts."""
    rows: dict[int, int] = {}
    for run in runs:
        cells = (1 << len(run.text)) - 1 << run.column
        if rows.get(run.row, 0) & cells:
            return True
        rows[run.row] = rows.get(run.row, 0) | cells
    return False


@lru_cache(maxsize=4096)
def _one_cell_each(text: str) -> bool:
    """Whether each character takes one cell, and none is drawn over another."""
    return all(get_character_cell_size(char) == 1 for char in text)


def painting(driver: type[Driver]) -> type[Driver]:
    """A driver that writes what this one would, less what is on the screen already."""

    class Painting(driver):  # type: ignore[misc,valid-type]  # the class depends on the terminal
        painted = Painted(0, 0)

        def write(self, data: str) -> None:
            # as the driver itself finds it for the layout
            size = tuple(shutil.get_terminal_size())
            if size != self.painted.size:
                self.painted = Painted(*size)
            if changes := self.painted.changes(data):
                super().write(changes)

        def forget(self) -> None:
            """Write everything again that is drawn from now on."""
            self.painted.forget()

    return Painting
