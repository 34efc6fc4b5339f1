"""Edges into a node that are too weak to have a row each: they are folded into one."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

WEAK = 0.01
"""Share of the strongest edge into the same node; edges of a smaller |weight| are folded."""
WEAK_WORDS = f"below {WEAK:.0%} of the strongest edge"


class Weighted(Protocol):
    @property
    def weight(self) -> float: ...


_Edge = TypeVar("_Edge", bound=Weighted)


def parted(edges: Sequence[_Edge]) -> tuple[list[_Edge], list[_Edge]]:
    """The edges into one node that have a row each, and those that are folded, each strongest first.

    A single weak edge has its row: folding it would save none.
    """
    ordered = sorted(edges, key=lambda edge: -abs(edge.weight))
    least = WEAK * abs(ordered[0].weight) if ordered else 0.0
    weak = [edge for edge in ordered if abs(edge.weight) < least]
    if len(weak) < 2:
        return ordered, []
    return ordered[: len(ordered) - len(weak)], weak
