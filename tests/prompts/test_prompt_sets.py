"""The bundled prompt sets fit the bundled model, and it prefers their targets."""

import tomllib
from typing import Any

import pytest
import torch

from scd_tui import demo
from scd_tui.catalog.prompts import prompts_dir
from scd_tui.demo.gate import load_bridge, token_id

LEAST = {"post": 5, "indirect_objects": 20, "agreement": 20, "brackets": 20, "repeated": 20}
KEYS = {"text", "target", "contrast", "contrast_prompt", "note"}


def prompts(name: str) -> list[dict[str, str]]:
    loaded: list[dict[str, str]] = tomllib.loads(
        (prompts_dir() / f"{name}.toml").read_text(encoding="utf-8")
    )["prompt"]
    return loaded


@pytest.fixture(scope="module")
def bridge() -> Any:
    return load_bridge(demo.model_dir())


def difference(bridge: Any, text: str, target: str, contrast: str) -> float:
    with torch.no_grad():
        logits = bridge(bridge.to_tokens(text, prepend_bos=False))[0, -1]
    return float(logits[token_id(bridge, target)] - logits[token_id(bridge, contrast)])


@pytest.mark.parametrize("name", LEAST)
def test_a_set_has_enough_different_prompts_with_every_field(name: str) -> None:
    entries = prompts(name)
    assert len({entry["text"] for entry in entries}) == len(entries) >= LEAST[name]
    for entry in entries:
        assert set(entry) <= KEYS
        assert entry["text"] and entry["target"] and entry["contrast"] and entry["note"]
        assert entry["target"] != entry["contrast"]


@pytest.mark.parametrize("name", LEAST)
def test_the_model_prefers_the_target(bridge: Any, name: str) -> None:
    for entry in prompts(name):
        assert difference(bridge, entry["text"], entry["target"], entry["contrast"]) > 0, entry


@pytest.mark.parametrize("name", [name for name in LEAST if name != "post"])
def test_a_contrast_prompt_is_as_long_and_turns_the_preference(bridge: Any, name: str) -> None:
    for entry in prompts(name):
        other = entry["contrast_prompt"]
        lengths = [
            bridge.to_tokens(text, prepend_bos=False).shape[1] for text in (entry["text"], other)
        ]
        assert lengths[0] == lengths[1] <= 64
        assert difference(bridge, other, entry["contrast"], entry["target"]) > 0, entry
