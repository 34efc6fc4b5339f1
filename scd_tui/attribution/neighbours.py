"""From a node to the next: along the prompt, and along a direction in the stream."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scd_tui.attribution.attribute import Attribution
from scd_tui.errors import InputError
from scd_tui.graph import NodeId, NodeRef, Site, feature_id, parse_node


@dataclass(frozen=True)
class Thread:
    """The next node of a thread: how like its direction is, and the weight of the edge between."""

    node: NodeId
    cosine: float
    weight: float


def same_elsewhere(attribution: Attribution, node: NodeId, step: int) -> NodeId | None:
    """The same feature, error or embedding at the next (1) or an earlier (-1) token where it is.

    A feature is only where it is active. Sinks that are left out are passed over.
    """
    ref, reading = parse_node(node), attribution.reading
    if ref.kind == "root":
        return None
    positions = reading.counted.nonzero().flatten().tolist()
    if ref.site is not None:
        reading.check(ref)
    if ref.site is not None and ref.index is not None:
        active = reading.encoded[ref.site].rows
        positions_of = [p for p in positions if (p, ref.index) in active]
    else:
        positions_of = positions
    further = [p for p in positions_of if (p - ref.position) * step > 0]
    if not further:
        return None
    nearest = min(further, key=lambda p: abs(p - ref.position))
    return NodeRef(ref.kind, nearest, ref.site, ref.index).id


def thread(attribution: Attribution, node: NodeId, step: int) -> Thread | None:
    """The feature whose direction is most like a feature's, of those that an edge ties to it.

    Up the stream (-1) of those that lead into it, down the stream (1) of those that it leads into.
    Likeness is the cosine of decoder directions; sites of another width have none. Raises InputError
    on anything but an active feature.
    """
    ref, reading = parse_node(node), attribution.reading
    if ref.kind != "feature" or ref.site is None:
        raise InputError("only features have a direction: put the cursor on one")
    reading.check(ref)
    direction = reading.encoded[ref.site].decoder[reading.row(ref)]
    if step < 0:
        return _below(attribution, node, direction)
    return _above(attribution, ref, direction)


def _below(attribution: Attribution, node: NodeId, direction: Tensor) -> Thread | None:
    best: Thread | None = None
    for place, scores in attribution.upstream(node).items():
        if isinstance(place, Site):
            best = _likest(attribution, place, scores.features, direction, best)
    return best


def _above(attribution: Attribution, node: NodeRef, direction: Tensor) -> Thread | None:
    best: Thread | None = None
    for site, weights in attribution.downstream(node).items():
        best = _likest(attribution, site, weights, direction, best)
    return best


def _likest(
    attribution: Attribution, site: Site, weights: Tensor, direction: Tensor, best: Thread | None
) -> Thread | None:
    """The better of `best` and the most similar feature of a site among those with a weight.

    Features at sinks that are left out do not take part.
    """
    decoder = attribution.reading.encoded[site].decoder
    eligible = (weights != 0) & attribution.reading.counts(site)
    if decoder.shape[-1] != len(direction) or not bool(eligible.any()):
        return best
    cosines = torch.cosine_similarity(decoder, direction[None], dim=-1)
    row = int(torch.where(eligible, cosines, -2.0).argmax())
    if best is not None and float(cosines[row]) <= best.cosine:
        return best
    position, index = attribution.reading.encoded[site].pairs[row]
    return Thread(feature_id(site, index, position), float(cosines[row]), float(weights[row]))
