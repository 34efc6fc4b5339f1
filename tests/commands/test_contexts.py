"""Records made from a text, held against the activations themselves and against what ships."""

from pathlib import Path

import pytest
import torch

from scd_tui.attribution.attribute import read
from scd_tui.attribution.contexts import fire, logit_effects, records_of
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.windows import Windows, token_windows
from scd_tui.catalog.models import find
from scd_tui.catalog.texts import bundled_text
from scd_tui.cli import main
from scd_tui.graph import Site
from scd_tui.neuronpedia.bundled import BundledFeatures
from scd_tui.neuronpedia.local import LocalFeatures
from scd_tui.tui.run import made_here

SITE = Site(2, "mlp_out")


def test_contexts_are_those_that_the_dictionary_itself_finds(demo: LoadedModel) -> None:
    windows = Windows(token_windows(demo.model, bundled_text().text, 320))
    dictionary = demo.dictionaries[SITE]
    fired = fire(demo.model, {SITE: dictionary}, windows)[SITE]
    records = {
        r.index: r for r in records_of(demo.model, dictionary, fired, windows, "demo", "2-mlp")
    }
    values = torch.zeros(windows.ids.numel(), dictionary.width)
    for number, ids in enumerate(windows.ids.tolist()):
        tokens = tuple(demo.model.token(i) for i in ids)
        encoded = read(demo.model, tokens, demo.dictionaries).encoded[SITE]
        values[encoded.positions + number * len(ids), encoded.indices] = encoded.values
    active = (values != 0).sum(dim=0)
    assert sorted(records) == active.nonzero().flatten().tolist()
    for index, record in records.items():
        assert record.density == pytest.approx(int(active[index]) / len(values))
        assert record.max_activation == pytest.approx(float(values[:, index].max()), rel=1e-4)
        best = record.activations[0]
        assert best.max_value == pytest.approx(record.max_activation)
        assert best.values[best.max_index] == pytest.approx(best.max_value)
        assert (
            best.tokens[best.max_index]
            == demo.model.token(int(windows.ids.flatten()[int(values[:, index].argmax())])).text
        )
        assert sum(record.activation_histogram.heights) == active[index]


def test_logits_rank_tokens_as_the_records_that_ship_do(demo: LoadedModel) -> None:
    features = find("demo").features
    assert features is not None
    shipped = BundledFeatures(features)
    indices = [i for i in range(200) if shipped.record("2-mlp", i) is not None][:40]
    effects = logit_effects(demo.model, demo.dictionaries[SITE], indices)
    assert effects is not None
    same = 0
    for index, row in zip(indices, effects, strict=True):
        record = shipped.record("2-mlp", index)
        assert record is not None
        same += demo.model.token(int(row.argmax())).text == record.positive_logits[0][0]
    assert same >= 38, "ties aside"


def test_the_command_keeps_records_that_the_app_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scd_tui.config.cache_path", lambda: tmp_path)
    monkeypatch.setattr("scd_tui.tui.run.cache_path", lambda: tmp_path)
    text = tmp_path / "mine.txt"
    text.write_text(bundled_text().text[:4000], "utf-8")
    assert main(["contexts", "demo", "--text", str(text), "--tokens", "256"]) == 0
    assert "features of 12 dictionaries fire in 256 tokens of mine.txt" in capsys.readouterr().out
    found = made_here("demo:topk")
    assert isinstance(found, LocalFeatures) and found.name == "made here from mine.txt, 256 tokens"
    made = found.made()
    assert made is not None and made.features["2-mlp"] > 100
    records = [r for i in range(1024) if (r := found.record("2-mlp", i)) is not None]
    assert len(records) == made.features["2-mlp"]
    assert made_here("other:set").name == ""
