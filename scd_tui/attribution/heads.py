"""Which attention heads carried an edge."""

from collections.abc import Sequence

from scd_tui.attribution.attribute import Attribution
from scd_tui.attribution.circuit import weight_in
from scd_tui.graph import NodeId

Head = tuple[int, int]
"""Layer and number."""


def edges_by_head(
    attribution: Attribution, target: NodeId, sources: Sequence[NodeId]
) -> dict[Head, tuple[float, ...]]:
    """The part of each edge into `target` that went through each head; heads that carry none are out.

    What is left of an edge went round attention. Edges out of embeddings have heads too.
    """
    found = {}
    for head, into in attribution.upstream_by_head(target).items():
        parts = tuple(weight_in(attribution, into, source) for source in sources)
        if any(parts):
            found[head] = parts
    return found
