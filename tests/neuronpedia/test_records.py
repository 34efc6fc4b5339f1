"""Neuronpedia's feature response becomes a record, whatever is missing from it."""

from typing import Any

import msgspec
import pytest

from scd_tui.neuronpedia.records import Activation, FeatureRecord, distinct, parse_feature


def response(**changes: Any) -> dict[str, Any]:
    """A feature as the service sends it, cut to the fields that matter and one that does not."""
    return {
        "modelId": "gpt2-small",
        "layer": "6-res_post_32k-oai",
        "index": "100",
        "maxActApprox": 12.25,
        "vector": [],
        "frac_nonzero": 0.00112,
        "pos_str": [" John", " Mary"],
        "pos_values": [1.42, 1.17],
        "neg_str": [" nearly", " striking"],
        "neg_values": [-0.61, -10000],
        "freq_hist_data_bar_heights": [30, 12, 4],
        "freq_hist_data_bar_values": [2.0, 6.0, 10.0],
        "logits_hist_data_bar_heights": [100, 40000, 157],
        "logits_hist_data_bar_values": [-0.5, 0.0, 0.5],
        "explanations": [
            {
                "id": "a",
                "description": "names of people",
                "explanationModelName": "gpt-4o-mini",
                "typeName": "oai_token-act-pair",
                "scores": [{"value": 0.82}],
            }
        ],
        "activations": [
            {
                "tokens": [" gave", " to", " John"],
                "values": [0.0, 0.0, 12.25],
                "maxValue": 12.25,
                "maxValueTokenIndex": 2,
                "dfaValues": [],
            }
        ],
        **changes,
    }


def test_every_field_that_is_used_arrives() -> None:
    record = parse_feature(response())
    assert (record.model_id, record.source, record.index) == (
        "gpt2-small",
        "6-res_post_32k-oai",
        100,
    )
    assert record.max_activation == 12.25
    assert record.density == 0.00112
    assert record.positive_logits == ((" John", 1.42), (" Mary", 1.17))
    assert record.activation_histogram.heights == (30, 12, 4)
    assert record.logit_histogram.centres == (-0.5, 0.0, 0.5)
    assert record.explanations[0].description == "names of people"
    assert record.explanations[0].type_name == "oai_token-act-pair"
    assert record.explanations[0].explainer == "gpt-4o-mini"
    assert record.activations == (
        Activation((" gave", " to", " John"), (0.0, 0.0, 12.25), 12.25, 2),
    )


def test_a_missing_logit_is_left_out() -> None:
    assert parse_feature(response()).negative_logits == ((" nearly", -0.61),)


@pytest.mark.parametrize("index", ["7", 7])
def test_an_index_may_be_text_or_number(index: object) -> None:
    assert parse_feature(response(index=index)).index == 7


@pytest.mark.parametrize("field", ["modelId", "layer", "index"])
def test_a_response_that_names_no_feature_is_refused(field: str) -> None:
    with pytest.raises(ValueError):
        parse_feature(response(**{field: None}))


def test_nulls_and_missing_fields_are_empty() -> None:
    bare = {"modelId": "m", "layer": "0-x", "index": "3"}
    nulls = {key: None for key in response() if key not in bare}
    expected = FeatureRecord("m", "0-x", 3)
    assert parse_feature(bare) == expected
    assert parse_feature({**bare, **nulls}) == expected


def test_broken_entries_do_not_hide_the_good_ones() -> None:
    record = parse_feature(
        response(
            explanations=[None, {"description": None}, {"description": " "}, {"description": "x"}],
            activations=[None, {"tokens": [], "values": []}, {"tokens": ["a"], "values": [1.0]}],
        )
    )
    assert [e.description for e in record.explanations] == ["x"]
    assert [a.tokens for a in record.activations] == [("a",)]


def test_tokens_without_a_value_are_cut_off() -> None:
    activation = parse_feature(
        response(activations=[{"tokens": ["a", "b", "c"], "values": [1, 3]}])
    ).activations[0]
    assert activation == Activation(("a", "b"), (1.0, 3.0), 3.0, 1)


def test_repeated_contexts_are_hidden_and_the_strongest_comes_first() -> None:
    weak = Activation(("a", "b"), (1.0, 0.0), 1.0, 0)
    same_tokens = Activation(("b", "a"), (0.0, 2.0), 2.0, 1)
    other = Activation(("a", "a"), (3.0, 0.0), 3.0, 0)
    assert distinct([weak, same_tokens, other]) == (other, same_tokens)


def test_a_record_survives_json() -> None:
    record = parse_feature(response())
    assert msgspec.json.decode(msgspec.json.encode(record), type=FeatureRecord) == record


def test_the_choice_among_explanations_is_the_same_in_any_order() -> None:
    raw = [
        {"description": "z", "typeName": None, "explanationModelName": None},
        {"description": "b", "typeName": "oai_token-act-pair", "explanationModelName": "gpt-4o"},
        {"description": "a", "typeName": "np_max-act", "explanationModelName": "gpt-4o"},
        {"description": "c", "typeName": "np_max-act-logits", "explanationModelName": "gpt-9"},
        {"description": "a", "typeName": "np_max-act", "explanationModelName": "gpt-4o"},
    ]
    chosen = parse_feature(response(explanations=raw)).explanations
    assert [e.description for e in chosen] == ["c", "a", "z", "b"]
    assert parse_feature(response(explanations=raw[::-1])).explanations == chosen


def test_a_dead_feature_has_no_activations_and_other_values_are_in_their_range() -> None:
    silent = {"tokens": ["a", "b"], "values": [0.0, -1.0]}
    record = parse_feature(response(maxActApprox=0, frac_nonzero=-3, activations=[silent]))
    assert (record.max_activation, record.density, record.activations) == (0.0, 0.0, ())
    assert parse_feature(response(frac_nonzero=7)).density == 1.0


@pytest.mark.parametrize("index", [True, 1.5, -1, "-1", "１", "1e3", "9" * 11, None, [], 10**10])
def test_what_is_no_index_is_refused(index: object) -> None:
    with pytest.raises(ValueError, match="not a feature index"):
        parse_feature(response(index=index))


def test_lists_and_texts_have_their_bounds() -> None:
    many = [{"tokens": [f"t{n}"], "values": [n + 1]} for n in range(500)]
    record = parse_feature(
        response(
            explanations=[{"description": "x" * 10_000_000}],
            activations=many,
            pos_str=["t"] * 5_000,
            pos_values=[1.0] * 5_000,
        )
    )
    assert len(record.explanations[0].description) == 2_000
    assert len(record.activations) == 64 and len(record.positive_logits) == 32


def test_a_character_over_several_tokens_is_one_with_the_largest_of_their_values() -> None:
    context = {"tokens": ["Ġæ", "Ĺ", "¥", "Ġthe"], "values": [1.0, 4.0, 2.0, 3.0]}
    (found,) = parse_feature(response(activations=[context])).activations
    assert found.tokens == (" 日", " the") and found.values == (4.0, 3.0)
    assert (found.max_value, found.max_index) == (4.0, 0)
