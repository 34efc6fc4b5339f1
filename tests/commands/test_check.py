"""`scd-tui check` on the bundled model, as it is and with its dictionaries loaded as the post loads."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sae_lens import SAE
from sae_lens.saes import StandardSAE, StandardSAEConfig

from scd_tui import demo
from scd_tui.catalog import models
from scd_tui.catalog.models import ModelSpec
from scd_tui.cli import main

TOKENS = ["--tokens", "1024"]


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["check", *words])
    return code, capsys.readouterr().out


@pytest.fixture(scope="module")
def bundled() -> dict[str, dict]:
    """The build's own gate of the bundled dictionaries on documentation, by the name of their site."""
    gate = json.loads(demo.gate_path().read_text("utf-8"))
    return {
        str(models.site_of_hook(found["id"])): next(
            splice for splice in found["splices"] if splice["kind"] == "documentation"
        )
        for found in gate["dictionaries"]
    }


def test_the_bundled_dictionaries_are_loaded_as_they_were_trained(
    capsys: pytest.CaptureFixture[str], bundled: dict[str, dict]
) -> None:
    code, out = checked(capsys, *TOKENS, "--json")
    found = json.loads(out)
    assert (code, found["passed"], found["text"]) == (0, True, "Python documentation")
    assert (found["window"], found["prompts"]) == (64, 20)
    sites = {f"{one['site']['kind']}.{one['site']['layer']}": one for one in found["sites"]}
    assert sites.keys() == bundled.keys()
    for name, one in sites.items():
        expected = bundled[name]
        assert one["tokens"] == 1024
        assert one["l0_mean"] == pytest.approx(expected["l0_mean"], rel=0.01)
        assert one["explained_variance"] == pytest.approx(expected["explained_variance"], abs=0.03)
        assert one["delta_ce"] == pytest.approx(expected["loss_rise"], abs=0.05)
        assert one["ce"] == pytest.approx(expected["loss"], abs=0.5)
        assert one["ce_zeroed"] - one["ce"] == pytest.approx(
            expected["loss_zeroed"] - expected["loss"], rel=0.3, abs=0.2
        )
        assert one["chance"]["explained_variance"] < one["explained_variance"]
        assert one["chance"]["share_explained"] < one["share_explained"]
        assert one["plain"]["explained_variance"] < one["explained_variance"]
        assert (one["passed"], one["reasons"]) == (True, [])


@pytest.fixture
def as_the_post(tmp_path: Path) -> ModelSpec:
    """The bundled weights with the settings that were lost: plain ReLU on raw activations.

    What the makers measured of them is known.
    """
    bundled = models.find("demo")
    for path in bundled.dictionaries.values():
        right = SAE.load_from_disk(path, device="cpu", dtype="float32")
        wrong = StandardSAE(
            StandardSAEConfig(
                d_in=right.cfg.d_in,
                d_sae=right.cfg.d_sae,
                apply_b_dec_to_input=True,
                normalize_activations="none",
            )
        )
        with torch.no_grad():
            for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
                getattr(wrong, name).copy_(getattr(right, name))
        wrong.cfg.metadata.hook_name = path.name
        wrong.save_model(tmp_path / path.name)
    spec = models.from_folders("demo, as the post loads it", demo.model_dir(), tmp_path)
    return replace(spec, gate=bundled.gate)


def test_dictionaries_loaded_as_the_post_loads_them_fail_loudly(
    as_the_post: ModelSpec, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "find", lambda name: as_the_post)
    code, out = checked(capsys, *TOKENS)
    assert code == 1
    rows = [line for line in out.splitlines() if line.endswith("| FAILED  |")]
    assert len(rows) == 12
    for row in rows:
        site = row.split()[1]
        assert " n/a " in row
        assert f"\n{site}: " in out
    assert "features are active at a token, where 32.0 were published" in out
    assert out.splitlines()[-1] == "FAILED: 12 of 12 dictionaries are not as they should be."


def test_they_fail_where_nothing_was_published_too(
    as_the_post: ModelSpec, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "find", lambda name: replace(as_the_post, gate=()))
    code, out = checked(capsys, *TOKENS)
    rows = [line for line in out.splitlines() if line.endswith("| FAILED  |")]
    assert code == 1
    assert len(rows) >= 10


def test_a_text_of_the_user_s_is_measured_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("Return the number of items in the list. " * 30)
    code, out = checked(capsys, "--text", str(file), *TOKENS)
    lines = out.splitlines()
    assert code in (0, 1)
    assert lines[0].endswith(" tokens of mine.txt, 64 at a time")
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("| ") for line in lines) == 13


def test_too_little_text_is_a_wrong_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("a")
    assert main(["check", "--text", str(file)]) == 2
    assert "give at least two tokens" in capsys.readouterr().err
