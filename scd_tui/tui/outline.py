"""Which rows stand below which: from what is known of a circuit, and how it is looked at."""

from scd_tui.graph import EMBEDDINGS, Edge, NodeId, parse_node
from scd_tui.history import Look
from scd_tui.tui.item import EDGES, Item, ItemKind
from scd_tui.tui.look import reason, shown, threshold
from scd_tui.tui.store import CircuitStore
from scd_tui.weak_edges import parted

Wanted = tuple[ItemKind, str, NodeId | None, float | None]
"""Kind, key, node and weight of a row."""


def top_level(store: CircuitStore, look: Look) -> list[Wanted]:
    """The metric, what the reader has marked, then sites, tokens or nodes from the last to the first."""
    rows: list[Wanted] = []
    if store.root is not None:
        rows.append(("root", store.root, store.root, None))
    if store.marks.pins:
        rows.append(("pins", "pins", None, None))
    rows += [("super", group.name, None, None) for group in store.marks.supernodes]
    if look.by == "site":
        return [*rows, *(("place", place, None, None) for place in store.places())]
    others = (name for name in store.nodes if name != store.root)
    if look.by == "token":
        positions = sorted({parse_node(name).position for name in others}, reverse=True)
        return [*rows, *(("token", f"@{position}", None, None) for position in positions)]
    return [*rows, *_nodes(shown(others, store, look))]


def below(item: Item, store: CircuitStore, look: Look) -> list[Wanted]:
    """The rows that an item should have as its children."""
    if item.kind == "place":
        top, others = store.at(item.key)
        more: list[Wanted] = [("more", "more", None, None)] if others else []
        return [*_nodes(shown(top, store, look)), *more]
    if item.kind == "more":
        return _nodes(shown(store.at(item.place)[1], store, look))
    if item.kind == "token":
        return _nodes(shown(store.at_position(int(item.key[1:])), store, look))
    if item.kind in ("pins", "super"):
        # What was chosen by hand is never left out.
        return _nodes([name for name in members(item, store) if name in store.nodes])
    if item.kind in EDGES and item.target is not None:
        return [
            ("node", edge.source, edge.source, edge.weight) for edge in _edges(item, store, look)
        ]
    if item.node is not None:
        return _upstream(item.node, store, look)
    return []


def _upstream(node: NodeId, store: CircuitStore, look: Look) -> list[Wanted]:
    """The rows below a node: the sites that its edges start at, by their strongest edge, and last one
    row for the weak edges of all sites. A site without a row of its own is in that one."""
    groups = store.upstream(node)
    if not groups:
        return [("note", "note", node, None)]
    strong, weak = strong_and_weak(node, store, look)
    hidden = {group.place for group in groups} - {
        parse_node(edge.source).place for edge in (*strong, *weak)
    }
    places = dict.fromkeys(parse_node(edge.source).place for edge in strong)
    # sites of which the look leaves everything out say so themselves
    rest = (group.place for group in groups if group.place in hidden)
    rows: list[Wanted] = [("group", place, None, None) for place in (*places, *rest)]
    return [*rows, ("weak", "weak", None, None)] if weak else rows


def strong_and_weak(node: NodeId, store: CircuitStore, look: Look) -> tuple[list[Edge], list[Edge]]:
    """The edges into a node that are shown: those with a row each, and those that are folded.

    Each strongest first, however nodes are sorted: edges are compared here.
    """
    least = threshold(store, look)
    return parted(
        [
            edge
            for group in store.upstream(node)
            for edge in group.edges
            if reason(edge.source, edge.weight, store, look, least) is None
        ]
    )


def members(item: Item, store: CircuitStore) -> tuple[NodeId, ...]:
    """The nodes that a `pins` or `super` row is of."""
    if item.kind == "pins":
        return store.marks.pins
    return next((g.nodes for g in store.marks.supernodes if g.name == item.key), ())


def _nodes(names: list[NodeId]) -> list[Wanted]:
    return [("node", name, name, None) for name in names]


def _edges(item: Item, store: CircuitStore, look: Look) -> list[Edge]:
    """The edges that have their rows below a `group` or a `weak` row."""
    assert item.target is not None
    strong, weak = strong_and_weak(item.target, store, look)
    if item.kind == "weak":
        return weak
    return [edge for edge in strong if parse_node(edge.source).place == item.key]


def hidden_below(item: Item, store: CircuitStore, look: Look) -> int:
    """How many of a group's edges, or of a site's strongest nodes, the look leaves out."""
    if look.plain:
        return 0
    if item.kind == "place":
        top, _ = store.at(item.key)
        return len(top) - len(shown(top, store, look))
    if item.kind != "group" or item.target is None:
        return 0
    least = threshold(store, look)
    return sum(
        reason(edge.source, edge.weight, store, look, least) is not None
        for group in store.upstream(item.target)
        if group.place == item.key
        for edge in group.edges
    )


def home(node: NodeId, store: CircuitStore, look: Look) -> tuple[str, ...]:
    """The keys of the rows above a node's own in this view, from the top."""
    ref = parse_node(node)
    if node == store.root or look.by == "effect":
        return ()
    if look.by == "token":
        return (f"@{ref.position}",)
    top, _ = store.at(ref.place)
    listed = ref.place == EMBEDDINGS or node in top
    return (ref.place,) if listed else (ref.place, "more")
