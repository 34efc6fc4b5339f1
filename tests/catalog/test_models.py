import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny import write_dictionaries, write_model

from scd_tui.attribution.load import load
from scd_tui.catalog import models
from scd_tui.catalog.models import absolute, everything, find, from_folders, names, site_of_hook
from scd_tui.catalog.spec import HubModel
from scd_tui.errors import InputError
from scd_tui.graph import Site


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    return write_model(folder / "model"), write_dictionaries(folder / "dictionaries", 3, 32)


def test_a_pair_of_folders_is_a_model_with_dictionaries_in_order_of_computation(
    folders: tuple[Path, Path],
) -> None:
    spec = from_folders("tiny", *folders)
    assert [str(site) for site in spec.dictionaries][:4] == [
        "attn_out.0",
        "mlp_out.0",
        "resid_post.0",
        "attn_out.1",
    ]
    assert (spec.neuronpedia, spec.sources["mlp_out.2"]) == ("tiny", "2-mlp_out")
    assert find("demo").neuronpedia is None, "its features are not on Neuronpedia"


def test_loading_it_tells_what_was_loaded(folders: tuple[Path, Path]) -> None:
    steps: list[tuple[str, int, int]] = []
    spec = from_folders("tiny", *folders)
    loaded = load(spec, torch.device("cpu"), lambda *step: steps.append(step))
    identity = loaded.identity
    assert (identity.layers, identity.context, identity.dtype) == (3, 32, "float32")
    assert identity.sites == tuple(loaded.dictionaries)
    assert (identity.neuronpedia, identity.sources) == ("tiny", spec.sources)
    assert (identity.revision, identity.dictionaries_revision) == spec.revisions()
    assert [step[1] for step in steps] == [0, 0, 0, *range(1, 10), 10]
    assert "plain transformers" in steps[1][0]  # the first time, and not again
    again: list[tuple[str, int, int]] = []
    load(spec, torch.device("cpu"), lambda *step: again.append(step))
    assert again == steps[2:]


def test_revisions_follow_the_contents(folders: tuple[Path, Path], tmp_path: Path) -> None:
    model, dictionaries = folders
    before = from_folders("a", model, dictionaries).revisions()
    assert before == from_folders("b", model, dictionaries).revisions()
    other = write_dictionaries(tmp_path / "dictionaries", 3, 32)
    weights = next(other.rglob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    after = from_folders("a", model, other).revisions()
    assert after[0] == before[0] and after[1] != before[1]


def test_dictionaries_that_do_not_fit_the_model_are_refused(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    too_deep = from_folders("x", folders[0], write_dictionaries(tmp_path / "deep", 4, 32))
    with pytest.raises(InputError, match=r"attn_out\.3, and the model has no such place"):
        load(too_deep, torch.device("cpu"))
    too_wide = from_folders("x", folders[0], write_dictionaries(tmp_path / "wide", 3, 16))
    with pytest.raises(InputError, match="reads activations of width 16 and the model has 32"):
        load(too_wide, torch.device("cpu"))


def test_folders_that_are_neither_are_refused_with_the_reason(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"has no config\.json"):
        from_folders("x", tmp_path, folders[1])
    with pytest.raises(InputError, match="holds no dictionaries"):
        from_folders("x", folders[0], tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "cfg.json").write_text("{}")
    with pytest.raises(InputError, match="does not say where its dictionary belongs"):
        from_folders("x", folders[0], tmp_path)
    (tmp_path / "one" / "cfg.json").write_text("[")
    with pytest.raises(InputError, match="cannot be read"):
        from_folders("x", folders[0], tmp_path)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="there is no model 'dmo': use demo"):
        find("dmo")


def test_sites_of_hooks() -> None:
    assert site_of_hook("blocks.3.attn.hook_z") == Site(3, "hook_z")
    with pytest.raises(ValueError, match="not a hook"):
        site_of_hook("blocks.3.ln1.hook_scale")


def test_one_text_names_a_model_and_a_set(folders: tuple[Path, Path]) -> None:
    assert find("demo:topk") == find("demo") == find("demo", "topk")
    jb = find("gpt2-small:res-jb")
    assert (jb.name, jb.dictionaries_name, jb.prepends_bos) == ("gpt2-small", "res-jb", True)
    assert [str(site) for site in jb.dictionaries][-2:] == ["resid_pre.11", "resid_post.11"]
    model, dictionaries = folders
    pair = find(f"{model}:{dictionaries}")
    assert (pair.name, pair.dictionaries_name) == ("model", "dictionaries")
    assert pair == find(str(model), str(dictionaries))
    mixed = find(f"gpt2-small:{dictionaries}")
    assert isinstance(mixed.model, HubModel) and mixed.dictionaries == pair.dictionaries


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("gpt2-smal", "no model 'gpt2-smal': use gpt2-small"),
        ("gpt2-small:res", "no set of dictionaries 'res' of gpt2-small: use res-jb"),
        ("demo:v5-32k", "no set of dictionaries 'v5-32k' of demo: use topk"),
        ("zzz", "no model 'zzz': scd-tui models lists"),
        ("gpt2", "no model 'gpt2': use gpt2-small"),
        ("GPT2", "no model 'GPT2': use gpt2-small"),
        ("gpt2-small:v5", "no set of dictionaries 'v5' of gpt2-small: use v5-32k or v5-128k or"),
        ("./nowhere", r"nowhere is not a model: it has no config\.json"),
        ("smollm2:topk", r"smollm2 has no sets of dictionaries: .* --dictionaries FOLDER"),
        ("./nowhere:./dictionaries", r"nowhere is not a model: it has no config\.json"),
        ("nowhere.toml", r"nowhere\.toml cannot be read: No such file"),
        ("demo:./nowhere", "nowhere holds no dictionaries"),
    ],
)
def test_what_is_not_there_is_said_with_what_to_do(reference: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        find(reference)


def test_dictionaries_tell_how_long_their_texts_were_and_whether_they_began_with_bos(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "dictionaries"
    shutil.copytree(folders[1], copy)
    configs = sorted(copy.glob("*/cfg.json"))

    def rewrite(path: Path, **known: object) -> None:
        config = json.loads(path.read_text())
        config["metadata"] |= known
        path.write_text(json.dumps(config))

    for n, path in enumerate(configs):
        rewrite(path, context_size=128 + n, prepend_bos=True)
    spec = from_folders("x", folders[0], copy)
    assert (spec.training_context, spec.prepends_bos) == (128, True)
    rewrite(configs[0], prepend_bos=False)
    with pytest.raises(InputError, match="some were not: say which holds with prepends_bos"):
        from_folders("x", folders[0], copy)
    rewrite(configs[0], prepend_bos=True, hook_name="blocks.1.hook_mlp_out")
    with pytest.raises(InputError, match=r"two dictionaries at mlp_out\.1"):
        from_folders("x", folders[0], copy)


def test_a_configuration_from_before_sae_lens_6_is_read_as_sae_lens_reads_it(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    one = tmp_path / "somewhere"
    one.mkdir()
    old = {"hook_point": "blocks.2.hook_resid_pre", "context_size": 64, "d_in": 32, "d_sae": 8}
    (one / "cfg.json").write_text(json.dumps(old))
    spec = from_folders("x", folders[0], tmp_path)
    assert list(spec.dictionaries) == [Site(2, "resid_pre")]
    assert (spec.training_context, spec.prepends_bos) == (64, True)


def test_a_user_s_own_file_is_a_model_like_the_built_in_ones(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "user_dir", lambda: tmp_path)
    (tmp_path / "mine.toml").write_text(
        f"""
        [model]
        folder = {str(folders[0])!r}
        [[set]]
        name = "three"
        folder = {str(folders[1])!r}
        """
    )
    (tmp_path / "broken.toml").write_text("[model")
    assert {"mine", "demo", "gpt2-small"} <= set(names())
    spec = find("mine")
    assert (spec.name, spec.dictionaries_name, len(spec.dictionaries)) == ("mine", "three", 9)
    assert load(spec, torch.device("cpu")).identity.reference == "mine:three"
    known = {one.reference: one for one in everything()}
    assert known["mine:three"].spec == spec
    assert known["broken"].spec is None and "broken.toml is no model" in known["broken"].problem


def test_everything_lists_each_model_s_usual_set_first() -> None:
    listed = [one.reference for one in everything()]
    assert listed[0] == "demo:topk"
    assert len(set(listed)) == len(listed)
    of_gpt2 = [reference for reference in listed if reference.startswith("gpt2-small:")]
    assert of_gpt2[0] == "gpt2-small:v5-32k" and "gpt2-small:res-jb" in of_gpt2


def test_a_reference_means_the_same_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path)
    assert absolute("./mine:own") == f"{tmp_path / 'mine'}:{tmp_path / 'own'}"
    assert absolute("mine.toml") == str(tmp_path / "mine.toml")
    assert absolute("mine.toml:usual") == f"{tmp_path / 'mine.toml'}:usual"
    assert absolute("gpt2-small:own") == f"gpt2-small:{tmp_path / 'own'}"
    for name in ("demo", "gpt2-small:res-jb", f"{tmp_path / 'mine'}:{tmp_path / 'own'}"):
        assert absolute(name) == name
