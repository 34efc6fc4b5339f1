"""Dictionaries that work, in OpenAI's layout on a hub, loaded as published and as the post's code does."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import pointed
from hub_repos import FAMILIES, dictionary_files, entries, model_files, serve_files, write_toml
from hub_server import Files, Hub, serve
from safetensors.torch import load_file

from scd_tui import demo
from scd_tui.catalog import prompts
from scd_tui.catalog.prompts import read_prompt_set
from scd_tui.cli import main
from scd_tui.graph import decode_circuit

FAMILY = FAMILIES["gpt2-v5"]
CHOSEN = [entry for entry in entries(FAMILY) if entry.layer == 1]


@pytest.fixture(scope="module")
def files() -> dict[str, Files]:
    """The bundled model as `gpt2`, with three of its dictionaries where OpenAI's lie."""
    found: dict[str, Files] = {"gpt2": model_files(demo.model_dir())}
    for entry in CHOSEN:
        weights = load_file(demo.dictionaries_dir() / entry.hook / "sae_weights.safetensors")
        found[entry.repo] = dictionary_files(entry, weights, k=32)
    return found


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return write_toml(tmp_path / "family.toml", FAMILY, CHOSEN)


@pytest.fixture
def hub(files: dict[str, Files], tmp_path: Path) -> Iterator[Hub]:
    with serve(Hub(serve_files(files))) as running, pointed(running, tmp_path):
        yield running


def checked(toml: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    assert main(["download", str(toml)]) == 0
    capsys.readouterr()
    code = main(["check", str(toml), "--tokens", "1024"])
    return code, capsys.readouterr().out


def test_loaded_as_published_they_pass_the_gate(
    hub: Hub, toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = checked(toml, capsys)
    assert (code, said.count("| passed")) == (0, 3), said
    assert "Passed: 3 of 3 dictionaries." in said


def test_loaded_as_the_post_s_code_loads_them_they_fail_it_loudly(
    hub: Hub, files: dict[str, Files], toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `architecture: standard` alone, as what reads no further does: ReLU on raw activations."""
    for entry in CHOSEN:
        held = dict(files[entry.repo])
        name = f"{entry.path}/cfg.json"
        config = json.loads(bytes(held[name]))  # type: ignore[arg-type]
        assert config["architecture"] == "standard"
        for key in ("activation_fn_str", "activation_fn_kwargs", "normalize_activations"):
            del config[key]
        hub.repos[entry.repo].revisions["main"] = held | {name: json.dumps(config).encode()}
    code, said = checked(toml, capsys)
    assert code == 1
    assert said.count("| FAILED") == 3 and "| passed" not in said
    assert "FAILED: 3 of 3 dictionaries are not as they should be." in said
    assert "where 0.6 is the least for a sound one" in said


def test_the_post_is_redone_through_the_hub(
    hub: Hub, toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of its prompts, with the bundled model standing in for GPT-2 small."""
    assert main(["download", str(toml)]) == 0
    asked = read_prompt_set(prompts.prompts_dir() / "post.toml").prompts[0]
    text = f"[[prompt]]\ntext = {asked.text!r}\ntarget = {asked.target!r}"
    (tmp_path / "post.toml").write_text(f"name = 'one'\ndescription = 'of five'\n{text}\n", "utf-8")
    monkeypatch.setattr(prompts, "prompts_dir", lambda: tmp_path)
    out = tmp_path / "out"
    assert main(["replicate-post", "--model", str(toml), "--out", str(out), "--tokens", "256"]) == 0
    report = (out / "report.md").read_text("utf-8")
    assert "run as the post's code runs them, 0 of 3 do" in report
    found = json.loads((out / "replication.json").read_text("utf-8"))
    assert [prompt["text"] for prompt in found["prompts"]] == [asked.text]
    for prompt in found["prompts"]:
        metrics = [answer["circuit"]["target"]["metric"] for answer in prompt["answers"]]
        assert metrics == ["logp", "diff"]
    files = list((out / "circuits").iterdir())
    assert len(files) == 2
    for path in files:
        revisions = decode_circuit(path.read_bytes()).model.dictionaries_revision
        assert len(revisions.split("+")) == 3


def test_a_neighbour_s_dictionary_in_its_place_is_refused_by_what_it_says_of_itself(
    hub: Hub, files: dict[str, Files], toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As once on the real hub, where layer 8 had the weights, and the configuration, of layer 9."""
    entry = CHOSEN[2]
    held = dict(files[entry.repo])
    name = f"{entry.path}/cfg.json"
    config = json.loads(bytes(held[name]))  # type: ignore[arg-type]
    config["hook_name"] = "blocks.2.hook_resid_post"
    hub.repos[entry.repo].revisions["main"] = held | {name: json.dumps(config).encode()}
    assert main(["download", str(toml)]) == 0
    assert main(["check", str(toml)]) == 2
    said = capsys.readouterr().err
    assert "was trained at blocks.2.hook_resid_post, and is to be used at resid_post.1" in said
