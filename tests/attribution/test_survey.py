from dataclasses import replace

import pytest
from tiny import PROMPT

from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.explain import explain, measure_edges
from scd_tui.attribution.integrated import integrated_effects
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.survey import (
    COMPARED,
    EDGES,
    PromptTrust,
    SetTrust,
    prompt_trust,
    summarise,
    survey,
    worst_set,
)
from scd_tui.attribution.trust import strongest_features, trust_scores
from scd_tui.catalog.prompts import (
    Prompt,
    PromptSet,
    load_prompt_sets,
    prompts_dir,
    read_prompt_set,
)
from scd_tui.export.trust_table import HEADINGS, markdown, trust_row
from scd_tui.graph import Metric, TrustScores


def scores(*values: float | None) -> TrustScores:
    return TrustScores(100, *values)


def test_a_set_is_summed_up_by_its_median_and_its_worst_prompt() -> None:
    edges, more, none = (scores(rho, 1.0, 1.0, 0.0) for rho in (0.4, 0.8, None))
    found = [
        PromptTrust("a", "1", "diff", "gradient", scores(0.5, 0.9, 1.0, 0.3), edges),
        PromptTrust("a", "1", "diff", "integrated", scores(0.9, 0.9, 1.0, 0.3), edges),
        PromptTrust("a", "2", "diff", "gradient", scores(0.7, 0.8, 0.9, 0.1), edges),
        PromptTrust("a", "3", "diff", "gradient", scores(0.6, None, 0.8, 0.2), more),
        PromptTrust("b", "1", "logp", "gradient", scores(None, None, None, None), none),
    ]
    first, other, second = summarise(found)
    assert (first.prompt_set, first.metric, first.method) == ("a", "diff", "gradient")
    assert first.prompts == 3
    assert first.median == pytest.approx(
        {
            "abs_spearman": 0.6,
            "signed_spearman": 0.85,
            "sign_agreement": 0.9,
            "relative_error": 0.2,
            EDGES: 0.4,
        }
    )
    assert first.worst == {
        "abs_spearman": 0.5,
        "signed_spearman": 0.8,
        "sign_agreement": 0.8,
        "relative_error": 0.3,
        EDGES: 0.4,
    }
    assert (other.method, other.prompts, other.median["abs_spearman"]) == ("integrated", 1, 0.9)
    assert set(second.median.values()) == {None}
    assert worst_set([other, first, second]) is first


def test_the_table_is_markdown_with_the_worst_in_brackets() -> None:
    cells = [(0.5, 0.25), (None, None), (0.5, 0.25), (0.5, 0.25), (0.875, 0.75)]
    text = markdown([HEADINGS, trust_row("[x]\x1b", "diff", "integrated", 3, cells)])
    heading, rule, row = text.splitlines()
    assert heading.startswith("| set") and set(rule) <= {"|", "-"}
    assert "| [x]\\x1b | diff   | integrated | 3 " in row
    assert "| 0.50 (0.25) " in row and "| n/a " in row and row.endswith("| 0.88 (0.75) |")
    assert len({len(line) for line in (heading, rule, row)}) == 1


@pytest.mark.parametrize("metric", ["diff", "logp"])
def test_each_method_is_held_against_the_ablation_of_its_own_strongest_features(
    tiny_loaded: LoadedModel, metric: Metric
) -> None:
    model = tiny_loaded.model
    wanted, against = (model.token(i).text for i in (40, 41))
    prompt = Prompt(text=PROMPT, target=wanted, contrast=against)
    found, edges = prompt_trust(tiny_loaded, prompt, metric)
    assert tuple(found) == COMPARED == ("gradient", "integrated")

    explanation = explain(
        *(tiny_loaded, PROMPT),
        target=40,
        contrast=41 if metric == "diff" else None,
        metric=metric,
    )
    plain = explanation.attribution
    effects = dict(integrated_effects(model, plain.reading, plain.target))
    for method, attribution in (
        ("gradient", plain),
        ("integrated", replace(plain, effects={**plain.effects, **effects})),
    ):
        nodes = strongest_features(attribution, 100)
        exact = {}
        for batch in exact_effects(model, plain.reading, plain.target, nodes):
            exact.update(batch)
        expected = trust_scores(
            [attribution.effect(node.id) for node in nodes], [exact[node] for node in nodes]
        )
        assert as_numbers(found[method]) == pytest.approx(as_numbers(expected), abs=1e-3)
    assert as_numbers(found["gradient"]) != pytest.approx(as_numbers(found["integrated"]))
    assert edges == list(measure_edges(explanation))[-1]


def as_numbers(found: TrustScores) -> tuple:
    return (
        *(found.n, found.abs_spearman, found.signed_spearman),
        *(found.sign_agreement, found.relative_error),
    )


def test_every_prompt_is_surveyed_under_every_metric_by_every_method(
    tiny_loaded: LoadedModel,
) -> None:
    token = tiny_loaded.model.token
    prompts = tuple(Prompt(text=PROMPT[:n], target=token(40).text) for n in (9, 12))
    told: list[tuple[int, int]] = []
    found = list(
        survey(
            *(tiny_loaded, [PromptSet(name="a", description="", prompts=prompts)]),
            metrics=("logp", "logit"),
            on_progress=lambda done, total: told.append((done, total)),
        )
    )
    assert [(one.prompt, one.metric, one.method) for one in found] == [
        (prompt.text, metric, method)
        for metric in ("logp", "logit")
        for prompt in prompts
        for method in COMPARED
    ]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_gradient_effects_can_be_trusted_on_every_bundled_set(demo: LoadedModel) -> None:
    """With each set's own contrast: medians not below what the README claims, rounded down."""
    rows: list[SetTrust] = summarise(survey(demo, load_prompt_sets(), ["diff"], ["gradient"]))
    assert sum(row.prompts for row in rows) >= 100
    for row in rows:
        assert row.median["abs_spearman"] is not None and row.median["signed_spearman"] is not None
        assert row.median["abs_spearman"] >= 0.6, row
        assert row.median["signed_spearman"] >= 0.8, row
        assert row.median[EDGES] is not None and row.median[EDGES] >= 0.7, row


def test_by_gradient_diff_comes_nearer_to_ablation_than_other_metrics_and_methods(
    demo: LoadedModel,
) -> None:
    """What the README tells its readers to use, on the memorised prompts."""
    memorised = read_prompt_set(prompts_dir() / "post.toml")
    first, *others = summarise(survey(demo, [memorised]))
    assert (first.metric, first.method, len(others)) == ("diff", "gradient", 5)
    for other in others:
        for statistic in ("abs_spearman", "signed_spearman", "sign_agreement"):
            assert (first.median[statistic] or 0) > (other.median[statistic] or 0), other
