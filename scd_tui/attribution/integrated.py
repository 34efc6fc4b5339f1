"""Node effects by integrated gradients: the gradient averaged on the way from nothing to the clean run.

At one site at a time, the features and the error are brought up together from zero (with a contrast
prompt, from what they are there) to what they are, while the constant stays (Marks et al. 2024, section
3.1; Sundararajan et al. 2017):

    x(α) = constant + α (Σ_i a_i d_i + err)        n(i) = a_i d_i · ∫₀¹ ∂m/∂x (x(α)) dα

so that the effects of a site's features and errors add up to what the metric loses without all of
them, up to the quadrature. Where the gradient is flat at the clean run, this still sees the way there.
Sinks that are left out stay as they are all along.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from scd_tui.attribution.attribute import Reading, Scores
from scd_tui.attribution.metric import value_at
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.room import rows_at_once
from scd_tui.catalog.passes import Asked
from scd_tui.graph import Site, Target

STEPS = 10


def integrated_effects(
    model: LanguageModel,
    reading: Reading,
    target: Target,
    steps: int = STEPS,
    batch: int = STEPS,
) -> Iterator[tuple[Site, Scores]]:
    """Effects of every node, one site after the other, from the last to the first.

    The midpoint rule with `steps` points, at most `batch` of them in one pass.
    """
    asked = Asked(reading.cut.sizes, (), read=len(target.positions))
    each = asked.averaging(len(reading.cut.tokens))
    points = (torch.arange(steps, device=model.device) + 0.5) / steps
    for site in reversed(reading.sites):
        gradient = torch.zeros_like(reading.cut.activation(site))
        batch = rows_at_once(model.device, each, batch)
        for start in range(0, steps, batch):
            some = points[start : start + batch]
            gradient += _summed_gradient(model, reading, target, site, some)
        yield site, reading.split(site, gradient[None] / steps)[0]


def _summed_gradient(
    model: LanguageModel, reading: Reading, target: Target, site: Site, points: Tensor
) -> Tensor:
    """`[pos, d]`: Σ ∂m/∂x over the points of the way `[steps]`, each in a run of its own."""
    origin = reading.origin(site)
    # sinks that are left out stay what they are all along the path
    along = (reading.cut.activation(site) - origin) * reading.counted[:, None]
    origin = reading.cut.activation(site) - along
    way = (origin + points.to(along.dtype)[:, None, None] * along).requires_grad_()
    with torch.enable_grad():
        logits = model.forward(
            model.ids(reading.cut.tokens).expand(len(points), -1),
            [(site, lambda x: way.reshape(x.shape))],
            target.positions,
        )
        (gradient,) = torch.autograd.grad(value_at(target, logits).sum(), way)
    return gradient.sum(dim=0)
