"""Several nodes taken out at once: what it does, and what the gradients say of it.

A node that is taken out alone is subtracted as it was in the clean run (`ablation`). Of several, one can
lie downstream of another, and then part of it has gone already when its turn comes. So at every site but
the first of them the dictionary reads what has arrived, and what the node writes *now* is subtracted: no
node is taken out twice, and all are left at nothing (with a contrast prompt, at what they are there).

The same holds for the estimate: a path that leads from one of the nodes through another one ends at that
other one, which is gone whatever reaches it. Node effects that are just added up count it twice. With S
the set, from the last site to the first:

    estimate += Σ_{u in S, here} written_u · g        g ← g − Σ_{u in S, here} pull_u(g)

and g is carried on along direct paths: one vector-Jacobian product a site.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from scd_tui.attribution.attribute import Attribution, Reading
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.metric import value_at
from scd_tui.attribution.model import LanguageModel
from scd_tui.errors import InputError
from scd_tui.graph import NodeRef, Site


@torch.no_grad()
def logits_without(
    model: LanguageModel,
    reading: Reading,
    dictionaries: Mapping[Site, Dictionary],
    sets: Sequence[Sequence[NodeRef]],
    positions: Sequence[int],
) -> Tensor:
    """Logits `[len(sets), len(positions), vocabulary]`, each row without all nodes of one set.

    Raises InputError on embeddings and the root, and on nodes that this reading has not.
    """
    rows: dict[Site, dict[int, list[NodeRef]]] = defaultdict(lambda: defaultdict(list))
    for row, nodes in enumerate(sets):
        for node in dict.fromkeys(nodes):
            reading.written(node)
            assert node.site is not None
            rows[node.site][row].append(node)
    touched: set[int] = set()

    def remove(site: Site, activation: Tensor) -> Tensor:
        changed = activation.clone()
        flat = changed.flatten(start_dim=2)
        for row, nodes in rows[site].items():
            if row in touched:
                now = _written_now(reading, dictionaries[site], nodes, flat[row])
            else:
                now = [reading.written(node) for node in nodes]
            for node, vector in zip(nodes, now, strict=True):
                flat[row, node.position] -= vector
        touched.update(rows[site])
        return flat.reshape(changed.shape)

    edits = [(site, partial(remove, site)) for site in reading.sites if site in rows]
    return model.forward(model.ids(reading.cut.tokens).expand(len(sets), -1), edits, positions)


def _written_now(
    reading: Reading, dictionary: Dictionary, nodes: Sequence[NodeRef], activation: Tensor
) -> list[Tensor]:
    """What nodes of a site write into an activation `[pos, d]`, beyond what is left of them."""
    at = sorted({node.position for node in nodes})
    encoded = dictionary.encode(activation[at])
    found = []
    for node in nodes:
        here = at.index(node.position)
        if node.kind == "error":
            vector = encoded.error[here]
        else:
            assert node.index is not None
            row = encoded.rows.get((here, node.index))
            vector = torch.zeros_like(activation[0])
            if row is not None:
                vector = encoded.strengths[row] * encoded.decoder[row]
        found.append(vector - _left(reading, node))
    return found


def _left(reading: Reading, node: NodeRef) -> Tensor:
    """`[d]`: what is left of a node that was taken out: nothing, or what the contrast prompt has."""
    return clean_vector(reading, node) - reading.written(node)


def clean_vector(reading: Reading, node: NodeRef) -> Tensor:
    """`[d]`: what a feature or error node writes in the prompt itself, contrast prompt or not."""
    assert node.site is not None
    clean = reading.clean[node.site]
    if node.kind == "error":
        return clean.error[node.position]
    assert node.index is not None
    row = clean.rows.get((node.position, node.index))
    if row is None:
        return torch.zeros_like(clean.error[0])
    return clean.strengths[row] * clean.decoder[row]


def estimate_without(attribution: Attribution, nodes: Sequence[NodeRef]) -> float:
    """What the metric is estimated to lose without all these nodes, by gradients.

    Raises InputError on embeddings and the root, and on nodes that the reading has not.
    """
    reading = attribution.reading
    cut, at = reading.cut, defaultdict[Site, list[NodeRef]](list)
    for node in dict.fromkeys(nodes):
        reading.written(node)
        assert node.site is not None
        at[node.site].append(node)
    if not at:
        raise InputError("there is no node to take out: choose one")
    metric = value_at(attribution.target, cut.logits_at(attribution.target.positions))
    gradients = {place: torch.zeros_like(cut.activation(place)) for place in cut.order}
    for place, product in cut.pull_back_root(metric).items():
        gradients[place] += product[0]
    total = 0.0
    first = next(site for site in reading.sites if site in at)
    for site in reversed(reading.sites):
        gradient = gradients[site]
        for node in at[site]:
            total += float(reading.written(node) @ gradient[node.position])
        if site == first:
            break
        if at[site]:
            here = replace(attribution, gradients={site: gradient})
            gradient = gradient - here.pulls(at[site]).sum(dim=0)
        for place, product in cut.pull_back(site, gradient[None]).items():
            gradients[place] += product[0]
    return total
