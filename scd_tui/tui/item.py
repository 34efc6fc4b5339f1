"""A row of the circuit tree."""

from typing import Literal

from scd_tui.graph import NodeId, parse_node

ItemKind = Literal[
    "root", "pins", "super", "place", "token", "node", "group", "weak", "more", "note"
]

EDGES = ("group", "weak")
"""Kinds of rows with edges below them."""


class Item:
    """One row: what it shows, and its place in the tree.

    `root` and `node` items show `node`; `pins` holds the pinned nodes, `super` those of the supernode
    named `key`; a `place` is a site (or the embeddings) of the whole circuit, a `token` a position of the
    prompt; a `group` holds the edges into its parent's node that start at one place, and `weak` folds
    those of all places that are too weak for a row each; `more` folds away the nodes of a site that are
    known only because an edge starts in them; a `note` says that a node's upstream is being computed, or
    why it is not there. `weight` is the weight of the edge into the node two levels up, for nodes below a
    group or a `weak` row.
    """

    __slots__ = ("children", "depth", "key", "kind", "last", "node", "open", "parent", "weight")

    def __init__(
        self,
        kind: ItemKind,
        key: str,
        parent: "Item | None" = None,
        node: NodeId | None = None,
        weight: float | None = None,
    ) -> None:
        self.kind = kind
        self.key = key
        self.parent = parent
        self.node = node
        self.weight = weight
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.last = False
        self.open = False
        self.children: list[Item] | None = None

    @property
    def place(self) -> str:
        """The site name, `embed` or metric that the row belongs to; "" where there is no one such."""
        if self.kind in ("place", "group"):
            return self.key
        if self.node is not None:
            return parse_node(self.node).place
        return "" if self.parent is None else self.parent.place

    @property
    def names_site(self) -> bool:
        """Whether its node is among nodes of other sites, so that its row has to say which it is."""
        return self.parent is None or self.parent.kind in ("pins", "super", "token", "weak")

    @property
    def target(self) -> NodeId | None:
        """The node that the edges of this row, or the edge of a row below one of them, lead into."""
        item: Item | None = self if self.kind in EDGES else self.parent
        if item is None or item.kind not in EDGES or item.parent is None:
            return None
        return item.parent.node

    def __repr__(self) -> str:
        return f"Item({self.kind}, {self.key!r}, depth={self.depth}, open={self.open})"
