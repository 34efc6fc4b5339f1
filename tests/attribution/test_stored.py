"""Damaged dictionaries: each fault in one sentence that names the folder, before anything runs."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_client import downloaded
from hub_repos import FAMILIES
from saes import EVERY_KIND, SaeKind, random_sae
from safetensors.torch import load_file, save_file
from tiny import PROMPT, write_model

from scd_tui.attribution import load as loading
from scd_tui.attribution.load import load
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.stored import stored_fault
from scd_tui.catalog.cached import kept
from scd_tui.catalog.models import from_folders
from scd_tui.cli import main
from scd_tui.errors import InputError, RunError

CPU = torch.device("cpu")
HOOK = "blocks.1.hook_mlp_out"
JUMPRELU = SaeKind("jumprelu", "layer_norm")
NAMES_OF_EXCEPTIONS = re.compile(r"\w(Error|Exception)\b|Errno|Traceback|\w+\(['\"]")
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("damaged") / "model")


@pytest.fixture(scope="module")
def model(model_folder: Path) -> LanguageModel:
    return LanguageModel.boot(model_folder, CPU)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of one sound dictionary, in a set."""
    random_sae(32, 64, seed=3, hook=HOOK).save_model(tmp_path / "set" / HOOK)
    return tmp_path / "set" / HOOK


def configured(**changes: Any) -> Damage:
    """A configuration with other values; None removes a field."""

    def damage(folder: Path) -> None:
        path = folder / "cfg.json"
        config = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    return damage


def described(**changes: Any) -> Damage:
    """Other values in the table on the training."""

    def damage(folder: Path) -> None:
        metadata = json.loads((folder / "cfg.json").read_text())["metadata"]
        configured(metadata={**metadata, **changes})(folder)

    return damage


def weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "sae_weights.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)

    return damage


def tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    return weights(lambda tensors: tensors.update({name: change(tensors[name])}))


def holding(name: str, value: float) -> Damage:
    def change(found: torch.Tensor) -> torch.Tensor:
        found.flatten()[-1] = value
        return found

    return tensor(name, change)


def written(name: str, data: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(data) and None


def cut(length: int) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "sae_weights.safetensors"
        path.write_bytes(path.read_bytes()[:length])

    return damage


def a_folder_instead(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def replaced(width: int, features: int, kind: SaeKind, hook: str = HOOK) -> Damage:
    return lambda folder: random_sae(width, features, seed=5, kind=kind, hook=hook).save_model(
        folder
    )


def older(**changes: Any) -> Damage:
    """A configuration from before sae_lens 6."""
    config = {"hook_name": HOOK, "d_in": 32, "d_sae": 64, "activation_fn_str": "topk"}
    config |= {"activation_fn_kwargs": {"k": 8}, **changes}
    return written("cfg.json", json.dumps(config).encode())


DAMAGES: dict[str, tuple[Damage, str]] = {
    "weights cut at their end": (cut(9000), "cut off, damaged, or of another format"),
    "weights cut in their header": (cut(50), "cut off, damaged, or of another format"),
    "weights cut in their first bytes": (cut(5), "cut off, damaged, or of another format"),
    "an empty file of weights": (cut(0), "cut off, damaged, or of another format"),
    "another file as weights": (
        written("sae_weights.safetensors", b"PK\x03\x04" * 50),
        "cut off, damaged, or of another format",
    ),
    "no file of weights": (
        lambda folder: (folder / "sae_weights.safetensors").unlink(),
        r"it has no sae_weights\.safetensors",
    ),
    "a folder as weights": (a_folder_instead("sae_weights.safetensors"), "safetensors .*(cut|read)"),
    "no configuration": (
        lambda folder: (folder / "cfg.json").unlink(),
        r"it has weights and no cfg\.json",
    ),
    "a folder as configuration": (a_folder_instead("cfg.json"), r"cfg\.json cannot be read: it is a fold"),
    "an empty configuration": (written("cfg.json", b""), r"not JSON \(line 1, column 1\)"),
    "a configuration cut off": (written("cfg.json", b'{"d_in": 32,'), "not JSON"),
    "a configuration that is a list": (written("cfg.json", b"[]"), "is not a JSON object"),
    "a configuration nested deeply": (
        written("cfg.json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        "nested more than 100 levels deep",
    ),
    "a configuration that is no text": (written("cfg.json", b"\xff\xfe{}"), "not UTF-8 text"),
    "a number too long": (written("cfg.json", b'{"d_in": ' + b"9" * 5000 + b"}"), "number .* too long"),
    "an unknown architecture": (
        configured(architecture="quantum"),
        "architecture is 'quantum', which is not supported: use one of standard, topk",
    ),
    "an architecture of another type": (configured(architecture=["topk"]), "architecture is"),
    "a transcoder": (configured(architecture="transcoder"), "output is not a reconstruction"),
    "no architecture": (configured(architecture=None), "has no architecture"),
    "an unknown field": (
        configured(k_schedule=[1, 2]),
        "field 'k_schedule', which the installed sae_lens does not know",
    ),
    "no d_in": (configured(d_in=None), "has no d_in"),
    "no d_sae": (configured(d_sae=None), "has no d_sae"),
    "d_in that is a text": (configured(d_in="32"), "d_in in cfg.json is '32'"),
    "d_sae of 0": (configured(d_sae=0), "d_sae in cfg.json is 0"),
    "another d_in than the weights": (
        configured(d_in=16),
        r"W_enc in sae_weights\.safetensors is 32 by 64, and d_in by d_sae in cfg\.json is 16 by 64",
    ),
    "another d_sae than the weights": (configured(d_sae=10**15), "is 32 by 64, and d_in by d_sae"),
    "no k": (configured(k=None), "has no k, which topk dictionaries need"),
    "k of 0": (configured(k=0), "its k is 0, and has to be a whole number above 0"),
    "k below 0": (configured(k=-8), "its k is -8"),
    "k that is a text": (configured(k="8"), "its k is '8'"),
    "k that is a fraction": (configured(k=7.5), r"its k is 7\.5"),
    "k that is true": (configured(k=True), "its k is True"),
    "k larger than d_sae": (configured(k=65), "its k is 65, and it has only 64 features"),
    "an unknown normalisation": (
        configured(normalize_activations="batch_norm"),
        "'batch_norm', and has to be one of none, layer_norm",
    ),
    "a normalisation that cannot be run": (
        configured(normalize_activations="expected_average_only_in"),
        "fold the factor into its weights",
    ),
    "an unknown reshaping": (configured(reshape_activations="hook_q"), "has to be none or hook_z"),
    "a switch that is a text": (configured(apply_b_dec_to_input="no"), "has to be true or false"),
    "metadata that is a text": (configured(metadata="none"), "metadata in cfg.json is not a table"),
    "a version that is none": (described(sae_lens_version="new"), "'new', which is not a version"),
    "an older one without k": (older(activation_fn_kwargs={}), "activation_fn_kwargs .* has no k"),
    "an older one with a k of null": (
        older(activation_fn_kwargs={"k": None}),
        "activation_fn_kwargs .* has no k",
    ),
    "an older one with a list": (older(activation_fn_kwargs=[]), "activation_fn_kwargs .* not a table"),
    "an older one with k too large": (older(activation_fn_kwargs={"k": 99}), "its k is 99"),
    "NaN": (holding("W_dec", float("nan")), "W_dec holds numbers that are not finite"),
    "infinity": (holding("b_enc", float("inf")), "b_enc holds numbers that are not finite"),
    "minus infinity": (holding("W_enc", float("-inf")), "W_enc holds numbers that are not finite"),
    "NaN in b_dec": (holding("b_dec", float("nan")), "b_dec holds numbers that are not finite"),
    "whole numbers": (tensor("W_enc", lambda w: w.to(torch.int32)), "W_enc .* is of kind I32"),
    "a missing tensor": (weights(lambda t: t.__delitem__("b_dec")), "has no b_dec, which topk"),
    "a tensor too many": (
        weights(lambda t: t.update(threshold=torch.ones(64))),
        "has the tensor 'threshold', which topk dictionaries do not have",
    ),
    "weights transposed": (tensor("W_enc", lambda w: w.T), "is 64 by 32, and d_in by d_sae"),
    "a decoder transposed": (
        tensor("W_dec", lambda w: w.T),
        "W_dec .* is 32 by 64, and cfg.json asks for 64 by 32",
    ),
    "a bias too short": (tensor("b_enc", lambda b: b[1:]), "b_enc .* is 63, and cfg.json asks for 64"),
    "another architecture's weights": (
        configured(architecture="gated", k=None),
        "has no b_gate, which gated",
    ),
    "the wrong width for the model": (
        replaced(16, 64, EVERY_KIND[0]),
        r"width 16 and the model has 32 at mlp_out\.1: it belongs to another model",
    ),
    "a layer that the model has not": (
        replaced(32, 64, EVERY_KIND[0], "blocks.7.hook_mlp_out"),
        r"at mlp_out\.7, and the model has no such place: .* 3 layers",
    ),
    "a hook that is none": (described(hook_name="transformer.h.1"), "does not say where .* belongs"),
    "a hook that is a number": (described(hook_name=3), "does not say where .* belongs"),
    "one head, by its width": (
        replaced(8, 64, EVERY_KIND[0], "blocks.1.attn.hook_z"),
        r"is a dictionary of one attention head at hook_z\.1, and these are not supported",
    ),
    "one head, by its number": (
        described(hook_name="blocks.1.attn.hook_z", hook_head_index=2),
        "is a dictionary of one attention head, number 2, at blocks.1.attn.hook_z",
    ),
    "one head, in an older one": (
        older(hook_name="blocks.1.attn.hook_z", hook_point_head_index=0),
        "is a dictionary of one attention head, number 0,",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_each_fault_is_told_with_the_folder_and_without_an_exception_s_name(
    damage: Damage,
    said: str,
    folder: Path,
    model_folder: Path,
    model: LanguageModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "_model", lambda *_: model)
    damage(folder)
    with pytest.raises(InputError, match=said) as raised:
        load(from_folders("tiny", model_folder, folder.parent), CPU)
    told = str(raised.value)
    assert str(folder) in told
    assert raised.value.exit_code == 2
    assert "\n" not in told and len(told) < 500 + len(str(folder))
    assert not NAMES_OF_EXCEPTIONS.search(told), told
    assert re.search(r"use |save it again|choose |give |take |update |fold |look ", told) or (
        "cfg.json" in told
    )


def test_a_folder_that_cannot_be_read_is_told(
    folder: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests may run as a user who can read everything, so the refusal is made here."""

    def refuse(path: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(
        InputError, match=f"{folder.parent} cannot be read: Permission denied; make it"
    ):
        from_folders("tiny", model_folder, folder.parent)


def test_a_dictionary_given_in_place_of_a_set_is_told(folder: Path, model_folder: Path) -> None:
    with pytest.raises(InputError, match="and is one itself: give the folder that it lies in"):
        from_folders("tiny", model_folder, folder)


@pytest.mark.parametrize("kind", EVERY_KIND, ids=str)
def test_every_kind_that_sae_lens_saves_is_without_fault(kind: SaeKind, tmp_path: Path) -> None:
    random_sae(32, 64, seed=1, kind=kind, hook=HOOK).save_model(tmp_path)
    assert stored_fault(tmp_path) is None


def test_older_and_half_precision_files_are_without_fault(folder: Path) -> None:
    older()(folder)
    weights(lambda t: t.update({name: one.half() for name, one in t.items()}))(folder)
    weights(lambda t: t.update(scaling_factor=torch.ones(64)))(folder)
    assert stored_fault(folder) is None


def test_a_command_ends_with_the_sentence_and_code_2(
    folder: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holding("W_enc", float("nan"))(folder)
    words = ("--no-gate", "--model", str(model_folder), "--dictionaries", str(folder.parent))
    assert main(["attribute", PROMPT, *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert str(folder) in said.err and "W_enc holds numbers that are not finite" in said.err


def test_downloaded_ones_are_told_as_clearly(tmp_path: Path) -> None:
    cases = (
        ("sae_weights.safetensors", cut(60), "sae_weights.safetensors is cut off"),
        ("cfg.json", written("cfg.json", b"{"), "cfg.json cannot be read: it is not JSON"),
        ("sae_weights.safetensors", holding("W_dec", float("nan")), "W_dec holds numbers that are"),
    )
    with downloaded(FAMILIES["gpt2-v5"], tmp_path) as (_, spec):
        files = kept(spec)[0].files.items()
        for n, (name, damage, said) in enumerate(cases):
            path = next(p for (_, f), p in files if f.endswith(f"layer_1/{name}")).resolve()
            sound, copy = path.read_bytes(), tmp_path / str(n)
            copy.mkdir()
            (copy / name).write_bytes(sound)
            damage(copy)
            path.write_bytes((copy / name).read_bytes())
            with pytest.raises(RunError, match=said) as raised:
                load(spec, CPU)
            told = str(raised.value)
            assert "`scd-tui download` finds out" in told and "blocks.1.hook" in told
            assert not NAMES_OF_EXCEPTIONS.search(told), told
            path.write_bytes(sound)
