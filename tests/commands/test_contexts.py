"""Records made from a text, held against the activations themselves and against what ships."""

import io
from pathlib import Path

import msgspec
import pytest
import torch
from rich.console import Console
from rich.text import Text

from scd_tui.attribution.attribute import read
from scd_tui.attribution.contexts import fire, logit_effects, records_of
from scd_tui.attribution.explain import explain
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.windows import Windows, token_windows, without_sinks
from scd_tui.catalog.models import find
from scd_tui.catalog.texts import bundled_text
from scd_tui.cli import main
from scd_tui.export.tree import render
from scd_tui.graph import Circuit, Settings, Site, parse_node
from scd_tui.neuronpedia.bundled import BundledFeatures
from scd_tui.neuronpedia.labels import with_labels
from scd_tui.neuronpedia.local import LocalFeatures, made_label
from scd_tui.neuronpedia.records import Activation, FeatureRecord
from scd_tui.text import visible
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


@pytest.mark.parametrize("at_once", [1, 50, 10_000])
def test_records_are_the_same_however_few_firings_are_in_memory(
    demo: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    windows = Windows(token_windows(demo.model, bundled_text().text, 128))
    dictionary = demo.dictionaries[SITE]
    fired = fire(demo.model, {SITE: dictionary}, windows, folder=tmp_path)[SITE]
    whole = [(f, at.tolist(), v.tolist()) for f, at, v in fired.by_feature()]
    assert sum(len(at) for _, at, _ in whole) == int(fired.counts.sum())
    monkeypatch.setattr("scd_tui.attribution.contexts._RECORDS", at_once)
    stretches = list(fired._stretches())
    assert all(
        int((fired.counts[first:last] > 0).sum()) == 1
        or int(fired.counts[first:last].sum()) <= at_once
        for first, last in stretches
    )
    if at_once > 1:  # one at a time takes a reading of the file for each feature
        assert [(f, at.tolist(), v.tolist()) for f, at, v in fired.by_feature()] == whole
    assert list(tmp_path.iterdir()) == [], (
        "the file has no name, so that it is gone with the process"
    )
    fired.close()


def test_sinks_are_left_out_whether_they_are_found_before_or_in_the_same_pass(
    demo: LoadedModel,
) -> None:
    windows = Windows(token_windows(demo.model, bundled_text().text, 128))
    dictionaries = {SITE: demo.dictionaries[SITE]}
    known = without_sinks(demo.model, windows, dictionaries.values())
    first, second = (fire(demo.model, dictionaries, w)[SITE] for w in (windows, known))
    assert first.tokens == second.tokens == known.tokens
    for one, two in zip(first.by_feature(), second.by_feature(), strict=True):
        assert one[0] == two[0] and one[1].equal(two[1]) and one[2].equal(two[2])


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
    demo: LoadedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
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

    # a label in a few words, in the rows of the app and in a saved file
    strongest = max(records, key=lambda one: one.max_activation)
    label = found.label("2-mlp", strongest.index)
    best = strongest.activations[0]
    assert label is not None
    assert label.startswith(f'made here: on "{visible(best.tokens[best.max_index])}"')
    circuit = explain(demo, "The keys that the man holds", settings=Settings(top=3)).circuit
    labelled = with_labels(circuit, None, made=tmp_path / "contexts")
    features = [ref for node in circuit.nodes if (ref := parse_node(node.id)).kind == "feature"]
    expected = {
        key: text
        for ref in features
        if (text := found.label(circuit.model.sources[str(ref.site)], ref.index or 0))
        and (key := f"{circuit.model.sources[str(ref.site)]}/{ref.index}")
    }
    assert labelled.explanations == expected and len(expected) > 3
    assert any(text in Text.from_ansi(printed(labelled)).plain for text in expected.values())


def printed(circuit: Circuit) -> str:
    return "\n".join(render(circuit, Console(file=io.StringIO())))


def test_a_label_made_here_is_of_the_strongest_tokens_or_of_the_promoted() -> None:
    contexts = tuple(
        Activation((" a", peak, " b"), (0.1, value, 0.0), value, 1)
        for peak, value in (
            (" gave", 9.0),
            (" gave", 8.0),
            (" \x1bgive", 7.0),
            (" x", 6.0),
            (" y", 5.0),
        )
    )
    record = FeatureRecord("m", "s", 1, positive_logits=((" to", 0.5),), activations=contexts)
    assert made_label(record) == 'made here: on " gave", " \\x1bgive", " x"'
    without = msgspec.structs.replace(record, activations=())
    assert made_label(without) == 'made here: promotes " to"'
    assert made_label(msgspec.structs.replace(without, positive_logits=())) == ""
