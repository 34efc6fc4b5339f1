"""Effects measured: the same forward pass with nodes taken out.

What a node writes is subtracted from the activation at its site and position, and everything after
it recomputes. No dictionary is in the loop and no feature is selected anew; errors of other nodes stay
as they were in the clean run, because only this one vector is removed.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scd_tui.attribution.attribute import Reading
from scd_tui.attribution.metric import value_at
from scd_tui.attribution.model import LanguageModel
from scd_tui.graph import NodeRef, Site, Target

BATCH = 32
"""Ablations that share one forward pass."""


@torch.no_grad()
def ablated_logits(
    model: LanguageModel, reading: Reading, nodes: Sequence[NodeRef], position: int
) -> Tensor:
    """Logits `[len(nodes), vocabulary]` at a position, each row without one of the nodes.

    Raises InputError on nodes that cannot be removed: embeddings and the root.
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
            flat[row, node.position] -= reading.written(node)
        return flat.reshape(changed.shape)

    edits = [(site, lambda x, site=site: remove(site, x)) for site in rows]
    ids = model.ids(reading.cut.tokens).expand(len(nodes), -1)
    return model.forward(ids, edits)[:, position]


@torch.no_grad()
def exact_effects(
    model: LanguageModel,
    reading: Reading,
    target: Target,
    nodes: Sequence[NodeRef],
    batch: int = BATCH,
) -> Iterator[dict[NodeRef, float]]:
    """What the metric loses without each node alone; one dictionary a forward pass."""
    clean = value_at(target, reading.cut.logits.detach()[target.position])
    for start in range(0, len(nodes), batch):
        group = nodes[start : start + batch]
        values = value_at(target, ablated_logits(model, reading, group, target.position))
        yield dict(zip(group, (clean - values).tolist(), strict=True))
