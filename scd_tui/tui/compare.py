"""Two circuits side by side: what both list, what one alone lists, and how far they differ."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import msgspec
from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from scd_tui.comparison import UNKNOWN, By, Comparison, Lister, Pair, compare, unknown
from scd_tui.graph import Circuit
from scd_tui.history import target_words
from scd_tui.numbers import bar, percent, signed
from scd_tui.text import visible
from scd_tui.tui.bindings import compare_keys
from scd_tui.tui.dialogs import LeftOnce
from scd_tui.tui.ink import Line, Span, cut, cut_start, fit, pad
from scd_tui.tui.lines import key_hints
from scd_tui.tui.opening import against
from scd_tui.tui.paint import tone
from scd_tui.tui.view import Bar, Pane

NUMBER = 7
SECTIONS: tuple[tuple[str, Lister], ...] = (
    ("listed in both", "both"),
    ("listed in A alone", "a"),
    ("listed in B alone", "b"),
)
WIDE = 100
"""Cells from which both sides have bars."""


class Row(msgspec.Struct, frozen=True):
    """A line of the list: a section's head, or a pair of one. `unknown`: how many changes are not known."""

    section: str
    count: int = 0
    unknown: int = 0
    pair: Pair | None = None


class PairList(Pane):
    """The pairs of a comparison, section by section."""

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name)
        self.rows: list[Row] = []
        self.cursor = 0
        self._largest = 0.0

    @property
    def current(self) -> Pair | None:
        return self.rows[self.cursor].pair if self.rows else None

    @property
    def line_count(self) -> int:
        return len(self.rows)

    def show(self, found: Comparison, by_size: bool) -> None:
        """List them by how much they change, or by how large they are.

        Where it is not known how much one changes, it comes after those where it is.
        """
        name = self.current.name if self.current is not None else None
        self.rows = []
        for section, by in SECTIONS:
            pairs = found.listed(by)
            if by_size:
                pairs.sort(key=lambda pair: (pair.change is None, -pair.size))
            self.rows.append(Row(section, len(pairs), unknown(pairs)))
            self.rows += [Row(section, pair=pair) for pair in pairs]
        self._largest = max((pair.size for pair in found.nodes), default=0.0)
        again = (i for i, row in enumerate(self.rows) if row.pair and row.pair.name == name)
        self.cursor = next(again, min(1, len(self.rows) - 1))
        self.relayout()
        self._stay_in_sight()

    def draw(self, y: int, width: int) -> tuple[Sequence[Span], bool]:
        row = self.rows[y]
        if row.pair is None:
            words = f", B − A not known of {row.unknown}" if row.unknown else ""
            return [(f" {row.section} ", "heading"), (f"{row.count}{words}", "dim")], (
                y == self.cursor
            )
        return pair_line(row.pair, self._largest, width), y == self.cursor

    def go(self, to: int) -> None:
        old = self.cursor
        self.cursor = max(0, min(to, len(self.rows) - 1))
        self.redraw(old, self.cursor)
        self._stay_in_sight()

    def _stay_in_sight(self) -> None:
        # The head of the first section stays with its first row.
        self.keep_visible(0 if self.cursor == 1 else self.cursor)

    def on_click(self, event: events.Click) -> None:
        self.go(event.y + self.scroll_offset.y)


def _name_cells(width: int) -> int:
    return min(34, max(20, width // 3))


def _bar_cells(width: int) -> int:
    return 8 if width >= WIDE else 0


def pair_line(pair: Pair, largest: float, width: int) -> list[Span]:
    """Name, A with its bar, B with its bar, what B has more, and what the feature is."""
    spans: list[Span] = [("  ", "text"), (pad(pair.name, _name_cells(width)) + " ", "name")]
    bars = _bar_cells(width)
    for value in (pair.a, pair.b):
        if value is None:
            spans.append(("·".rjust(NUMBER) + " " * (bars + 2), "dim"))
            continue
        spans.append((signed(value, NUMBER) + " ", tone(value)))
        spans.append((bar(abs(value) / largest if largest else 0.0, bars) + " ", tone(value)))
    if pair.change is None:
        spans.append((UNKNOWN.rjust(NUMBER) + "  ", "dim"))
    else:
        spans.append((signed(pair.change, NUMBER) + "  ", "text"))
    return [*spans, (pair.label, "label")]


def heads(width: int, not_known: int) -> list[Span]:
    """What stands above the columns of `pair_line`, and of how many it is not known how they change."""
    cells = NUMBER + 2 + _bar_cells(width)
    legend = f"  {UNKNOWN} not known: {not_known}" if not_known else ""
    name = pad(legend, _name_cells(width) + 3)
    columns = "".join(pad(text.rjust(NUMBER), cells) for text in ("A", "B"))
    return fit([(name + columns + "B − A".rjust(NUMBER), "dim")], width)


def side_line(name: str, circuit: Circuit, value: float, width: int) -> Line:
    """Which circuit stands on a side."""
    number = f" {signed(value)} "
    room = width - cell_len(name) - 5 - cell_len(number)
    prompt = visible(circuit.prompt)
    # Both give way where there is no room for both, each at most half; the value never does.
    words = cut(visible(target_words(circuit)), max(room // 2, room - cell_len(prompt)))
    return (
        (f" {name} ", "key"),
        (cut_start(prompt, room - cell_len(words)), "text"),
        (f" → {words}", "towards"),
        (number, "text"),
    )


def side_lines(name: str, circuit: Circuit, value: float, width: int) -> list[Line]:
    """Which circuit stands on a side, and against which prompt it is held."""
    lines = [side_line(name, circuit, value, width)]
    if circuit.contrast_prompt is not None:
        held = against(circuit.prompt, circuit.contrast_prompt, width - 4)
        lines.append((("   ", "text"), held))
    return lines


def summary(found: Comparison) -> list[Span]:
    """How much both share, and what there is to beware of."""
    share_a, share_b = found.overlap
    what = "node by node" if found.by == "node" else "sums of listed positions"
    if found.same:
        return [(" the same: every effect and every edge, to rounding", "good")]
    spans: list[Span] = [
        (f" {what}: ", "dim"),
        (f"{len(found.listed('both'))} in both", "text"),
        (f", {percent(share_a)} of A's Σ|effect| and {percent(share_b)} of B's", "dim"),
    ]
    for note in found.notes:
        spans.append((f" · {note}", "warn"))
    return spans


class CompareScreen(LeftOnce, Screen[str | None]):
    """Compares circuit A, which is on the main screen, with B. Answers with a name to go to there."""

    BINDINGS: ClassVar[list[BindingType]] = compare_keys()
    AUTO_FOCUS = "#pairs"

    def __init__(self, a: Circuit, b: Circuit, found: Comparison) -> None:
        super().__init__()
        self._a, self._b = a, b
        self._found = found
        self._by_size = False
        self.pairs = PairList(name="pairs")

    def compose(self) -> ComposeResult:
        yield Bar(name="side-a")
        yield Bar(name="side-b")
        yield Bar(name="summary")
        yield Bar(name="pair-heads")
        yield self.pairs
        yield Bar(name="compare-status")

    def on_mount(self) -> None:
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        self.pairs.show(self._found, self._by_size)
        self._draw()

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        width, found = self.size.width, self._found
        for name, circuit, value in (
            ("A", self._a, found.value_a),
            ("B", self._b, found.value_b),
        ):
            lines = side_lines(name, circuit, value, width)
            side = self.query_one(f"#side-{name.lower()}", Bar)
            side.styles.height = len(lines)
            side.show(*lines)
        self.query_one("#summary", Bar).show(summary(found))
        columns = heads(self.pairs.scrollable_content_region.width, unknown(found.nodes))
        self.query_one("#pair-heads", Bar).show(columns)
        order = "by size" if self._by_size else "by change"
        hints = (("enter", "go to it"), ("tab", "section"), ("f", "sum positions"), ("o", "order"))
        left: list[Span] = [(f" {order}  ", "text")]
        self.query_one("#compare-status", Bar).show([*left, *key_hints((*hints, ("esc", "back")))])

    def action_by(self) -> None:
        """Compare node by node, or with positions summed."""
        self.run_worker(self._compare("feature" if self._found.by == "node" else "node"))

    async def _compare(self, by: By) -> None:
        self._found = await asyncio.to_thread(compare, self._a, self._b, by)
        self._fill()

    def action_order(self) -> None:
        self._by_size = not self._by_size
        self._fill()

    def action_section(self, step: int) -> None:
        starts = [index for index, row in enumerate(self.pairs.rows) if row.pair is None]
        current = max(n for n, start in enumerate(starts) if start <= self.pairs.cursor)
        start = starts[(current + step) % len(starts)]
        self.pairs.go(min(len(self.pairs.rows) - 1, start + self.pairs.page - 1))
        self.pairs.go(start)

    def action_move(self, step: int) -> None:
        self.pairs.go(self.pairs.cursor + step)

    def action_page(self, step: int) -> None:
        self.action_move(step * self.pairs.page)

    def action_half(self, step: int) -> None:
        self.action_move(step * max(1, self.pairs.page // 2))

    def action_top(self) -> None:
        self.pairs.go(0)

    def action_bottom(self) -> None:
        self.pairs.go(len(self.pairs.rows))

    def action_choose(self) -> None:
        pair = self.pairs.current
        if pair is not None:
            self.dismiss(pair.name)

    def action_close(self) -> None:
        self.dismiss(None)
