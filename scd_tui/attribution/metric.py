"""The number that is explained, as a function of logits. Positive pushes towards the target.

- `diff`: logit(target) - logit(contrast); the contrast is held fixed.
- `logp`: log-probability of the target, in nats (the post's loss, negated). Its gradient fades as the
  probability nears 1.
- `logit`: the target's logit minus the mean logit.
"""

import torch
from torch import Tensor

from scd_tui.attribution.model import LanguageModel
from scd_tui.errors import InputError
from scd_tui.graph import METRICS, Metric, Target, Token


def resolve_target(
    model: LanguageModel,
    tokens: tuple[Token, ...],
    logits: Tensor,
    *,
    target: str | int,
    contrast: str | int | None = None,
    metric: Metric = "diff",
    position: int | None = None,
) -> Target:
    """Fix what is explained, against the unmodified model's logits `[pos, vocabulary]`.

    Without a contrast, `diff` takes the likeliest token other than the target. `position` counts from
    the end when negative. Raises InputError on tokens, positions and metrics that do not exist.
    """
    if metric not in METRICS:
        raise InputError(f"there is no metric {metric!r}: use one of {', '.join(METRICS)}")
    last = len(tokens) - 1
    place = last if position is None else position + len(tokens) * (position < 0)
    if not 0 <= place <= last:
        raise InputError(f"there is no position {position}: the prompt has positions 0 to {last}")
    here = logits[place]
    wanted = model.single_token(target)
    if metric != "diff":
        if contrast is not None:
            raise InputError(f"the metric {metric} has no contrast: leave it out, or use diff")
        return Target(metric, place, model.completion(wanted.id, here))
    if contrast is None:
        best = model.completions(here, 2)
        other = best[1] if best[0].token.id == wanted.id else best[0]
        return Target(metric, place, model.completion(wanted.id, here), other, True)
    against = model.single_token(contrast, "contrast")
    if against.id == wanted.id:
        raise InputError("the contrast is the target itself: choose another token")
    return Target(
        metric, place, model.completion(wanted.id, here), model.completion(against.id, here)
    )


def metric_value(target: Target, logits: Tensor) -> Tensor:
    """The metric `[...]` of logits `[..., pos, vocabulary]`."""
    return value_at(target, logits[..., target.position, :])


def value_at(target: Target, here: Tensor) -> Tensor:
    """The metric `[...]` of logits at the target's position, `[..., vocabulary]`."""
    wanted = here[..., target.target.token.id]
    if target.metric == "diff":
        assert target.contrast is not None, "a diff always has a contrast"
        return wanted - here[..., target.contrast.token.id]
    if target.metric == "logp":
        return wanted - torch.logsumexp(here, dim=-1)
    return wanted - here.mean(dim=-1)


def warnings(target: Target) -> tuple[str, ...]:
    """What a reader of the scores should know of the metric."""
    if target.saturated:
        return (
            f"logp is nearly flat at p = {target.target.probability:.3f}: "
            "its gradient says little about ablation here, diff says more",
        )
    return ()
