"""A model without dictionaries: its completions are right, and what needs dictionaries says so."""

import json
from pathlib import Path

import pytest
import torch
from tiny import PROMPT, write_dictionaries, write_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from scd_tui.attribution.explain import explain
from scd_tui.attribution.load import LoadedModel, load
from scd_tui.catalog.models import absolute, find
from scd_tui.catalog.sizes import needs_of
from scd_tui.cli import main
from scd_tui.errors import InputError
from scd_tui.graph import decode_circuit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("alone") / "model")


@pytest.fixture(scope="module")
def alone(folder: Path) -> LoadedModel:
    return load(find(str(folder)), torch.device("cpu"))


def test_a_folder_with_a_model_is_a_model_without_dictionaries(
    folder: Path, alone: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find(str(folder))
    assert (spec.name, spec.reference, spec.dictionaries) == ("model", "model", {})
    identity = alone.identity
    assert (identity.reference, identity.dictionaries_revision, identity.sites) == ("model", "", ())
    need = needs_of(spec)
    assert need is not None and need.dictionaries == need.largest == 0
    monkeypatch.chdir(folder.parent)
    assert find("model").model == Path("model") and absolute("model") == str(folder)
    assert find("smollm2").name == "smollm2" and absolute("smollm2") == "smollm2"
    with pytest.raises(InputError, match="model is a folder and has no sets of dictionaries"):
        find("model", "topk")


def test_a_file_without_sets_is_one_too(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f'[model]\nfolder = "{folder}"\n')
    spec = find(str(file))
    assert (spec.name, spec.model, spec.dictionaries) == ("own", folder, {})
    with pytest.raises(InputError, match="own has no sets of dictionaries: name a folder of them"):
        find(f"{file}:x")
    file.write_text(f'default = "x"\n[model]\nfolder = "{folder}"\n')
    with pytest.raises(InputError, match="no set 'x', which it calls its default"):
        find(str(file))


def test_its_completions_are_those_of_plain_transformers(folder: Path, alone: LoadedModel) -> None:
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(folder),
    )
    ids = tokenizer(PROMPT, return_tensors="pt").input_ids
    logits = model(ids).logits[0, -1].detach()
    tokens = alone.model.prompt(PROMPT)
    assert [token.id for token in tokens] == ids[0].tolist()
    found = alone.model.completions(alone.model.next_token_logits(tokens), 5)
    for one, logit, token in zip(found, *(x.tolist() for x in logits.topk(5)), strict=True):
        assert one.token.id == token and one.logit == pytest.approx(logit, rel=1e-4)
        assert one.probability == pytest.approx(float(logits.softmax(0)[token]), rel=1e-4)


@pytest.mark.parametrize("adds", [True, False])
def test_prompts_begin_with_bos_where_the_tokenizer_itself_says_so(
    adds: bool, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "model")
    if adds:
        path = folder / "tokenizer.json"
        described = json.loads(path.read_text())
        bos = {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}
        described["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {
                "<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}
            },
        }
        path.write_text(json.dumps(described))
    loaded = load(find(str(folder)), torch.device("cpu"))
    expected = AutoTokenizer.from_pretrained(folder)(PROMPT)["input_ids"]
    assert [token.id for token in loaded.model.prompt(PROMPT)] == expected
    assert (loaded.identity.prepends_bos, expected[0] == 0) == (adds, adds)


def test_what_needs_dictionaries_refuses_in_one_sentence(
    folder: Path, alone: LoadedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("some text")
    for words in (
        ["attribute", PROMPT, "--model", str(folder)],
        ["check", str(folder)],
        ["contexts", str(folder), "--text", str(text)],
        ["trust", "--model", str(folder)],
        ["explanations", str(folder)],
        ["bench", "--model", str(folder)],
        ["check", "smollm2"],
    ):
        assert main(words) == 2, words
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "needs dictionaries, and " in error, words
        assert "has none: bring some with --dictionaries FOLDER" in error
    with pytest.raises(InputError, match="a circuit needs dictionaries, and model has none"):
        explain(alone, PROMPT)
    assert main(["download", str(folder)]) == 2
    assert "there is nothing to download" in capsys.readouterr().err


def test_a_circuit_of_a_model_with_a_folder_of_dictionaries_is_validated_by_naming_both(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with any catalogue name: the file has no path in it, so that both are named again."""
    dictionaries = write_dictionaries(tmp_path / "mine", 3, 32)
    toml = tmp_path / "bare.toml"
    toml.write_text(f'[model]\nfolder = "{folder}"\n')
    both = ["--model", str(toml), "--dictionaries", str(dictionaries)]
    out = tmp_path / "circuit.json"
    call = ["attribute", PROMPT, *both, "--no-gate", "--top", "2", "--out", str(out)]
    assert main(call) == 0
    circuit = decode_circuit(out.read_bytes())
    assert (circuit.model.name, circuit.model.dictionaries) == ("bare", "mine")
    capsys.readouterr()
    assert main(["validate", str(out), "--model", str(toml)]) == 2
    assert "a circuit needs dictionaries, and bare has none" in capsys.readouterr().err
    assert main(["validate", str(out), *both, "--json"]) == 0
