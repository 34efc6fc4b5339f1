"""Trust over whole prompt sets: how far gradient effects can be believed on a model, by kind of prompt."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median

from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.attribute import attribute, read, strongest
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.trust import OVERALL, strongest_features, trust_scores
from scd_tui.catalog.prompts import Prompt, PromptSet
from scd_tui.graph import METRICS, Metric, NodeRef, TrustScores

STATISTICS = ("abs_spearman", "signed_spearman", "sign_agreement", "relative_error")
"""The fields of `TrustScores` that are summed up; for all but the last, larger is better."""


@dataclass(frozen=True)
class PromptTrust:
    """One prompt's trust under one metric."""

    prompt_set: str
    prompt: str
    metric: Metric
    scores: TrustScores


@dataclass(frozen=True)
class SetTrust:
    """A set's trust under one metric: of each statistic the median and the worst over its prompts.

    The worst is the minimum, for `relative_error` the maximum. None where no prompt has a value.
    """

    prompt_set: str
    metric: Metric
    prompts: int
    median: dict[str, float | None]
    worst: dict[str, float | None]


def prompt_trust(loaded: LoadedModel, prompt: Prompt, metric: Metric) -> TrustScores:
    """Attribute a prompt to its target (for `diff`, against its contrast) and measure the trust."""
    tokens = loaded.model.prompt(prompt.text)
    reading = read(loaded.model, tokens, loaded.dictionaries)
    target = resolve_target(
        loaded.model,
        tokens,
        reading.cut.logits.detach(),
        target=prompt.target,
        contrast=prompt.contrast if metric == "diff" else None,
        metric=metric,
    )
    attribution = attribute(reading, target, strongest(1))
    nodes = strongest_features(attribution, OVERALL)
    exact: dict[NodeRef, float] = {}
    for batch in exact_effects(loaded.model, reading, target, nodes):
        exact.update(batch)
    return trust_scores(
        [attribution.effect(node.id) for node in nodes], [exact[node] for node in nodes]
    )


def survey(
    loaded: LoadedModel,
    sets: Iterable[PromptSet],
    metrics: Iterable[Metric] = METRICS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[PromptTrust]:
    """Every prompt of every set under every metric."""
    work = [(s.name, prompt, metric) for s in sets for metric in metrics for prompt in s.prompts]
    for done, (name, prompt, metric) in enumerate(work, start=1):
        yield PromptTrust(name, prompt.text, metric, prompt_trust(loaded, prompt, metric))
        on_progress(done, len(work))


def summarise(found: Iterable[PromptTrust]) -> list[SetTrust]:
    """One row a set and metric, in the order in which they were met."""
    groups: dict[tuple[str, Metric], list[TrustScores]] = {}
    for one in found:
        groups.setdefault((one.prompt_set, one.metric), []).append(one.scores)
    rows = []
    for (name, metric), scores in groups.items():
        middle: dict[str, float | None] = {}
        worst: dict[str, float | None] = {}
        for statistic in STATISTICS:
            values = [v for s in scores if (v := getattr(s, statistic)) is not None]
            bad = max if statistic == "relative_error" else min
            middle[statistic] = median(values) if values else None
            worst[statistic] = bad(values) if values else None
        rows.append(SetTrust(name, metric, len(scores), middle, worst))
    return rows


def worst_set(rows: Iterable[SetTrust]) -> SetTrust | None:
    """The row with the lowest median of the headline statistic."""
    known = [row for row in rows if row.median["abs_spearman"] is not None]
    return min(known, key=lambda row: row.median["abs_spearman"] or 0.0, default=None)
