"""What a reader tries on a circuit: nodes taken out together, an edge cut, a node made stronger."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from scd_tui.attribution.attribute import Attribution, Reading
from scd_tui.attribution.circuit import edge_weight
from scd_tui.attribution.explain import Explanation, Trial
from scd_tui.attribution.metric import value_at
from scd_tui.attribution.model import LanguageModel, Place
from scd_tui.attribution.room import forward_rows
from scd_tui.attribution.together import clean_vector, estimate_without, logits_without
from scd_tui.errors import InputError
from scd_tui.graph import NodeId, NodeRef, parse_node


def remove_together(explanation: Explanation, nodes: Sequence[NodeId]) -> Trial:
    """Take several nodes out at once. Raises InputError on what cannot be removed."""
    attribution = explanation.attribution
    refs = [parse_node(node) for node in dict.fromkeys(nodes)]
    predicted = estimate_without(attribution, refs)
    logits = logits_without(
        *(explanation.loaded.model, attribution.reading, explanation.loaded.dictionaries),
        [refs],
        attribution.target.positions,
    )
    return Trial.of(attribution, predicted, logits[0])


@dataclass(frozen=True)
class EdgeCut(Trial):
    """An edge cut. `along`: its weight, measured along the direct path (`ablation.measured_edges`)."""

    along: float


@torch.no_grad()
def cut_edge(explanation: Explanation, source: NodeId, target: NodeId) -> EdgeCut:
    """Let a target node miss what one source sends it along the direct path, and nothing else.

    With every other site as in the clean run, what the target's site loses without the source says how
    much weaker the target is, as the affine function that it is with its normalisation and the selection
    of features held. Then the model runs with the target weaker by that, and all after it recomputes.
    Raises InputError on sources that cannot be removed, and where there is no such edge.
    """
    model, attribution = explanation.loaded.model, explanation.attribution
    origin, end = parse_node(source), parse_node(target)
    if end.kind in ("token", "pos"):
        raise InputError(f"{target} is an embedding: no edge leads into it")
    attribution.reading.check(origin)
    predicted = edge_weight(attribution, source, target)
    missing, logits = _along(model, attribution, origin, end)
    if end.site is None:
        lost = attribution.value - float(value_at(attribution.target, logits))
        return EdgeCut(**vars(Trial.of(attribution, predicted, logits)), along=lost)
    along = float((missing * attribution.pull(end)).sum())
    weaker = _of_target(attribution, end, missing[end.position])

    def weaken(activation: Tensor) -> Tensor:
        changed = activation.clone()
        changed.flatten(start_dim=2)[0, end.position] -= weaker
        return changed

    ids = model.ids(attribution.reading.cut.tokens)
    after = model.forward(ids, [(end.site, weaken)], attribution.target.positions)
    return EdgeCut(**vars(Trial.of(attribution, predicted, after[0])), along=along)


def _along(
    model: LanguageModel, attribution: Attribution, source: NodeRef, target: NodeRef
) -> tuple[Tensor, Tensor]:
    """`[pos, d]` that the target's site loses along direct paths, and logits `[steps, vocabulary]`."""
    reading = attribution.reading
    missing = torch.zeros(0)

    def hold(place: Place, activation: Tensor) -> Tensor:
        nonlocal missing
        clean = reading.cut.activation(place)
        if place == target.site:
            missing = clean - activation.flatten(start_dim=2)[0]
        held = clean.clone()
        if place == source.site:
            held[source.position] -= reading.written(source)
        return held.reshape(activation.shape)

    edits = [(place, partial(hold, place)) for place in reading.cut.order]
    logits = model.forward(model.ids(reading.cut.tokens), edits, attribution.target.positions)
    return missing, logits[0]


def _of_target(attribution: Attribution, target: NodeRef, missing: Tensor) -> Tensor:
    """`[d]`: by how much less a node writes when its site's activation lacks `missing` `[d]` there."""
    reading = attribution.reading
    assert target.site is not None
    encoded, q = reading.clean[target.site], target.position
    here = encoded.positions == q
    lost = (encoded.encoder[here] @ missing) / encoded.s_in[q] * encoded.s_out[q]
    if target.kind == "error":
        return missing - lost @ encoded.decoder[here]
    row = encoded.rows.get((q, target.index or 0))
    if row is None:
        # only the contrast prompt has it: nothing here makes it weaker
        return torch.zeros_like(missing)
    mine = encoded.indices[here] == target.index
    return lost[mine][0] * encoded.decoder[row]


@dataclass(frozen=True)
class Scaling:
    """A node at several strengths, as factors of what it is in the prompt.

    `values`: the metric at each; `slope`: what it is estimated to gain a factor of one; `logits`
    `[len(factors), vocabulary]` where the target's first token is read. `there`: the factor at which a
    feature is what it is in the contrast prompt, None without one, and for errors, which differ in
    direction.
    """

    factors: tuple[float, ...]
    values: tuple[float, ...]
    slope: float
    logits: Tensor
    there: float | None = None


@torch.no_grad()
def scale(explanation: Explanation, node: NodeId, factors: Sequence[float]) -> Scaling:
    """Write a node `factor` times as strongly as the prompt does, for each of `factors`.

    0 takes it out, 1 changes nothing. Raises InputError on what cannot be removed, and on what only the
    contrast prompt has.
    """
    model, attribution = explanation.loaded.model, explanation.attribution
    reading, target, ref = attribution.reading, attribution.target, parse_node(node)
    reading.written(ref)
    assert ref.site is not None
    vector = clean_vector(reading, ref)
    if not vector.any():
        raise InputError(f"{node} is active only in the contrast prompt: there is nothing to scale")
    more = torch.tensor([factor - 1 for factor in factors], device=vector.device)

    def stretch(some: Tensor, activation: Tensor) -> Tensor:
        changed = activation.clone()
        changed.flatten(start_dim=2)[:, ref.position] += some[:, None] * vector
        return changed

    ids, count = model.ids(reading.cut.tokens), len(more)
    at_once = forward_rows(model, ids.shape[1], count, len(target.positions))
    logits = torch.cat(
        [
            model.forward(
                ids.expand(len(some), -1),
                [(ref.site, partial(stretch, some))],
                target.positions,
            )
            for some in torch.split(more, at_once)
        ]
    )
    return Scaling(
        tuple(factors),
        tuple(float(value) for value in value_at(target, logits)),
        float(vector @ attribution.gradients[ref.site][ref.position]),
        logits[:, 0],
        _there(reading, ref),
    )


def _there(reading: Reading, node: NodeRef) -> float | None:
    """A feature's strength in the contrast prompt, as a factor of what it is in the prompt."""
    if reading.against is None or node.kind == "error":
        return None
    assert node.site is not None and node.index is not None
    clean = reading.clean[node.site]
    here = clean.strengths[clean.rows[node.position, node.index]]
    more = reading.encoded[node.site].strengths[reading.row(node)]
    return float(1 - more / here)
