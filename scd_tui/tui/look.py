"""How the tree is looked at: by what it is grouped and sorted, and what is left out."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from scd_tui.graph import Node, NodeId, parse_node
from scd_tui.history import By, Look, Order
from scd_tui.tui.store import CircuitStore, place_order

BY: tuple[By, ...] = get_args(By)
ORDERS: tuple[Order, ...] = get_args(Order)
ORDER_WORDS: dict[Order, str] = {
    "size": "|effect|",
    "signed": "effect, + first",
    "exact": "|exact|",
    "token": "token",
    "name": "name",
}
LEVELS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Thresholds, as shares of the circuit's largest |effect|."""


class LeftOut(msgspec.Struct, frozen=True):
    """How many of the nodes that are known a look leaves out, by the first reason that applies."""

    pruned: int = 0
    errors: int = 0
    weak: int = 0

    @property
    def total(self) -> int:
        return self.pruned + self.errors + self.weak


def threshold(store: CircuitStore, look: Look) -> float:
    """The least |effect| or |weight| that is shown, in the metric's unit."""
    return look.least * store.largest_at_sites


def threshold_words(least: float) -> str:
    """A threshold as it is written: `0.381`, `0.00245`."""
    return f"{least:.3g}"


def next_level(look: Look, step: int) -> float:
    """The threshold that lies so many steps above this one, or below it; the last one at the ends."""
    here = bisect_left(LEVELS, look.least)
    return LEVELS[max(0, min(len(LEVELS) - 1, here + step))]


Reason = Literal["pruned", "errors", "weak"]


def reason(
    name: NodeId, size: float, store: CircuitStore, look: Look, least: float
) -> Reason | None:
    """Why a node, or an edge of this size out of it, is not shown; None if it is."""
    if name == store.root:
        return None
    if look.only is not None and name not in look.only and store.is_original(name):
        return "pruned"
    if not look.errors and parse_node(name).kind == "error":
        return "errors"
    return "weak" if abs(size) < least else None


def left_out(store: CircuitStore, look: Look) -> LeftOut:
    """Counted over all nodes that are known, wherever they would stand."""
    if look.plain:
        return LeftOut()
    counts: dict[Reason | None, int] = {}
    least = threshold(store, look)
    for name, node in store.nodes.items():
        why = reason(name, node.effect, store, look, least)
        counts[why] = counts.get(why, 0) + 1
    return LeftOut(counts.get("pruned", 0), counts.get("errors", 0), counts.get("weak", 0))


def shown(names: Iterable[NodeId], store: CircuitStore, look: Look) -> list[NodeId]:
    """The nodes that are not left out, in order."""
    least = threshold(store, look)
    kept = [
        name for name in names if reason(name, store.nodes[name].effect, store, look, least) is None
    ]
    return in_order(kept, store, look)


def in_order(names: Iterable[NodeId], store: CircuitStore, look: Look) -> list[NodeId]:
    """Sorted by effect and what the look says; those without an exact effect come last by it."""
    nodes = store.nodes

    def key(name: NodeId) -> tuple[float | str, ...]:
        node: Node = nodes[name]
        size = -abs(node.effect)
        if look.order == "signed":
            return (-node.effect, name)
        if look.order == "exact":
            return (-1.0 if node.exact is None else -2.0 - abs(node.exact), size, name)
        if look.order == "token":
            return (-parse_node(name).position, size, name)
        if look.order == "name":
            ref = parse_node(name)
            place = place_order(ref.place)
            return (-place[0], -place[1], -1 if ref.index is None else ref.index, ref.position)
        return (size, name)

    return sorted(names, key=key)
