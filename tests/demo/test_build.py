"""The build script makes, in miniature, all that ships, and what it makes can be loaded."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from scd_tui.demo.build import build
from scd_tui.demo.gate import load_bridge, load_dictionary
from scd_tui.demo.recipe import Recipe
from scd_tui.demo.sites import dictionary_ids, source_id
from scd_tui.neuronpedia.bundled import BundledFeatures

RECIPE = Recipe().smoke()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo")
    build(directory, RECIPE)
    return directory


def test_the_model_boots_through_transformer_bridge_in_float32(built: Path) -> None:
    bridge = load_bridge(built / "model")
    ids = bridge.to_tokens("Copyright (C", prepend_bos=False)
    logits = bridge(ids)
    assert logits.dtype == torch.float32
    assert logits.shape == (1, ids.shape[1], bridge.cfg.d_vocab)
    assert torch.isfinite(logits).all()


def test_the_tokenizer_gives_back_any_text(built: Path) -> None:
    tokenizer = load_bridge(built / "model").tokenizer
    text = "When Mary and John  went\n\tto [ the ] café ☕ \x1b[31m"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


@pytest.mark.parametrize("name", dictionary_ids(RECIPE.layers))
def test_every_dictionary_loads_through_sae_lens_as_top_k(built: Path, name: str) -> None:
    sae = load_dictionary(built / "dictionaries" / name)
    assert sae.cfg.architecture() == "topk"
    assert (sae.cfg.k, sae.cfg.d_sae, sae.cfg.d_in) == (RECIPE.active, RECIPE.features, 128)
    assert sae.cfg.normalize_activations == "layer_norm"
    assert sae.cfg.apply_b_dec_to_input
    assert sae.cfg.metadata.hook_name == name
    assert sae.cfg.metadata.neuronpedia_id == f"demo/{source_id(name)}"
    assert {p.dtype for p in sae.parameters()} == {torch.float32}
    assert torch.allclose(sae.W_dec.norm(dim=-1), torch.ones(RECIPE.features), atol=2e-3)


def test_a_dictionary_learns_to_explain_its_site(built: Path) -> None:
    gate = json.loads((built / "gate.json").read_text())
    explained = {
        d["id"]: [s["explained_variance"] for s in d["splices"]] for d in gate["dictionaries"]
    }
    assert list(explained) == dictionary_ids(RECIPE.layers)
    # thirty steps do not reach the bars; an untrained dictionary explains less than nothing
    assert all(max(values) > 0.1 for values in explained.values()), explained


def test_records_point_into_the_stream(built: Path) -> None:
    features = BundledFeatures(built / "features")
    source = source_id(dictionary_ids(RECIPE.layers)[0])
    lines = gzip.decompress((built / "features" / f"{source}.jsonl.gz").read_bytes()).splitlines()
    indices = [int(json.loads(line)["index"]) for line in lines]
    assert indices and indices == sorted(set(indices))
    record = features.record(source, indices[0])
    assert record is not None
    assert len(record.activations) >= 8
    assert all(len(a.tokens) >= 16 for a in record.activations)


def test_the_recorded_values_are_those_that_the_dictionary_gives(built: Path) -> None:
    bridge = load_bridge(built / "model")
    name = dictionary_ids(RECIPE.layers)[1]
    sae = load_dictionary(built / "dictionaries" / name)
    raw = gzip.decompress((built / "features" / "stream.bin.gz").read_bytes())
    stream = torch.frombuffer(bytearray(raw), dtype=torch.uint16).long()
    packed = (built / "features" / f"{source_id(name)}.jsonl.gz").read_bytes()
    line = json.loads(gzip.decompress(packed).splitlines()[0])
    stretch = line["activations"][0]
    window = stretch["offset"] // RECIPE.context
    ids = stream[window * RECIPE.context : (window + 1) * RECIPE.context]
    with torch.no_grad():
        _, cache = bridge.run_with_cache(ids[None])
        fired = sae.encode(cache[name])[0, :, int(line["index"])]
    start = stretch["offset"] % RECIPE.context
    for at, value in zip(stretch["at"], stretch["values"], strict=True):
        assert float(fired[start + at]) == pytest.approx(value, rel=0.01)


def test_gate_and_notice_are_written_for_people_and_programs(built: Path) -> None:
    gate = json.loads((built / "gate.json").read_text())
    assert gate["made_with"]["python"] and gate["shortfalls"]
    table = (built / "GATE.md").read_text()
    for name in dictionary_ids(RECIPE.layers):
        assert name in table
    assert "Python Software Foundation" in (built / "NOTICE").read_text()
