import pytest
from attributing import metric_value
from tiny import PROMPT

from scd_tui.attribution.chosen import chosen_curves
from scd_tui.attribution.explain import Explanation, explain
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.trust import strongest_features
from scd_tui.errors import InputError
from scd_tui.graph import NodeRef


@pytest.fixture(scope="module")
def explanation(tiny_loaded: LoadedModel) -> Explanation:
    return explain(tiny_loaded, PROMPT, target=7, contrast=11)


def test_the_strongest_chosen_by_hand_have_the_curve_of_the_strongest(
    explanation: Explanation,
) -> None:
    nodes = [ref.id for ref in strongest_features(explanation.attribution, 5)]
    columns = {(c.order, c.errors): c for c in chosen_curves(explanation, nodes[::-1])}
    assert len(columns) == 6
    for errors in (True, False):
        mine, strongest = columns["chosen", errors].curve, columns["effect", errors].curve
        assert mine is not None and strongest is not None
        assert mine.sizes == (0, 1, 2, 3, 4, 5)
        assert mine.faithfulness == pytest.approx(strongest.faithfulness, abs=1e-5)
        assert mine.completeness == pytest.approx(strongest.completeness, abs=1e-5)
        assert mine.faithfulness[0] == 0.0
    others = columns["random", True].curve
    assert others is not None and others.faithfulness[1:] != mine.faithfulness[1:]


def test_everything_chosen_is_the_model_while_errors_are_kept(explanation: Explanation) -> None:
    reading = explanation.attribution.reading
    nodes = [
        NodeRef("feature", position, site, index).id
        for site in reading.sites
        for position, index in reading.encoded[site].pairs
    ]
    told: list[tuple[int, int]] = []
    columns = chosen_curves(
        explanation, [*nodes, "mlp_out.1/error@3"], lambda *step: told.append(step)
    )
    mine = next(c for c in columns if c.order == "chosen" and c.errors)
    assert mine.curve is not None and mine.count == len(nodes)
    assert mine.curve.faithfulness[-1] == pytest.approx(1.0, abs=1e-3)
    assert told[0] == (0, 6) and told[-1] == (6, 6)


def test_other_features_than_the_strongest_have_another_curve(explanation: Explanation) -> None:
    weak = [ref.id for ref in strongest_features(explanation.attribution, 40)[30:]]
    columns = {(c.order, c.errors): c for c in chosen_curves(explanation, weak)}
    mine, strongest = columns["chosen", True].curve, columns["effect", True].curve
    assert mine is not None and strongest is not None
    assert mine.faithfulness[-1] != pytest.approx(strongest.faithfulness[-1], abs=1e-3)


def test_without_a_feature_there_is_no_curve(explanation: Explanation) -> None:
    with pytest.raises(InputError, match="pin some first"):
        chosen_curves(explanation, ["mlp_out.1/error@3", "embed/token@0"])
    with pytest.raises(InputError, match="not active"):
        chosen_curves(explanation, ["mlp_out.1/9999@3"])


def test_with_a_contrast_prompt_what_is_out_is_as_it_is_there(tiny_loaded: LoadedModel) -> None:
    model, prompts = (
        tiny_loaded.model,
        ("the cat sat on the mat. To be", "the mat sat on the cat. be To"),
    )
    held = explain(tiny_loaded, prompts[0], target=7, contrast=11, contrast_prompt=prompts[1])
    there = model.forward(model.ids(held.circuit.contrast_tokens))[0]
    nodes = [ref.id for ref in strongest_features(held.attribution, 3)]
    columns = {(c.order, c.errors): c for c in chosen_curves(held, nodes)}
    assert {column.baseline for column in columns.values()} == {"contrast"}
    without_errors = columns["chosen", False].empty
    assert without_errors == pytest.approx(
        float(metric_value(held.circuit.target, there)), abs=1e-3
    )
    assert columns["chosen", True].empty != pytest.approx(without_errors, abs=1e-2)
