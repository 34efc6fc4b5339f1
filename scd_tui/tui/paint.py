"""How a row of the circuit tree looks: pure functions from an item to spans.

Columns, left to right: guides and name with token; the number (a node's effect, or after `→` the
weight of an edge); a bar; the measured effect; what the feature is, in words.
"""

import math
from collections.abc import Callable

import msgspec
from rich.cells import cell_len

from scd_tui.graph import EMBEDDINGS, Node, NodeId, parse_node
from scd_tui.numbers import bar, counted, meter, percent, signed
from scd_tui.text import visible
from scd_tui.tui.ink import Ink, Span, cut, fit, pad
from scd_tui.tui.item import Item
from scd_tui.tui.outline import members
from scd_tui.tui.store import CircuitStore, removable
from scd_tui.weak_edges import WEAK, WEAK_WORDS
from scd_tui.wording import contrast_words, wanted_words

NUMBER = 7
"""Cells of a signed number with three decimals, up to ±99.999."""
NAME_CELLS = 12
"""Cells that the deepest row keeps for its name; guides that would take them are left out."""


class RowState(msgspec.Struct, frozen=True):
    """What a row shows beside its item: whether rows below it are on the screen, whether its node is
    unfolded in a place above, the sign that it is being computed, and how many rows that would stand
    below it are left out."""

    unfolded: bool = False
    again: bool = False
    spinner: str = ""
    hidden: int = 0


PLAIN = RowState()


class Columns(msgspec.Struct, frozen=True):
    """Cells for each column; `exact` and `bar` are 0 where the pane is too narrow for them."""

    name: int
    bar: int
    exact: int
    label: int

    @classmethod
    def of(cls, width: int, sites: bool = False) -> "Columns":
        """Share out `width` cells; with `sites`, names have that of their site before them."""
        wide = width >= 56
        name = min(32, max(28 if sites and wide else 19, width // 3))
        # between the two there is room for a number or a bar, and the number says more
        some = width >= 42
        bar_cells = 5 if wide else 0 if some else 3
        exact = NUMBER + 1 if some else 0
        label = max(0, width - name - (NUMBER + 2) - (bar_cells + 1) - exact)
        return cls(name, bar_cells, exact, label)


def site_title(place: str) -> str:
    """`resid_post.3` as `resid_post 3`; `embed` in words."""
    return "embeddings" if place == EMBEDDINGS else place.replace(".", " ")


def quoted(text: str) -> str:
    """A token between quotes, so that its spaces are seen."""
    return f'"{text}"'


def token_cells(text: str, number: str, width: int) -> list[Span]:
    """A token in exactly `width` cells, with its id after it where it has to be told from another."""
    if not number:
        return [(pad(visible(text), width), "token")]
    shown = cut(visible(text), max(1, width - len(number)))
    return [(shown, "token"), (pad(number, width - cell_len(shown)), "dim")]


def short_token(text: str) -> str:
    """A token for a narrow column: without its leading space, and never blank."""
    stripped = text.strip(" ")
    return stripped if stripped else "␣" * len(text)


def guides(item: Item, width: int) -> str:
    """The lines that tie a row to those above it, in a name column of `width`; "" at the top level.

    A row that is too deep for all of them says its depth, and keeps the last ones.
    """
    if item.depth == 0:
        return ""
    pieces = ["└" if item.last else "├"]
    above = item.parent
    while above is not None and above.depth > 0:
        pieces.append("  " if above.last else "│ ")
        above = above.parent
    room = max(1, (width - 1 - NAME_CELLS) // 2)
    if len(pieces) > room:
        return f"{item.depth}⋯" + "".join(reversed(pieces[: max(1, room - 1)]))
    return "".join(reversed(pieces))


def describe_node(node: NodeId, store: CircuitStore) -> list[Span]:
    """`1154@9 the`: a node's name inside its site, with the token that it stands at."""
    ref = parse_node(node)
    if ref.kind == "root":
        return [(root_text(store), "name")]
    what = str(ref.index) if ref.kind == "feature" else ref.kind
    spans: list[Span] = [(what, "name" if ref.kind == "feature" else "heading")]
    spans.append((f"@{ref.position} ", "dim"))
    spans.append((short_token(store.token(ref.position)), "token"))
    return spans


def root_text(store: CircuitStore) -> str:
    """The metric in a few words: `" question" − " way"`, `log p " question"`."""
    if store.circuit is None:
        return "the metric"
    target = store.circuit.target
    name = wanted_words(target, quoted)
    if target.metric == "diff":
        return f"{name} − {contrast_words(target, quoted)}"
    return f"log p {name}" if target.metric == "logp" else f"{name} − mean"


def tone(value: float) -> Ink:
    """The ink of a signed number: towards the target, or away from it."""
    return "towards" if value >= 0 else "away"


def foldable(item: Item, store: CircuitStore) -> bool:
    """Whether the row gets a fold marker."""
    if item.kind in ("node", "root") and item.node is not None:
        return store.upstream_state(item.node) != "leaf"
    return item.kind != "note"


def row(
    item: Item,
    store: CircuitStore,
    label: Callable[[NodeId], str],
    columns: Columns,
    state: RowState = PLAIN,
) -> list[Span]:
    """The spans of one row; the widget cuts them."""
    if item.kind == "note":
        return [(guides(item, columns.name) + " ", "dim"), *_note(item, store)]
    marker = ("▾" if state.unfolded else "▸") if foldable(item, store) else " "
    if state.spinner:
        marker = state.spinner
    elif state.again and not state.unfolded:
        marker = "↑"
    lead: list[Span] = [(guides(item, columns.name), "dim"), (marker + " ", "dim")]
    if item.kind == "place":
        return _place(item, store, label, columns, lead, state)
    if item.kind in ("pins", "super", "token"):
        return [
            *_named([*lead, *_set_name(item, store)], columns.name),
            *_set(item, store, columns),
        ]
    if item.kind == "group":
        return _group(item, store, columns, lead, state.hidden)
    if item.kind == "weak":
        return _weak(item, store, columns, lead)
    if item.kind == "more":
        count = len(store.at(item.place)[1])
        return [*lead, (f"{count} more, met along edges", "dim")]
    return _node(item, store, label, columns, lead)


def _set_name(item: Item, store: CircuitStore) -> list[Span]:
    if item.kind == "pins":
        return [("★ ", "key"), ("pinned", "heading")]
    if item.kind == "super":
        return [("◆ ", "key"), (visible(item.key), "name")]
    position = int(item.key[1:])
    return [(item.key + " ", "dim"), (short_token(store.token(position)), "token")]


def _set(item: Item, store: CircuitStore, columns: Columns) -> list[Span]:
    """Of nodes that were put together: their sum, where that means something, and what was measured."""
    if item.kind == "token":
        names = store.at_position(int(item.key[1:]))
        empty = " " * (NUMBER + 2 + columns.bar + 1 + columns.exact)
        return [(empty, "dim"), (counted(len(names), "node"), "dim")]
    names = [name for name in members(item, store) if name in store.nodes]
    total = sum(store.nodes[name].effect for name in names)
    spans: list[Span] = [
        (" Σ", "dim"),
        (signed(total, NUMBER) + " ", tone(total)),
        (" " * columns.bar, "dim"),
    ]
    done = store.removals.get(frozenset(removable(names)))
    if columns.exact:
        exact = "" if done is None else signed(done.outcome.exact, columns.exact)
        spans.append((exact.rjust(columns.exact), "good"))
    return [*spans, (f" {counted(len(names), 'node')}", "dim")]


def _named(spans: list[Span], width: int) -> list[Span]:
    """The first column: cut to `width`, so that the numbers stay in line at any depth."""
    return fit(spans, width)


def _place(
    item: Item,
    store: CircuitStore,
    label: Callable[[NodeId], str],
    columns: Columns,
    lead: list[Span],
    state: RowState,
) -> list[Span]:
    top, _ = store.at(item.key)
    spans = _named([*lead, (site_title(item.key), "heading")], columns.name)
    summary = store.sites.get(item.key)
    if summary is None:
        spans.append((" " * (NUMBER + 2 + columns.bar + 1 + columns.exact), "text"))
        shown: list[Span] = [(counted(len(top), "leaf", "leaves"), "dim")]
    else:
        share = summary.share_explained
        spans += [
            (f"  {signed(summary.features, NUMBER)} ", tone(summary.features)),
            (meter(share or 0.0, 1, columns.bar), "dim"),
        ]
        text = percent(share, columns.exact)
        spans.append((text if columns.exact else "", "text"))
        features = sum(parse_node(name).kind == "feature" for name in top)
        # In fewer words where there is something hidden, so that its count is not cut off.
        count = f" {features} of {summary.active}" + ("" if state.hidden else " active")
        shown = [((f" {percent(share)}" if not columns.exact else "") + count, "dim")]
    if state.hidden:
        shown.append((f", {state.hidden} hidden", "warn"))
    if not state.unfolded and top:
        # Folded, a site says what its strongest node is.
        shown += [(" · ", "dim"), *describe_node(top[0], store)]
        if text := label(top[0]):
            shown.append((f" {text}", "label"))
    return [*spans, *shown]


def _group(
    item: Item, store: CircuitStore, columns: Columns, lead: list[Span], hidden: int
) -> list[Span]:
    group = next(
        (g for g in store.upstream(item.target or NodeId("")) if g.place == item.key), None
    )
    spans = _named([*lead, (site_title(item.key), "heading")], columns.name)
    if group is None:
        return spans
    count = len(group.edges)
    edges = counted(count, "edge" if count == 1 else "strongest edge")
    if not hidden and item.children is not None and len(item.children) < count:
        edges = f"{len(item.children)} of {edges}"  # the others are in the `weak` row
    if hidden:
        # the sum stays that of all of them
        edges = f"of {counted(count, 'edge')}, {count - hidden} shown"
    return [
        *spans,
        (f" Σ{signed(group.total, NUMBER)} ", "dim"),
        (" " * (columns.bar + columns.exact + 1), "dim"),
        (edges, "warn" if hidden else "dim"),
    ]


def _weak(item: Item, store: CircuitStore, columns: Columns, lead: list[Span]) -> list[Span]:
    """Of the edges that are folded: their sum, how many there are, and what folds them."""
    weights = [child.weight or 0.0 for child in item.children or ()]
    return [
        *_named([*lead, (f"{len(weights)} below {WEAK:.0%}", "dim")], columns.name),
        (f" Σ{signed(sum(weights), NUMBER)} ", "dim"),
        (" " * (columns.bar + columns.exact + 1), "dim"),
        (WEAK_WORDS, "dim"),
    ]


def _node(
    item: Item,
    store: CircuitStore,
    label: Callable[[NodeId], str],
    columns: Columns,
    lead: list[Span],
) -> list[Span]:
    assert item.node is not None
    node = store.nodes.get(item.node)
    name: list[Span] = describe_node(item.node, store)
    if item.kind == "node" and item.names_site:
        name.insert(0, (parse_node(item.node).place + "/", "dim"))
    spans = _named([*lead, *name], columns.name)
    if node is None:
        return spans
    if item.weight is not None:
        value, mark, scale = item.weight, " →", largest_edge(item, store)
    else:
        value, mark, scale = node.effect, "  ", store.largest_effect(item.node)
    if item.kind == "root":
        spans += [(f"{mark}{signed(value, NUMBER)} ", "heading"), (" " * columns.bar, "text")]
    else:
        spans += [
            (mark, "dim"),
            (signed(value, NUMBER) + " ", tone(value)),
            (bar(abs(value) / scale if scale else 0.0, columns.bar), tone(value)),
        ]
    if columns.exact:
        spans += _exact(node, edge=item.weight is not None, width=columns.exact)
    spans += _signs(item, store)
    words = label(item.node)
    if item.kind == "root":
        words = "metric"
    elif not words:
        words = _kind_in_words(item.node)
        return [*spans, (f" {words}", "dim")]
    return [*spans, (f" {words}", "label" if item.kind != "root" else "dim")]


def _signs(item: Item, store: CircuitStore) -> list[Span]:
    """Pin, note, and the head that carried most of an edge."""
    assert item.node is not None
    signs = "★" * (item.node in store.marks.pins) + "✎" * (item.node in store.marks.notes)
    spans: list[Span] = [(f" {signs}", "key")] if signs else []
    if item.weight is not None and item.target is not None:
        heads = store.heads_of(item.node, item.target)
        if heads:
            layer, head, _ = heads[0]
            spans.append((f" L{layer}H{head}", "token"))
    return spans


def _kind_in_words(node: NodeId) -> str:
    kind = parse_node(node).kind
    if kind == "error":
        return "what the dictionary leaves out"
    if kind == "token":
        return "token embedding"
    return "position embedding" if kind == "pos" else ""


def _exact(node: Node, edge: bool, width: int) -> list[Span]:
    """The measured effect; `≠` and warning ink where the estimate is off by more than a factor 2."""
    if edge or node.exact is None:
        return [(" " * width, "text")]
    if not far_off(node.effect, node.exact):
        return [(signed(node.exact, width), "good")]
    return [("≠" + signed(node.exact, width - 1), "warn")]


def far_off(estimate: float, exact: float) -> bool:
    """Whether an estimate has the wrong sign, or is not between half and twice what was measured."""
    return not abs(exact) / 2 <= math.copysign(1, exact) * estimate <= abs(exact) * 2


def _note(item: Item, store: CircuitStore) -> list[Span]:
    if item.node is None:
        return []
    state = store.upstream_state(item.node)
    if state == "pending":
        return [("computing its upstream edges…", "dim")]
    if state == "failed":
        return [(store.failure(item.node), "warn")]
    if state == "known":
        return [("no upstream edges", "dim")]
    return [("not computed yet: enter computes it", "dim")]


def largest_edge(item: Item, store: CircuitStore) -> float:
    """The largest |weight| among all edges into the node that `item`'s edge leads into."""
    groups = store.upstream(item.target) if item.target is not None else ()
    return max((abs(edge.weight) for group in groups for edge in group.edges), default=0.0)


def heading(columns: Columns) -> list[Span]:
    """The line above the tree that names its columns."""
    return [
        (pad("  feature @ token", columns.name), "dim"),
        ("  " + "effect".rjust(NUMBER) + " ", "dim"),
        (" " * columns.bar, "dim"),
        ("exact".rjust(columns.exact) if columns.exact else "", "dim"),
        (" what it is" if columns.label >= 11 else "", "dim"),
    ]
