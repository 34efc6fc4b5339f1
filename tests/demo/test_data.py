"""The shipped model does what its gate says."""

import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from scd_tui import demo
from scd_tui.demo import corpus, words
from scd_tui.demo.gate import last_logits, load_bridge, load_dictionary, token_id
from scd_tui.demo.recipe import Recipe
from scd_tui.demo.sites import dictionary_ids

LIMIT = 15 * 2**20


@pytest.fixture(scope="module")
def gate() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(demo.gate_path().read_text())
    return loaded


@pytest.fixture(scope="module")
def bridge() -> Any:
    return load_bridge(demo.model_dir())


def test_no_bar_of_the_gate_is_missed(gate: dict[str, Any]) -> None:
    assert gate["shortfalls"] == []


def test_what_the_model_does_is_above_every_bar(gate: dict[str, Any]) -> None:
    assert [b["name"] for b in gate["behaviours"] if b["bar"] and b["value"] < b["bar"]] == []
    assert len(gate["behaviours"]) == 9
    assert sum(gate["tokens"].values()) >= 50_000


def test_every_dictionary_is_measured_on_every_kind_of_text(gate: dict[str, Any]) -> None:
    measured = {d["id"]: [s["kind"] for s in d["splices"]] for d in gate["dictionaries"]}
    kinds = ["documentation", "templates", "repeated"]
    assert measured == dict.fromkeys(dictionary_ids(4), kinds)


def test_the_data_fit_in_the_wheel(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in demo.data_dir().rglob("*"):
            if path.is_file():
                packed.write(path)
    assert (tmp_path / "data.zip").stat().st_size <= LIMIT


def test_only_harmless_formats_ship() -> None:
    kinds = {path.suffix for path in demo.data_dir().rglob("*") if path.is_file()}
    assert kinds <= {".json", ".safetensors", ".gz", ".md", ""}


def test_the_table_for_people_tells_the_same(gate: dict[str, Any]) -> None:
    from scd_tui.demo.report import as_markdown

    assert (demo.data_dir() / "GATE.md").read_text() == as_markdown(gate)


@pytest.mark.parametrize(("prompt", "continuation"), corpus.FAMOUS)
def test_the_posts_prompts_are_answered(bridge: Any, prompt: str, continuation: str) -> None:
    answer = ")" if continuation.startswith(")") else continuation.rstrip(".")
    probabilities = last_logits(bridge, [prompt])[0].softmax(-1)
    assert float(probabilities[token_id(bridge, answer)]) >= 0.5


def test_the_indirect_object_is_named(bridge: Any) -> None:
    rng = random.Random(99)
    cases = [corpus.indirect_object(rng, "held-out") for _ in range(40)]
    best = last_logits(bridge, [text for text, _, _ in cases]).argmax(-1).tolist()
    right = [b == token_id(bridge, answer) for b, (_, answer, _) in zip(best, cases, strict=True)]
    assert sum(right) >= 36


@pytest.mark.parametrize("word", words.must_be_single_tokens())
def test_words_of_the_prompts_are_single_tokens(bridge: Any, word: str) -> None:
    token_id(bridge, f" {word}")


def test_a_shipped_dictionary_has_the_sparsity_it_states() -> None:
    bridge = load_bridge(demo.model_dir())
    name = "blocks.2.hook_resid_post"
    sae = load_dictionary(demo.dictionaries_dir() / name)
    ids = bridge.to_tokens(corpus.FAMOUS[3][0], prepend_bos=False)
    with torch.no_grad():
        _, cache = bridge.run_with_cache(ids)
        active = (sae.encode(cache[name]) != 0).sum(-1)
    k = Recipe().active
    assert sae.cfg.k == k
    assert int(active.max()) <= k and float(active.float().mean()) >= 0.9 * k
