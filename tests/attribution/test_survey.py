import pytest

from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.survey import PromptTrust, SetTrust, summarise, survey, worst_set
from scd_tui.catalog.prompts import load_prompt_sets
from scd_tui.export.trust_table import HEADINGS, markdown, trust_row
from scd_tui.graph import TrustScores


def scores(*values: float | None) -> TrustScores:
    return TrustScores(100, *values)


def test_a_set_is_summed_up_by_its_median_and_its_worst_prompt() -> None:
    found = [
        PromptTrust("a", "1", "diff", scores(0.5, 0.9, 1.0, 0.3)),
        PromptTrust("a", "2", "diff", scores(0.7, 0.8, 0.9, 0.1)),
        PromptTrust("a", "3", "diff", scores(0.6, None, 0.8, 0.2)),
        PromptTrust("b", "1", "logp", scores(None, None, None, None)),
    ]
    first, second = summarise(found)
    assert (first.prompt_set, first.metric, first.prompts) == ("a", "diff", 3)
    assert first.median == pytest.approx(
        {
            "abs_spearman": 0.6,
            "signed_spearman": 0.85,
            "sign_agreement": 0.9,
            "relative_error": 0.2,
        }
    )
    assert first.worst == {
        "abs_spearman": 0.5,
        "signed_spearman": 0.8,
        "sign_agreement": 0.8,
        "relative_error": 0.3,
    }
    assert set(second.median.values()) == {None}
    assert worst_set([first, second]) is first


def test_the_table_is_markdown_with_the_worst_in_brackets() -> None:
    text = markdown([HEADINGS, trust_row("[x]\x1b", "diff", 3, [(0.5, 0.25), (None, None)] * 2)])
    heading, rule, row = text.splitlines()
    assert heading.startswith("| set") and set(rule) <= {"|", "-"}
    assert "| [x]\\x1b | diff " in row and "| 0.50 (0.25) " in row and "| n/a " in row
    assert len({len(line) for line in (heading, rule, row)}) == 1


def test_gradient_effects_can_be_trusted_on_every_bundled_set(demo: LoadedModel) -> None:
    """With each set's own contrast: the medians that the README claims, not below 0.6 and 0.8."""
    rows: list[SetTrust] = summarise(survey(demo, load_prompt_sets(), ["diff"]))
    assert sum(row.prompts for row in rows) >= 100
    for row in rows:
        assert row.median["abs_spearman"] is not None and row.median["signed_spearman"] is not None
        assert row.median["abs_spearman"] >= 0.6, row
        assert row.median["signed_spearman"] >= 0.8, row
