"""Which rows stand below which: from what is known of a circuit, and how it is looked at."""

from scd_tui.graph import EMBEDDINGS, NodeId, parse_node
from scd_tui.history import Look
from scd_tui.tui.item import Item, ItemKind
from scd_tui.tui.look import reason, shown, threshold
from scd_tui.tui.store import CircuitStore

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
    if item.kind == "group" and item.target is not None:
        return _edges(item, store, look)
    if item.node is not None:
        groups = store.upstream(item.node)
        if groups:
            return [("group", group.place, None, None) for group in groups]
        return [("note", "note", item.node, None)]
    return []


def members(item: Item, store: CircuitStore) -> tuple[NodeId, ...]:
    """The nodes that a `pins` or `super` row is of."""
    if item.kind == "pins":
        return store.marks.pins
    return next((g.nodes for g in store.marks.supernodes if g.name == item.key), ())


def _nodes(names: list[NodeId]) -> list[Wanted]:
    return [("node", name, name, None) for name in names]


def _edges(item: Item, store: CircuitStore, look: Look) -> list[Wanted]:
    """The edges of a group, the strongest first however nodes are sorted: they are compared here."""
    assert item.target is not None
    least = threshold(store, look)
    for group in store.upstream(item.target):
        if group.place == item.key:
            return [
                ("node", edge.source, edge.source, edge.weight)
                for edge in group.edges
                if reason(edge.source, edge.weight, store, look, least) is None
            ]
    return []


def hidden_below(item: Item, store: CircuitStore, look: Look) -> int:
    """How many of a group's edges, or of a site's strongest nodes, the look leaves out."""
    if look.plain:
        return 0
    if item.kind == "place":
        top, _ = store.at(item.key)
        return len(top) - len(shown(top, store, look))
    if item.kind != "group" or item.target is None:
        return 0
    known = next((g for g in store.upstream(item.target) if g.place == item.key), None)
    return 0 if known is None else len(known.edges) - len(_edges(item, store, look))


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
