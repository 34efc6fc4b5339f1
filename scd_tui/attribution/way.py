"""The way from a feature up to the embeddings, a sublayer at a time."""

from scd_tui.attribution.attribute import Attribution
from scd_tui.attribution.circuit import strongest_edges
from scd_tui.attribution.influence import edge_sizes
from scd_tui.errors import InputError
from scd_tui.graph import NodeId, parse_node
from scd_tui.replication import Step


def way_up(attribution: Attribution, start: NodeId, count: int = 3) -> tuple[Step, ...]:
    """From a node on, at every site upstream of it the feature through which most of it comes.

    What comes into a node comes from its sources in proportion to |weight|, as in `influence`; here it is
    followed along the `count` strongest edges from each place directly upstream. At a site that only
    errors of these edges lie at, the largest error is taken; a site that none leads to is left out.
    Raises InputError on nodes that are not active, and on those that nothing flows into.
    """
    first = parse_node(start).site
    if first is None:
        raise InputError(f"{start} is at no site: begin with a feature")
    reached: dict[NodeId, float] = {start: 1.0}
    steps: list[Step] = []
    order = attribution.reading.sites
    for site in reversed(order[: order.index(first) + 1]):
        here = [node for node in reached if parse_node(node).site == site]
        if not here:
            continue
        node = max(here, key=lambda one: (parse_node(one).kind == "feature", reached[one]))
        share, edges = reached[node], strongest_edges(attribution, node, count)
        steps.append(Step(node, share, edges))
        total = sum(
            float(edge_sizes(attribution.reading, place, scores).sum())
            for place, scores in attribution.upstream(node).items()
        )
        for edge in edges:
            # there are edges, so there is something to share out
            part = share * abs(edge.weight) / total
            reached[edge.source] = reached.get(edge.source, 0.0) + part
    return tuple(steps)
