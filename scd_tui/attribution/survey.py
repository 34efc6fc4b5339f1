"""Trust over whole prompt sets: how far scores can be believed on a model, by metric and method.

Node effects by each method are held against the same exact effects, those of its own strongest features.
Edges are gradients whatever the method, so a prompt and a metric have one trust of edges.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.attribute import Attribution
from scd_tui.attribution.explain import explain, measure_edges
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.methods import effects_by
from scd_tui.attribution.trust import OVERALL, strongest_features, trust_scores
from scd_tui.catalog.prompts import Prompt, PromptSet
from scd_tui.errors import InputError
from scd_tui.graph import METHODS, METRICS, Method, Metric, NodeRef, Settings, TrustScores

COMPARED: tuple[Method, ...] = tuple(method for method in METHODS if method != "exact")
"""The methods whose effects are estimates: exact effects are what these are held against."""
STATISTICS = ("abs_spearman", "signed_spearman", "sign_agreement", "relative_error")
"""The fields of `TrustScores` that are summed up; for all but the last, larger is better."""
EDGES = "edges_abs_spearman"
"""What `abs_spearman` of the edges is called among a set's statistics."""


@dataclass(frozen=True)
class PromptTrust:
    """One prompt's trust under one metric: of node effects by one method, and of edges."""

    prompt_set: str
    prompt: str
    metric: Metric
    method: Method
    scores: TrustScores
    edges: TrustScores


@dataclass(frozen=True)
class SetTrust:
    """A set's trust under one metric, by one method: of each statistic the median and the worst prompt.

    By the names of `STATISTICS`, and `EDGES`. The worst is the minimum, for `relative_error` the
    maximum. None where no prompt has a value.
    """

    prompt_set: str
    metric: Metric
    method: Method
    prompts: int
    median: dict[str, float | None]
    worst: dict[str, float | None]


def prompt_trust(
    loaded: LoadedModel, prompt: Prompt, metric: Metric, methods: Sequence[Method] = COMPARED
) -> tuple[dict[Method, TrustScores], TrustScores]:
    """Explain a prompt's target (for `diff`, against its contrast): trust by method, and of edges.

    Raises InputError on what the model cannot be asked.
    """
    explanation = explain(
        loaded,
        prompt.text,
        target=prompt.target,
        contrast=prompt.contrast if metric == "diff" else None,
        metric=metric,
        settings=Settings(),
    )
    attribution = explanation.attribution
    reading, target = attribution.reading, attribution.target
    found = {method: _by(method, loaded, attribution) for method in methods}
    nodes = {method: strongest_features(found[method], OVERALL) for method in methods}
    exact: dict[NodeRef, float] = {}
    wanted = list(dict.fromkeys(node for chosen in nodes.values() for node in chosen))
    for batch in exact_effects(loaded.model, reading, target, wanted):
        exact.update(batch)
    scores = {
        method: trust_scores(
            [found[method].effect(node.id) for node in chosen], [exact[node] for node in chosen]
        )
        for method, chosen in nodes.items()
    }
    *_, edges = measure_edges(explanation)
    assert edges is not None, "the last is the trust"
    return scores, edges


def _by(method: Method, loaded: LoadedModel, attribution: Attribution) -> Attribution:
    """The same attribution with effects by another method; its edges stay."""
    reading = attribution.reading
    effects_of = effects_by(method, loaded.model, reading, attribution.target)
    effects = dict(attribution.effects)
    for site in reading.sites:
        effects[site] = effects_of(site, effects[site])
    return replace(attribution, effects=effects)


def survey(
    loaded: LoadedModel,
    sets: Iterable[PromptSet],
    metrics: Iterable[Metric] = METRICS,
    methods: Sequence[Method] = COMPARED,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[PromptTrust]:
    """Every prompt of every set under every metric, by every method.

    Raises InputError, naming the prompt, on what the model cannot be asked.
    """
    work = [(s.name, prompt, metric) for s in sets for metric in metrics for prompt in s.prompts]
    for done, (name, prompt, metric) in enumerate(work, start=1):
        try:
            scores, edges = prompt_trust(loaded, prompt, metric, methods)
        except InputError as error:
            raise InputError(f"the prompt {prompt.text!r} of {name!r}: {error}") from None
        for method in methods:
            yield PromptTrust(name, prompt.text, metric, method, scores[method], edges)
        on_progress(done, len(work))


def summarise(found: Iterable[PromptTrust]) -> list[SetTrust]:
    """One row a set, metric and method, in the order in which they were met."""
    groups: dict[tuple[str, Metric, Method], list[PromptTrust]] = {}
    for one in found:
        groups.setdefault((one.prompt_set, one.metric, one.method), []).append(one)
    rows = []
    for key, trusts in groups.items():
        middle: dict[str, float | None] = {}
        worst: dict[str, float | None] = {}
        for statistic in (*STATISTICS, EDGES):
            values = [v for one in trusts if (v := _statistic(one, statistic)) is not None]
            bad = max if statistic == "relative_error" else min
            middle[statistic] = median(values) if values else None
            worst[statistic] = bad(values) if values else None
        rows.append(SetTrust(*key, len(trusts), middle, worst))
    return rows


def _statistic(one: PromptTrust, name: str) -> float | None:
    value: float | None
    value = one.edges.abs_spearman if name == EDGES else getattr(one.scores, name)
    return value


def worst_set(rows: Iterable[SetTrust]) -> SetTrust | None:
    """The row with the lowest median of the headline statistic."""
    known = [row for row in rows if row.median["abs_spearman"] is not None]
    return min(known, key=lambda row: row.median["abs_spearman"] or 0.0, default=None)
