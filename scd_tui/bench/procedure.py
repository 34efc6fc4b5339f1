"""The published procedure, timed on a few targets and scaled to all.

It takes one backward pass a target and one more for each site that confounds it, so that its time is
that of a target times their number. What a target takes depends on its kind (there are more sites to take
out above a residual stream than above an attention's output) and hardly on its layer, so that
an early, a middle and a late target of different kinds stand for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from scd_tui.bench.reference import HOOKS, Dense, Reference
from scd_tui.bench.stopwatch import Now, best_of
from scd_tui.graph import NodeId, Site


@dataclass(frozen=True)
class Procedure:
    """Seconds before any target (forward passes, node effects), and of each target that was timed."""

    before_s: float
    per_target_s: tuple[float, ...]

    def seconds(self, targets: int) -> float:
        """For so many targets."""
        return self.before_s + targets * fmean(self.per_target_s)


def spread(sites: Sequence[Site]) -> tuple[Site, ...]:
    """An early, a middle and a late site, of different kinds as far as there are any."""
    kinds = list(dict.fromkeys(site.kind for site in sites))
    layers = sorted({site.layer for site in sites})
    chosen: dict[Site, None] = {}
    for third in range(3):
        layer = layers[(2 * third + 1) * len(layers) // 6]
        here = [site for site in sites if site.layer == layer]
        wanted = kinds[third % len(kinds)]
        chosen[next((site for site in here if site.kind == wanted), here[0])] = None
    return tuple(chosen)


def applies(sites: Sequence[Site]) -> bool:
    """Whether the procedure knows all sites."""
    return all(site.kind in HOOKS for site in sites)


def timed(
    bridge: Any,
    saes: Mapping[Site, Any],
    token_ids: Sequence[int],
    metric: NodeId,
    targets: Sequence[NodeId],
    code: type[Dense],
    runs: int,
    now: Now,
) -> Procedure:
    """Time the procedure on some targets, with features held as `code` does."""

    def begin() -> Reference:
        reference = Reference(bridge, dict(saes), token_ids, code=code)
        reference.node_effects(metric)
        return reference

    before = best_of(runs, begin, now)
    reference = begin()
    return Procedure(
        before,
        tuple(
            best_of(runs, partial(reference.edges_into, target, metric), now) for target in targets
        ),
    )
