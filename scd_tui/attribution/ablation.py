"""Effects and edges measured: the same forward pass with nodes taken out.

What a node writes (with a contrast prompt, what it writes more than there) is subtracted from the
activation at its site and position, and everything after it recomputes. No dictionary is in the loop
and no feature is selected anew; errors of other nodes stay as they were in the clean run, because only
this one vector is removed.

Along one edge, every site but the source's and the target's is given its clean activation, so that
only the direct path carries the change, and the target is read as the affine function that it is with
its normalisation and the selection of features held: its pull times what its site's activation lost.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from scd_tui.attribution.attribute import Attribution, Reading
from scd_tui.attribution.baseline import Baseline
from scd_tui.attribution.finite import require_finite_values
from scd_tui.attribution.metric import value_at
from scd_tui.attribution.model import LanguageModel, Place
from scd_tui.attribution.room import forward_rows
from scd_tui.errors import InputError
from scd_tui.graph import NodeId, NodeRef, Site, Target, parse_node

BATCH = 32
"""Ablations that share one forward pass, at most: fewer where the prompt is long or memory short."""


@torch.no_grad()
def ablated_logits(
    model: LanguageModel,
    reading: Reading,
    nodes: Sequence[NodeRef],
    positions: Sequence[int],
    baselines: Mapping[Site, Baseline] | None = None,
) -> Tensor:
    """Logits `[len(nodes), len(positions), vocabulary]`, each row without one of the nodes.

    With `baselines` each node is set to its mean instead of zero. Raises InputError on nodes that
    cannot be removed: embeddings and the root.
    """
    rows: dict[Site, list[tuple[int, NodeRef]]] = defaultdict(list)
    for row, node in enumerate(nodes):
        reading.check(node)
        assert node.site is not None
        rows[node.site].append((row, node))

    def remove(site: Site, activation: Tensor) -> Tensor:
        changed = activation.clone()
        flat = changed.flatten(start_dim=2)
        for row, node in rows[site]:
            flat[row, node.position] -= lost(reading, node, baselines)
        return flat.reshape(changed.shape)

    edits = [(site, partial(remove, site)) for site in rows]
    ids = model.ids(reading.cut.tokens).expand(len(nodes), -1)
    return model.forward(ids, edits, positions)


def lost(reading: Reading, node: NodeRef, baselines: Mapping[Site, Baseline] | None) -> Tensor:
    """`[d]`: what an activation loses when a node is taken out, or set to its mean."""
    written = reading.written(node)
    if baselines is None:
        return written
    if reading.against is not None:
        raise InputError("nodes are set to the contrast prompt's: leave out the means")
    assert node.site is not None
    baseline = baselines[node.site]
    if node.kind == "error":
        return written - baseline.error
    decoder = reading.encoded[node.site].decoder[reading.row(node)]
    return written - baseline.strengths[node.index] * decoder


@torch.no_grad()
def exact_effects(
    model: LanguageModel,
    reading: Reading,
    target: Target,
    nodes: Sequence[NodeRef],
    batch: int = BATCH,
    baselines: Mapping[Site, Baseline] | None = None,
) -> Iterator[dict[NodeRef, float]]:
    """What the metric loses without each node alone; one dictionary a forward pass.

    With `baselines`, what it loses when the node is set to its mean.
    """
    clean = value_at(target, reading.cut.logits_at(target.positions))
    batch = forward_rows(model, len(reading.cut.tokens), batch, len(target.positions))
    for start in range(0, len(nodes), batch):
        group = nodes[start : start + batch]
        logits = ablated_logits(model, reading, group, target.positions, baselines)
        values = value_at(target, logits)
        require_finite_values(values, f"without {group[0]} or one of the next {len(group) - 1}")
        yield dict(zip(group, (clean - values).tolist(), strict=True))


@torch.no_grad()
def exact_edges(
    model: LanguageModel,
    attribution: Attribution,
    target: NodeId,
    sources: Sequence[NodeRef],
    batch: int = BATCH,
) -> list[float]:
    """Weights `[len(sources)]` of edges into one target, as `measured_edges` finds them."""
    edges = [(source, target) for source in sources]
    return [
        weight for group in measured_edges(model, attribution, edges, batch) for weight in group
    ]


@torch.no_grad()
def measured_edges(
    model: LanguageModel,
    attribution: Attribution,
    edges: Sequence[tuple[NodeRef, NodeId]],
    batch: int = BATCH,
) -> Iterator[list[float]]:
    """Weights of edges (source, target), measured, in the metric's unit; at most `batch` per pass.

    Raises InputError on sources that cannot be removed, and on targets that have no edges.
    """
    for source, target in edges:
        attribution.reading.check(source)
        if parse_node(target).kind in ("token", "pos"):
            raise InputError(f"{target} is an embedding: no edge leads into it")
    read = len(attribution.target.positions)
    batch = forward_rows(model, len(attribution.reading.cut.tokens), batch, read)
    for start in range(0, len(edges), batch):
        yield _edges_at_once(model, attribution, edges[start : start + batch])


def _edges_at_once(
    model: LanguageModel, attribution: Attribution, edges: Sequence[tuple[NodeRef, NodeId]]
) -> list[float]:
    """`[len(edges)]`, one forward pass: as every site goes on from what it is given, rows of different
    targets do not disturb each other."""
    reading = attribution.reading
    targets = [parse_node(target) for _, target in edges]
    pulls = {ref: attribution.pull(ref) for ref in {*targets} if ref.site is not None}
    weights = [0.0] * len(edges)

    def hold(place: Place, activation: Tensor) -> Tensor:
        clean = reading.cut.activation(place)
        arrived = activation.flatten(start_dim=2)
        rows = clean.repeat(len(edges), 1, 1)
        for row, (source, _) in enumerate(edges):
            if targets[row].site == place:
                weights[row] = float(((clean - arrived[row]) * pulls[targets[row]]).sum())
            if source.site == place:
                rows[row, source.position] -= reading.written(source)
        return rows.reshape(activation.shape)

    logits = model.forward(
        model.ids(reading.cut.tokens).expand(len(edges), -1),
        [(place, partial(hold, place)) for place in reading.cut.order],
        attribution.target.positions,
    )
    lost = attribution.value - value_at(attribution.target, logits)
    for row, ref in enumerate(targets):
        if ref.site is None:
            weights[row] = float(lost[row])
    return weights
