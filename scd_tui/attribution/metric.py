"""The number that is explained, as a function of logits. Positive pushes towards the target.

- `diff`: logit(target) - logit(contrast); the contrast is held fixed.
- `logp`: log-probability of the target, in nats (the post's loss, negated). Its gradient fades as the
  probability nears 1.
- `logit`: the target's logit minus the mean logit.

Of a target of several tokens it is the sum over them, each read where those before it stand in the
prompt ("teacher-forced").
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from scd_tui.attribution.model import LanguageModel
from scd_tui.errors import InputError
from scd_tui.graph import METRICS, Metric, Step, Target, Token


def resolve_target(
    model: LanguageModel,
    tokens: tuple[Token, ...],
    logits: Tensor | Mapping[int, Tensor],
    *,
    target: str | int | Sequence[int],
    contrast: str | int | Sequence[int] | None = None,
    metric: Metric = "diff",
    position: int | None = None,
) -> Target:
    """Fix what is explained, against the unmodified model's logits `[vocabulary]` by position.

    Without a contrast, `diff` takes the likeliest token other than the target. `position` counts from
    the end when negative. A target of several tokens, given by their ids, has to stand in `tokens` but for
    its last; `position` is where its first is read, by default so that its last is read at the end.
    Raises InputError on tokens, positions and metrics that do not exist.
    """
    if metric not in METRICS:
        raise InputError(f"there is no metric {metric!r}: use one of {', '.join(METRICS)}")
    if metric != "diff" and contrast is not None:
        raise InputError(f"the metric {metric} has no contrast: leave it out, or use diff")
    wanted = named_tokens(model, target)
    against = None if contrast is None else named_tokens(model, contrast, "contrast")
    place = _place(tokens, len(wanted), position)
    following = tuple(token.id for token in tokens[place + 1 : place + len(wanted)])
    if following != tuple(token.id for token in wanted[:-1]):
        raise InputError("a target of several tokens follows the prompt: leave out the position")
    if against is not None and len(against) != len(wanted):
        raise InputError(
            f"the contrast has {_count(against)} and the target {_count(wanted)}: "
            "they are held against each other token by token, so give as many"
        )
    if metric == "diff" and against is not None and against == wanted:
        same = " ".join(f"{token.text!r} #{token.id}" for token in wanted)
        raise InputError(f"the contrast is the target itself, {same}: choose another token")
    steps = [
        _step(model, logits[place + n], token, metric, None if against is None else against[n])
        for n, token in enumerate(wanted)
    ]
    return Target(
        *(metric, place, steps[0].target, steps[0].contrast),
        contrast_is_default=metric == "diff" and against is None,
        later=tuple(steps[1:]),
    )


def positions_of(
    tokens: Sequence[Token], count: int, position: int | None = None
) -> tuple[int, ...]:
    """Where a target of `count` tokens is read, as `resolve_target` says. Raises InputError."""
    place = _place(tokens, count, position)
    return tuple(range(place, min(place + count, len(tokens))))


def _place(tokens: Sequence[Token], count: int, position: int | None) -> int:
    if position is None:
        position = len(tokens) - count
    place = position + len(tokens) * (position < 0)
    if not 0 <= place < len(tokens):
        raise InputError(
            f"there is no position {position}: the prompt has positions 0 to {len(tokens) - 1}"
        )
    return place


def named_tokens(
    model: LanguageModel, wanted: str | int | Sequence[int], role: str = "target"
) -> tuple[Token, ...]:
    """The tokens that are asked for: one by id or by text, several by ids. Raises InputError."""
    if isinstance(wanted, str | int):
        return (model.single_token(wanted, role),)
    if not wanted:
        raise InputError(f"the {role} is empty: give a token")
    return tuple(model.single_token(token_id, role) for token_id in wanted)


def _count(tokens: Sequence[Token]) -> str:
    return f"{len(tokens)} token{'s' * (len(tokens) != 1)}"


def _step(
    model: LanguageModel, here: Tensor, wanted: Token, metric: Metric, against: Token | None
) -> Step:
    """One token of a target under logits `[vocabulary]`."""
    if metric != "diff":
        return Step(model.completion(wanted.id, here))
    if against is None:
        best = model.completions(here, 2)
        other = best[1] if best[0].token.id == wanted.id else best[0]
        return Step(model.completion(wanted.id, here), other)
    return Step(model.completion(wanted.id, here), model.completion(against.id, here))


def value_at(target: Target, here: Tensor) -> Tensor:
    """The metric `[...]` of logits at the target's positions, `[..., steps, vocabulary]`."""
    values = [
        _step_value(target.metric, step, here[..., n, :]) for n, step in enumerate(target.steps)
    ]
    return torch.stack(values).sum(dim=0)


def _step_value(metric: Metric, step: Step, here: Tensor) -> Tensor:
    wanted = here[..., step.target.token.id]
    if metric == "diff":
        assert step.contrast is not None, "a diff always has a contrast"
        return wanted - here[..., step.contrast.token.id]
    if metric == "logp":
        return wanted - torch.logsumexp(here, dim=-1)
    return wanted - here.mean(dim=-1)


def warnings(target: Target) -> tuple[str, ...]:
    """What a reader of the scores should know of the metric."""
    if target.saturated:
        return (
            "logp is nearly flat at p = "
            f"{max(step.target.probability for step in target.steps):.3f}: "
            "its gradient says little about ablation here, diff says more",
        )
    return ()
