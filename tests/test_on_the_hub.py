"""What only the real weights can show. `pytest -m hub`, with a network: 8.5 GB for GPT-2 small and its
default set, 5 GB more for the smaller sets; SCD_TUI_HUB_SETS names others (`gemma-2-2b,llama-3.1-8b`).

Everything goes into huggingface_hub's cache, where it stays. It takes hours on two cores, most of it
the gate.
"""

import json
import os
from pathlib import Path

import pytest
import torch

from scd_tui.attribution.load import LoadedModel, load
from scd_tui.catalog.download import download
from scd_tui.catalog.models import find
from scd_tui.catalog.prompts import prompts_dir, read_prompt_set
from scd_tui.cli import main

pytestmark = [pytest.mark.hub, pytest.mark.timeout(7200)]

SAID = {
    # the post's tables, in whole percents
    "Copyright (C": (")", 82),
    "The biggest name in basketball is Michael": (" Jordan", 81),
    "Make America Great": (" Again", 95),
    "To be or not to be, that is the": (" question", 6),
    "Good morning starshine, the Earth says": (" hello", 9),
}
SMALLER = ("gpt2-small:res-jb", "gpt2-small:hook-z-kk", "pythia-70m-deduped:sm")
OTHERS = tuple(name for name in os.environ.get("SCD_TUI_HUB_SETS", "").split(",") if name)


@pytest.fixture(scope="module")
def gpt2() -> LoadedModel:
    spec = find("gpt2-small")
    download(spec)
    return load(spec, torch.device("cpu"), stream=True)


def test_gpt2_says_what_the_post_s_tables_say(gpt2: LoadedModel) -> None:
    assert {p.text: p.target for p in read_prompt_set(prompts_dir() / "post.toml").prompts} == {
        text: target for text, (target, _) in SAID.items()
    }
    for text, (target, percent) in SAID.items():
        logits = gpt2.model.next_token_logits(gpt2.model.prompt(text))
        best = gpt2.model.completions(logits, 1)[0]
        assert best.token.text == target, text
        assert round(100 * best.probability) == percent, text


def checked(reference: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict]]:
    capsys.readouterr()
    code = main(["check", reference, "--json"])
    return code, json.loads(capsys.readouterr().out)["sites"]


def test_openai_s_dictionaries_reach_what_was_published_of_them(
    gpt2: LoadedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    code, sites = checked("gpt2-small", capsys)
    assert (code, len(sites)) == (0, 36)
    published = find("gpt2-small").published
    assert len(published) == 12, "of the residual stream"
    for found in sites:
        # TopK of 32, of which all but a few are above zero
        assert found["l0_max"] <= 32 and found["l0_mean"] >= 31
        assert found["plain"]["explained_variance"] < found["explained_variance"]
        assert found["reasons"] == []


@pytest.mark.parametrize("reference", [*SMALLER, *OTHERS])
def test_the_other_sets_reach_what_was_published_of_them(
    reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", reference]) == 0
    code, sites = checked(reference, capsys)
    failed = {json.dumps(found["site"]): found["reasons"] for found in sites if found["reasons"]}
    assert (code, failed) == (0, {})


def test_the_post_is_redone(gpt2: LoadedModel, tmp_path: Path) -> None:
    """Its tables, sound; and its way of loading, which does not pass the gate."""
    assert (
        main(["replicate-post", "--model", "gpt2-small", "--stream", "--out", str(tmp_path)]) == 0
    )
    found = json.loads((tmp_path / "replication.json").read_text("utf-8"))
    assert [prompt["text"] for prompt in found["prompts"]] == list(SAID)
    for prompt in found["prompts"]:
        assert {answer["circuit"]["target"]["metric"] for answer in prompt["answers"]} == {
            "logp",
            "diff",
        }
    report = (tmp_path / "report.md").read_text("utf-8")
    assert "run as the post's code runs them, 0 of 36 do" in report
    assert len(list((tmp_path / "circuits").iterdir())) == 10
