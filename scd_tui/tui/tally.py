"""The lines around the tree: the way to the cursor, and what is not shown. Pure functions to spans."""

from collections.abc import Sequence

from scd_tui.graph import parse_node
from scd_tui.numbers import counted
from scd_tui.text import visible
from scd_tui.tui.ink import Span, between, width_of
from scd_tui.tui.item import Item
from scd_tui.tui.look import ORDER_WORDS, threshold, threshold_words
from scd_tui.tui.paint import root_text, short_token
from scd_tui.tui.rows import Rows

BETWEEN: Span = (" › ", "dim")


def tally(rows: Rows, width: int) -> list[Span]:
    """How nodes are grouped and sorted, and how many are hidden for which reason."""
    look, out = rows.look, rows.left_out
    left: list[Span] = [(" by ", "dim"), (look.by, "text")]
    if look.order != "size":
        left += [(", sorted by ", "dim"), (ORDER_WORDS[look.order], "text")]
    parts: list[str] = []
    if out.pruned:
        parts.append(f"{out.pruned} pruned")
    if out.errors:
        parts.append(counted(out.errors, "error"))
    if look.least:
        parts.append(f"{out.weak} below {threshold_words(threshold(rows.store, look))}")
    if rows.filter:
        parts.append(f"{counted(rows.hidden, 'row')} by the filter")
    known = rows.store.known
    nodes: Span = (f"{counted(known, 'node')}, ", "dim")
    if not parts:
        hidden: list[Span] = [("none hidden", "dim")]
    else:
        hidden = [("hidden: ", "warn"), (", ".join(parts), "text")]
    space: Span = (" ", "text")
    counts = [nodes, *hidden]
    if width_of(left) + 2 + width_of(counts) + 2 <= width:
        return between(left, [*counts, space], width)
    # The counts stay longest, in fewer words where there is no room for all.
    short = [counted(out.total, "node")] if out.total else []
    short += [counted(rows.hidden, "row")] if rows.filter else []
    shortest: list[Span] = [("hidden: ", "warn"), (", ".join(short), "text")]
    fitting = (one for one in (counts, hidden) if width_of(one) + 2 <= width)
    return between([space, *next(fitting, shortest)], [], width)


def crumbs(item: Item | None, rows: Rows, width: int) -> list[Span]:
    """The nodes that lead from the top to the cursor, the last ones where there is no room for all."""
    steps: list[list[Span]] = []
    while item is not None:
        if steps_of := _step(item, rows):
            steps.append(steps_of)
        item = item.parent
    spans: list[Span] = []
    for step in steps:  # from the cursor upwards
        longer: Sequence[Span] = [*step, BETWEEN, *spans] if spans else step
        if width_of(longer) + 4 > width and spans:
            spans = [("…", "dim"), BETWEEN, *spans]
            break
        spans = list(longer)
    return [(" ", "text"), *spans]


def _step(item: Item, rows: Rows) -> list[Span]:
    store = rows.store
    if item.kind == "root":
        return [(root_text(store), "name")]
    if item.kind == "node" and item.node is not None:
        ref = parse_node(item.node)
        token = short_token(store.token(ref.position))
        return [(item.node, "text"), (f" {token}", "token")]
    if item.kind == "super":
        return [(visible(item.key), "name")]
    return [("pinned", "name")] if item.kind == "pins" else []
