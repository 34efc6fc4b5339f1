"""The bridge's model against plain transformers."""

from pathlib import Path

import pytest
import torch
from families import LAYERS, WIDTH, write_family
from saes import random_sae
from tiny import PROMPT
from transformers import AutoModelForCausalLM

from scd_tui.attribution import load as loading
from scd_tui.attribution.agreement import (
    TOLERANCE,
    largest_difference,
    plain_log_probabilities,
    spread_ids,
)
from scd_tui.attribution.explain import explain
from scd_tui.attribution.load import load
from scd_tui.attribution.model import LanguageModel
from scd_tui.catalog.model_checks import ModelCheck, keep_check, kept_check
from scd_tui.catalog.models import from_folders

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", ["gpt2", "gemma-3", "granite", "cohere"])
def test_the_difference_is_that_of_log_probabilities_after_a_few_tokens(
    tmp_path: Path, family: str
) -> None:
    folder = write_family(tmp_path / family, family)
    plain = plain_log_probabilities(folder, CPU)
    assert plain is not None
    theirs = AutoModelForCausalLM.from_pretrained(folder).eval()
    model = LanguageModel.boot(folder, CPU)
    ids = torch.tensor([spread_ids(plain.shape[1], model.context)])
    with torch.no_grad():
        expected = (
            (theirs(ids).logits[0].log_softmax(-1) - model.forward(ids)[0].log_softmax(-1))
            .abs()
            .max()
        )
    found = largest_difference(model, plain)
    assert found == pytest.approx(float(expected), abs=1e-6)
    assert (found > TOLERANCE) == (family == "cohere")


def test_a_constant_on_all_logits_is_no_difference(tmp_path: Path) -> None:
    """Centring the unembedding moves all logits of a position together, and changes no probability."""
    folder = write_family(tmp_path / "model", "gpt2")
    plain = plain_log_probabilities(folder, CPU)
    centred = LanguageModel.boot(folder, CPU, processing={"center_unembed": True})
    assert plain is not None and largest_difference(centred, plain) < TOLERANCE


def test_another_model_is_said_on_the_screen_and_in_the_file_and_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_family(tmp_path / "model", "cohere")
    sae = random_sae(WIDTH, 64, seed=0, hook=f"blocks.{LAYERS - 1}.hook_attn_out")
    sae.save_model(tmp_path / "sets" / "one")
    spec = from_folders("odd", folder, tmp_path / "sets")
    asked: list[object] = []
    monkeypatch.setattr(
        loading,
        "plain_log_probabilities",
        lambda *where: asked.append(where) or plain_log_probabilities(*where),
    )
    for _ in range(2):
        loaded = load(spec, CPU)
        assert any("does not run this model as transformers does" in note for note in loaded.notes)
    assert len(asked) == 1
    circuit = explain(loaded, PROMPT, target=7, contrast=11).circuit
    assert any("does not run this model as transformers does" in note for note in circuit.notes)


def test_what_transformers_does_not_load_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plain_log_probabilities(tmp_path, CPU) is None
    folder = write_family(tmp_path / "model", "gpt2")
    sae = random_sae(WIDTH, 64, seed=0, hook="blocks.1.hook_mlp_out")
    sae.save_model(tmp_path / "sets" / "one")
    monkeypatch.setattr(loading, "plain_log_probabilities", lambda *where: None)
    (note,) = load(from_folders("odd", folder, tmp_path / "sets"), CPU).notes
    assert "was not checked" in note


def test_a_token_that_both_rule_out_is_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_family(tmp_path / "model", "gpt2")
    plain = plain_log_probabilities(folder, CPU)
    assert plain is not None
    plain[:, 5] = -torch.inf
    plain = plain.log_softmax(dim=-1)  # the others share what the token had
    model = LanguageModel.boot(folder, CPU)
    assert largest_difference(model, plain) == torch.inf
    whole = LanguageModel.forward

    def without(self: LanguageModel, *given: object) -> torch.Tensor:
        logits = whole(self, *given)
        logits[..., 5] = -torch.inf
        return logits

    monkeypatch.setattr(LanguageModel, "forward", without)
    assert largest_difference(model, plain) < TOLERANCE


def test_a_difference_that_is_no_number_is_not_kept() -> None:
    """JSON has no infinity: what is read back would be a model that nobody compared."""
    for difference in (float("inf"), float("nan")):
        keep_check("r", {}, (), ModelCheck(difference))
        assert kept_check("r", {}, ()) is None
    for check in (ModelCheck(0.5), ModelCheck(None, {"mlp_out.1": "a reason"})):
        keep_check("r", {}, (), check)
        assert kept_check("r", {}, ()) == check
