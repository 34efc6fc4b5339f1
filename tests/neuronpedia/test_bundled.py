"""The records that ship with the bundled model can be read, quickly and without surprises."""

import gzip
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from scd_tui.demo import features_dir
from scd_tui.neuronpedia.bundled import BundledFeatures

SOURCES = [f"{layer}-{kind}" for layer in range(4) for kind in ("res", "att", "mlp")]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Records of one feature, 5, over a stream of six tokens."""
    (tmp_path / "vocabulary.json").write_bytes(msgspec.json.encode(["<e>", " a", "b", "\n"]))
    stream = b"".join(i.to_bytes(2, "little") for i in (0, 1, 2, 3, 2, 1))
    (tmp_path / "stream.bin.gz").write_bytes(gzip.compress(stream))
    record = {
        "modelId": "demo",
        "layer": "0-res",
        "index": "5",
        "maxActApprox": 4.0,
        "frac_nonzero": 0.5,
        "pos_str": [" a"],
        "pos_values": [2.0],
        "neg_str": ["b"],
        "neg_values": [-2.0],
        "explanations": [{"description": "the letter b", "typeName": "scd_auto"}],
        "activations": [
            {"offset": 1, "length": 2, "at": [1], "values": [3.0]},
            {"offset": 4, "length": 2, "at": [0], "values": [4.0]},
            {"offset": 2, "length": 3, "at": [0, 2], "values": [1.5, 2.5]},
        ],
    }
    lines = msgspec.json.encode(record) + b"\n"
    (tmp_path / "0-res.jsonl.gz").write_bytes(gzip.compress(lines))
    return tmp_path


def test_a_stretch_of_the_stream_becomes_tokens_and_values(small: Path) -> None:
    record = BundledFeatures(small).record("0-res", 5)
    assert record is not None
    shown = record.activations
    assert shown[0].tokens == ("b", " a")
    assert shown[0].values == (4.0, 0.0)
    assert shown[1].tokens == ("b", "\n", "b")
    assert (shown[1].values, shown[1].max_value, shown[1].max_index) == ((1.5, 0.0, 2.5), 2.5, 2)


def test_contexts_with_the_same_tokens_are_shown_once(small: Path) -> None:
    record = BundledFeatures(small).record("0-res", 5)
    assert record is not None
    # " a b" and "b a" are the same tokens: the stronger one stays
    assert [a.max_value for a in record.activations] == [4.0, 2.5]


def test_the_label_is_the_explanation(small: Path) -> None:
    assert BundledFeatures(small).label("0-res", 5) == "the letter b"


@pytest.mark.parametrize(
    ("source", "index"), [("0-res", 6), ("9-res", 5), ("../0-res", 5), ("", 0), ("0-res\n", 5)]
)
def test_what_is_not_known_is_none(small: Path, source: str, index: int) -> None:
    features = BundledFeatures(small / "x" if source == "../0-res" else small)
    assert features.label(source, index) is None
    assert features.record(source, index) is None


def test_a_broken_file_is_named(small: Path) -> None:
    (small / "1-res.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match="1-res"):
        BundledFeatures(small).label("1-res", 0)


@pytest.mark.parametrize("source", SOURCES)
def test_every_shipped_record_has_its_contexts_logits_and_label(source: str) -> None:
    features = BundledFeatures(features_dir())
    known = [i for i in range(1024) if features.label(source, i)]
    assert len(known) >= 0.95 * 1024
    for index in known:
        record = features.record(source, index)
        assert record is not None
        assert (record.model_id, record.source, record.index) == ("demo", source, index)
        assert record.max_activation > 0 and 0 < record.density < 1
        assert len(record.positive_logits) == len(record.negative_logits) == 10
        assert len(record.activations) >= 8
        strengths = [a.max_value for a in record.activations]
        assert strengths == sorted(strengths, reverse=True)
        assert strengths[0] == record.max_activation
        for activation in record.activations:
            assert len(activation.tokens) == len(activation.values) >= 16
            assert activation.values[activation.max_index] == activation.max_value > 0
        assert record.explanations[0].type_name == "scd_auto"


def test_labels_come_quickly() -> None:
    features = BundledFeatures(features_dir())
    started = time.perf_counter()
    assert features.label("2-mlp", 10) is not None
    first = time.perf_counter() - started
    started = time.perf_counter()
    for index in range(100):
        features.label("2-mlp", index)
    later = (time.perf_counter() - started) / 100
    assert first <= 0.05
    assert later <= 0.001


def test_the_reader_needs_no_numerical_library() -> None:
    code = (
        "import sys, scd_tui.neuronpedia.bundled, scd_tui.demo\n"
        "heavy = {'torch', 'numpy', 'transformers', 'sae_lens', 'textual'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
