"""A node at 0 to 10 times its strength: the metric, and the completions as they move."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from scd_tui.graph import Completion
from scd_tui.numbers import bar, probability, signed
from scd_tui.text import visible
from scd_tui.tui.bindings import scale_keys
from scd_tui.tui.ink import Line, Span, pad, wrap
from scd_tui.tui.paint import token_cells, tone
from scd_tui.tui.text_screen import TextScreen
from scd_tui.wording import ids_of_alike
from scd_tui.worker.protocol import Scaled

STEP, MOST = 0.5, 10.0
FACTORS = tuple(STEP * n for n in range(int(MOST / STEP) + 1))
CHART_HEIGHT = 9
_GUTTER = 10
"""Cells before the chart: a number, and the axis."""
_TOKEN_CELLS = 16


def chart(scaled: Scaled, index: int, width: int) -> list[Line]:
    """The metric by factor, `●`, beside the straight line of the estimate, `·`; `│` where one is."""
    column = 3 if _GUTTER + 3 * len(scaled.factors) <= width else 2
    base = scaled.factors.index(1.0)
    estimates = [scaled.values[base] + (f - 1) * scaled.slope for f in scaled.factors]
    # The estimate may leave the chart, what was measured may not.
    low, high = min(scaled.values), max(scaled.values)
    size = max(high - low, 1e-9)
    low, high = low - 0.1 * size, high + 0.1 * size

    def height(value: float) -> int | None:
        at = round((value - low) / (high - low) * (CHART_HEIGHT - 1))
        return at if 0 <= at < CHART_HEIGHT else None

    lines: list[Line] = []
    for level in reversed(range(CHART_HEIGHT)):
        name = high if level == CHART_HEIGHT - 1 else low if level == 0 else None
        spans: list[Span] = [("" if name is None else signed(name, 8, 2), "dim")]
        spans = [(pad(spans[0][0], _GUTTER - 2) + " ┤", "dim")]
        for n, (value, estimate) in enumerate(zip(scaled.values, estimates, strict=True)):
            mark: Span = (" ", "text")
            if n == index:
                mark = ("│", "key")
            if height(estimate) == level:
                mark = ("·", "dim")
            if height(value) == level:
                mark = ("●", "key" if n == index else "towards")
            spans += [mark, (" " * (column - 1), "text")]
        lines.append(tuple(spans))
    axis = "".join(pad(f"{f:g}" if f == int(f) else "", column) for f in scaled.factors)
    return [*lines, ((" " * _GUTTER + axis, "dim"),)]


def scale_lines(scaled: Scaled, index: int, width: int) -> list[Line]:
    """Everything at one factor, in lines of `width` cells."""
    factor, value = scaled.factors[index], scaled.values[index]
    base = scaled.factors.index(1.0)
    estimate = scaled.values[base] + (factor - 1) * scaled.slope
    lines: list[Line] = [
        (
            (f"×{factor:g}".ljust(6), "key"),
            ("metric ", "dim"),
            (signed(value), tone(value)),
            (", the estimate says ", "dim"),
            (signed(estimate), "text"),
            (f"; as it is, {signed(scaled.values[base])}", "dim"),
        ),
        (),
        *chart(scaled, index, width),
        (("● measured", "towards"), ("   · estimated, a straight line through ×1", "dim")),
        *_there(scaled, width),
        (),
        ((f"completions at ×{factor:g}, and as they are", "heading"),),
    ]
    before = {c.token.id: c.probability for c in scaled.completions[base]}
    now = scaled.completions[index]
    ids = ids_of_alike([c.token for c in now], lambda text: pad(visible(text), _TOKEN_CELLS))
    return [*lines, *(_completion(c, n, before) for c, n in zip(now, ids, strict=True))]


def _there(scaled: Scaled, width: int) -> list[Line]:
    if scaled.there is None:
        return []
    words = f"In the contrast prompt it is at ×{scaled.there:.2g}: x sets it to that, and ×0 takes it out."
    return wrap([(words, "dim")], width)


def _completion(completion: Completion, number: str, before: dict[int, float]) -> Line:
    was = before.get(completion.token.id)
    return (
        *token_cells(completion.token.text, number, _TOKEN_CELLS),
        (probability(completion.probability, 7) + " ", "text"),
        (bar(completion.probability, 20), "towards"),
        (" was " + (probability(was) if was is not None else "below those listed"), "dim"),
    )


class ScaleScreen(TextScreen):
    """Arrows change the factor. All of them were run at once, so nothing is waited for."""

    BINDINGS: ClassVar[list[BindingType]] = scale_keys()

    def __init__(self, scaled: Scaled) -> None:
        super().__init__(
            *(f"{scaled.node} at other strengths", "← → strength · 0 1 9 · esc closes"),
            pane="scale",
        )
        self._scaled = scaled
        self.index = scaled.factors.index(1.0)

    def text(self, width: int) -> Sequence[Line]:
        return scale_lines(self._scaled, self.index, width)

    def action_scale(self, step: int) -> None:
        """A step stronger or weaker."""
        self.index = max(0, min(len(self._scaled.factors) - 1, self.index + step))
        self.fill()

    def action_factor(self, factor: float) -> None:
        self.index = self._scaled.factors.index(factor)
        self.fill()
