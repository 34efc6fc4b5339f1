"""Curves of features that a reader has chosen: what they carry alone, and what is left without them."""

from collections.abc import Callable, Sequence

from scd_tui.attribution.explain import Explanation
from scd_tui.attribution.faithfulness import Ranked, by_chance, chosen_first, strongest_first
from scd_tui.attribution.validation import (
    SEEDS,
    Asked,
    feature_measure,
    mean_of,
    measured,
    sizes_up_to,
    without,
)
from scd_tui.curves import Column, Order
from scd_tui.errors import InputError
from scd_tui.graph import NodeId, Site, parse_node

EVERY_SIZE = 12
"""Up to so many features a curve has a point for each number of them."""


def chosen_curves(
    explanation: Explanation,
    nodes: Sequence[NodeId],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Column, ...]:
    """Faithfulness of the chosen features, beside as many of the strongest and as many at random.

    With zero for what is out, or with what the contrast prompt has where there is one; the dictionaries'
    errors kept and out. `validation` has what these curves are of. Errors among `nodes` are passed over.
    Raises InputError where there is no feature among them, or one that is not active.
    """
    loaded, attribution = explanation.loaded, explanation.attribution
    chosen = [ref for node in dict.fromkeys(nodes) if (ref := parse_node(node)).kind == "feature"]
    if not chosen:
        raise InputError("a curve is of features, and none is chosen: pin some first")
    counted = attribution.reading.counted.tolist()
    if at_sinks := [node for node in chosen if not counted[node.position]]:
        raise InputError(
            f"{at_sinks[0]} is at a position that curves leave out: unpin the node, or let sinks count"
        )
    count, sites = len(chosen), loaded.dictionaries
    sizes = list(range(count + 1)) if count <= EVERY_SIZE else sizes_up_to(count)
    orders: dict[Order, list[dict[Site, Ranked]]] = {
        "chosen": [chosen_first(attribution, sites, chosen)],
        "effect": [strongest_first(attribution, sites)],
        "random": [by_chance(attribution, sites, seed) for seed in SEEDS],
    }
    stand, baselines = without(loaded, attribution)
    total = 2 * len(orders)
    columns: list[Column] = []
    for errors in (True, False):
        for order, rankings in orders.items():
            on_progress(len(columns), total)
            column = Column(
                nodes="features", baseline=stand, errors=errors, order=order, count=count
            )
            measure = mean_of(
                [
                    feature_measure(loaded, attribution, ranked, baselines, errors=errors)
                    for ranked in rankings
                ]
            )
            columns.append(measured(Asked(column, sizes, measure), attribution.value))
    on_progress(total, total)
    return tuple(columns)
