"""Whatever arrives, it becomes a bounded record that can be stored and shown, or a ValueError."""

import json
import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from neuronpedia.loopback import brief, feature
from rich.cells import cell_len
from tui.samples import circuit

from scd_tui.decoding import decode_any_json
from scd_tui.neuronpedia import records as r
from scd_tui.neuronpedia.records import FeatureRecord
from scd_tui.neuronpedia.wire import decode_feature, decode_features, says_unknown
from scd_tui.tui.detail import describe
from scd_tui.tui.records import RecordState
from scd_tui.tui.rows import Rows
from scd_tui.tui.store import CircuitStore

FULL = feature("6-res_post_32k-oai", 13)
NASTY = st.sampled_from(
    [
        "[/INST][bold]x",
        "\x1b[31mred\x1b[2J\x07",
        "\u202eabc\u2066",
        "\u200b\u00ad",
        "\ud800",
        "\n\r\t",
        "x" * 1_000_000,
        "Ġ" * 3_000,
        "\x9b31m",
        "e\u0301" * 50,
        "家" * 500,
    ]
)
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), NASTY
)
JSON = st.recursive(
    ODD,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


def check(record: FeatureRecord) -> None:
    """It is bounded, can be written and read, and says nothing to a terminal but text."""
    assert msgspec.json.decode(msgspec.json.encode(record), type=FeatureRecord) == record
    assert len(record.explanations) <= r.MAXIMUM_EXPLANATIONS
    assert len(record.activations) <= r.MAXIMUM_ACTIVATIONS
    assert len(msgspec.json.encode(record)) < 2_000_000
    rows = Rows(CircuitStore.of(circuit()))
    rows.unfold_all()
    item = next(i for i in rows.visible if i.kind == "node" and "/error" not in str(i.node))
    state = RecordState(record, looked_up=True)
    for line in describe(item, rows.store, state, "", 60):
        text = "".join(part for part, _ in line)
        assert cell_len(text) <= 60
        assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") for c in text)


@settings(max_examples=150, deadline=None)
@example({"freq_hist_data_bar_values": [1e26]})
@given(st.dictionaries(st.sampled_from(sorted(FULL)), JSON, max_size=6))
def test_any_field_can_be_anything(changes: dict[str, Any]) -> None:
    body = json.dumps({**FULL, **changes}).encode("utf-8", "surrogatepass")
    try:
        record = decode_feature(body)
    except ValueError as error:
        needed = {"modelId", "layer", "index", "explanations", "activations"}
        assert needed & set(changes) or "too long" in str(error)
        return
    assert record is not None
    check(record)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["tokens", "values", "maxValue", "description", "typeName"]),
    JSON,
    st.integers(0, 3),
)
def test_so_can_what_is_in_its_lists(name: str, value: Any, where: int) -> None:
    full = json.loads(json.dumps(FULL))
    lists = full["activations"] + full["explanations"]
    lists[where % len(lists)][name] = value
    try:
        record = decode_feature(json.dumps(full).encode())
    except ValueError as error:
        assert name in ("tokens", "values", "description") or "too long" in str(error)
        return
    check(record)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_nothing_are_refused(body: bytes) -> None:
    for decode in (decode_any_json, decode_feature, decode_features):
        try:
            decode(body)
        except ValueError:
            continue


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_body_with_one_byte_changed_is_read_or_refused(data: st.DataObject) -> None:
    body = bytearray(json.dumps([brief(FULL, 1)]).encode())
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.integers(0, 255))
    try:
        found = decode_features(bytes(body))
    except ValueError:
        return
    for record in found.records:
        check(record)


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_deep_json_is_refused_wherever_it_is(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for decode in (decode_any_json, decode_feature, decode_features):
        try:
            decode(deep)
        except ValueError:
            continue
    inside = json.dumps(FULL).encode()[:-1] + b', "other": ' + deep + b"}"
    try:
        record = decode_feature(inside)
    except ValueError:
        return
    assert record is not None and record.index == 13


def test_nan_of_python_s_making_is_no_number() -> None:
    body = json.dumps({**FULL, "frac_nonzero": float("nan"), "pos_values": [float("inf"), 1]})
    record = decode_feature(body.encode())
    assert record is not None
    assert record.density == 0.0 and record.positive_logits == ((" way", 1.0),)
    both = decode_features(f"[{body},{body}]".encode())
    assert both == ([record, record], 0)


def test_what_is_no_feature_is_left_out_of_many_and_counted() -> None:
    body = json.dumps([brief(FULL, 1), None, 3, {"modelId": "x"}, [], {**FULL, "index": 1.5}])
    records, odd = decode_features(body.encode())
    assert [record.index for record in records] == [13] and odd == 5


@pytest.mark.parametrize("name", ["explanations", "activations"])
@pytest.mark.parametrize("value", [None, "x", {}, 3, [3], [[]], [None], [{}], "missing"])
def test_an_answer_without_its_lists_is_not_an_answer_without_explanations(
    name: str, value: Any
) -> None:
    full = {**FULL, name: value}
    if value == "missing":
        del full[name]
    with pytest.raises(ValueError, match=r"explanation|activation"):
        decode_feature(json.dumps(full).encode())
    assert decode_features(json.dumps([full]).encode()) == ([], 1)
    assert decode_feature(json.dumps({**FULL, "explanations": []}).encode()).explanations == ()


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        (b'{"error": "The model, source, or feature you specified is not available."}', True),
        (b'{"message": "not available", "error": null}', True),
        *(
            (body, False)
            for body in (b"", b"null", b"{}", b"<html>", b'["error"]', b'{"error": 3}')
        ),
    ],
)
def test_only_the_service_s_own_words_say_that_a_feature_is_unknown(
    body: bytes, unknown: bool
) -> None:
    assert says_unknown(body) is unknown


def test_a_batch_is_decoded_in_pieces_that_hold_nobody_up() -> None:
    """256 features with every scalar there is, and vectors of 768: what the service can send."""
    import time

    vector = [0.123456789] * 768
    many = [{**brief(feature("6-res-jb", i), 1), "vector": vector} for i in range(256)]
    body = json.dumps(many).encode()
    assert len(body) > 2_000_000
    best = min(_seconds(lambda: decode_features(body), time.perf_counter) for _ in range(3))
    assert best < 0.2


def _seconds(run: Any, clock: Any) -> float:
    begun = clock()
    run()
    return float(clock() - begun)
