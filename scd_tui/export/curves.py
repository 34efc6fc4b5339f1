"""A circuit's curves as a table and as plots, for a terminal that only prints."""

import sys
from collections.abc import Iterator, Sequence

import plotext
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scd_tui.console import CleanConsole
from scd_tui.curves import ENOUGH, STANDS, Column, Stand, Validation, held_against
from scd_tui.export.tree import metric_words
from scd_tui.text import visible

WIDEST = 100
NARROWEST = 40
_PLOT_HEIGHT = 15
_MARKS = {
    ("features", True, "effect"): ("●", "blue"),
    ("features", True, "random"): ("○", "cyan"),
    ("features", False, "effect"): ("■", "red"),
    ("features", False, "random"): ("□", "magenta"),
    ("features", True, "chosen"): ("◆", "green"),
    ("features", False, "chosen"): ("◇", "green"),
    ("neurons", None, "effect"): ("▲", "green"),
}
_LOWEST, _HIGHEST = -1.0, 2.0
"""Of what is drawn; beyond them a curve says only that the ratio has lost its meaning."""
_NOTHING = "–"


def number(value: float | None) -> str:
    """`0.83` or `−0.11`."""
    if value is None:
        return _NOTHING
    text = f"{value:.2f}".replace("-", "−")
    return "0.00" if text == "−0.00" else text


def heading(column: Column) -> str:
    """What a column is of, in four short lines."""
    # no longer than the words below it, so that a table of ten columns stays within 80 cells
    stand = "contr." if column.baseline == "contrast" else column.baseline
    if column.nodes == "neurons":
        return f"{stand}\nMLP\nneurons\n{column.order}"
    errors = "kept" if column.errors else "out"
    return f"{stand}\nerrors\n{errors}\n{column.order}"


def table(validation: Validation) -> Table:
    """Rows: m(∅), faithfulness and completeness by number of nodes, and the nodes needed."""
    columns = validation.columns
    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    made.add_column("others at\n\n\norder", justify="right", overflow="fold")
    for column in columns:
        made.add_column(heading(column), justify="right", overflow="fold")
    made.add_row("m(∅)", *(number(column.empty) for column in columns), end_section=True)
    sizes = sorted({size for c in columns if c.curve is not None for size in c.curve.sizes})
    for name in ("faithfulness", "completeness"):
        made.add_row(name)
        for size in sizes:
            made.add_row(str(size), *(number(_at(column, size, name)) for column in columns))
    made.add_row(
        f"for {ENOUGH}",
        *(_NOTHING if c.needed is None else f"{c.needed}{'*' * c.passing}" for c in columns),
    )
    return made


def _at(column: Column, size: int, name: str) -> float | None:
    if column.curve is None or size not in column.curve.sizes:
        return None
    values: tuple[float, ...] = getattr(column.curve, name)
    return values[column.curve.sizes.index(size)]


def words(column: Column) -> str:
    """What a column is of, in a line."""
    order = {
        "effect": "by |effect|",
        "random": "in random order",
        "chosen": "that were chosen, by |effect|",
    }[column.order]
    if column.nodes == "neurons":
        return f"MLP neurons {order}"
    return f"features {order}, errors {'kept' if column.errors else 'out'}"


def look(column: Column) -> tuple[str, str]:
    """Its mark in plots, and the colour."""
    return _MARKS[column.nodes, column.errors, column.order]


def plot(columns: Sequence[Column], width: int) -> str:
    """Faithfulness by number of nodes, on a logarithmic scale, `width` cells wide; with ANSI colours.

    Values outside -1 to 2 are not drawn, nor is the empty circuit. Empty where no column has a curve.
    """
    drawn = [
        (column, column.curve)
        for column in columns
        if column.curve is not None and max(column.curve.sizes) > 0
    ]
    if not drawn:
        return ""
    values = [v for _, curve in drawn for v in curve.faithfulness if _LOWEST <= v <= _HIGHEST]
    # The library draws into a figure of its own, which is left as empty as it was found.
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)
    plotext.plotsize(width, _PLOT_HEIGHT)
    plotext.xscale("log")
    for column, curve in drawn:
        mark, colour = look(column)
        points = [
            point
            for point in zip(curve.sizes, curve.faithfulness, strict=True)
            if point[0] > 0 and _LOWEST <= point[1] <= _HIGHEST
        ]
        sizes, heights = [size for size, _ in points], [height for _, height in points]
        plotext.plot(sizes, heights, marker="braille", color=colour)
        plotext.scatter(sizes, heights, marker=mark, color=colour)
    most = max(size for _, curve in drawn for size in curve.sizes)
    ticks = sorted(
        {10**power for power in range(len(str(most)))} | ({most} if most < 100 else set())
    )
    plotext.xticks(ticks, [str(tick) for tick in ticks])
    plotext.ylim(min([0.0, *values]), max([1.0, *values]))
    plotext.yticks([0.0, ENOUGH, 1.0], ["0", str(ENOUGH), "1"])
    text: str = plotext.build().rstrip("\n")
    plotext.clear_figure()
    return text


def _panel(validation: Validation, stand: Stand, width: int) -> Iterator[RenderableType]:
    columns = [column for column in validation.columns if column.baseline == stand]
    drawing = plot(columns, width)
    if not drawing:
        return
    yield Text(f"\nfaithfulness by number of nodes, the others at {_place(validation, stand)}")
    yield Text.from_ansi(drawing, no_wrap=True)


def _place(validation: Validation, stand: Stand) -> str:
    if stand == "zero":
        return "zero"
    if stand == "contrast":
        return "what they are in the contrast prompt"
    return f"their mean over {validation.text_tokens} tokens of {visible(validation.text)}"


def _short(column: Column) -> str:
    return "the contrast prompt's" if column.baseline == "contrast" else column.baseline


def _said(validation: Validation) -> Iterator[str]:
    """What the numbers are of, and what to know of them."""
    counts = {column.nodes: column.count for column in validation.columns}
    against = held_against(validation.columns)
    active = "features active in either prompt" if against else "active features"
    yield "nodes: " + ", ".join(
        f"{count} {active if kind == 'features' else 'MLP neurons'}"
        for kind, count in counts.items()
    )
    if against:
        yield (
            "contr., contrast: what is out is as in the contrast prompt, at the same position, like a "
            "single node that is ablated in this circuit; where errors are out they are that prompt's "
            "too, so that none of the features, errors out, is that prompt, and m(∅) its metric"
        )
    yield f"mean: {_place(validation, 'mean').removeprefix('their mean ')}"
    yield f"random: mean of {len(validation.seeds)} orders, seeds {', '.join(map(str, validation.seeds))}"
    yield (
        "faithfulness of n nodes: (m(C) − m(∅)) / (m(M) − m(∅)), C the n first and all others out; "
        "completeness: the same of all but the n first"
    )
    yield f"for {ENOUGH}: the number of nodes at which faithfulness first gets to {ENOUGH}" + (
        f"; * where more nodes have less than {ENOUGH} again"
        if any(column.passing for column in validation.columns)
        else ""
    )
    yield from _all_in(validation)
    yield (
        "features that are silent in the unmodified run are no nodes: with nodes alone they are kept at 0, "
        "also where a mean stands in for what is out"
        + (
            ". Those of the contrast prompt are nodes here, so m(∅) at the mean is not what it is without "
            "that prompt"
            if against
            else ""
        )
    )
    for column in validation.columns:
        if column.refused:
            yield f"no curve of {words(column)}, at {_short(column)}: {column.refused}"


def _all_in(validation: Validation) -> Iterator[str]:
    """Why all features together come to two numbers when errors are out, which ones, and what each is."""
    yield "with errors kept, all features together are the model: 1 in both blocks"
    for column in validation.columns:
        if (column.nodes, column.errors, column.order) != ("features", False, "effect"):
            continue
        if column.curve is None or 0 not in column.curve.sizes:
            continue
        alone = column.curve.faithfulness[-1]
        free = column.curve.completeness[column.curve.sizes.index(0)]
        yield (
            f"with errors out, others at {_short(column)}, they come to {number(alone)} (faithfulness of "
            f"{column.curve.sizes[-1]}) and to {number(free)} (completeness at 0): without errors other "
            "features fire than in the unmodified run. The first keeps those silent, and is what this "
            "prompt's nodes carry; the second lets them speak, is what the dictionaries do when they are "
            "left to themselves, and so is the verdict on them"
        )


def render(validation: Validation, width: int) -> RenderableType:
    """Everything, in at most `width` cells."""
    header = (
        f"{validation.model.name} · {validation.model.dictionaries} · {validation.model.device}",
        f"prompt {visible(validation.prompt)}",
        f"metric {metric_words(validation.target)}, m(M) = {number(validation.metric_value)}",
    )
    parts: list[RenderableType] = [*(Text(line) for line in header)]
    # before the numbers: whether they are of the circuit in the file is to be read first
    parts += [*map(_item, validation.notes), Text(), table(validation)]
    for stand in STANDS:
        parts += _panel(validation, stand, max(NARROWEST, min(width, WIDEST)))
    drawn = {words(c): look(c) for c in validation.columns if c.curve is not None}
    parts += [Text.assemble("  ", look, f" {name}") for name, look in drawn.items()]
    parts.append(Text())
    parts += [_item(line) for line in _said(validation)]
    return Group(*parts)


def _item(line: str) -> RenderableType:
    """A line that is indented where it goes on."""
    grid = Table.grid()
    grid.add_row(Text("· "), Text(line))
    return grid


def print_validation(validation: Validation) -> None:
    """Print a validation to stdout. Colour is left out where it is no terminal, and by NO_COLOR."""
    console = CleanConsole(width=None if sys.stdout.isatty() else WIDEST)
    console.print(render(validation, console.width))
