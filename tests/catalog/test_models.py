from pathlib import Path

import pytest
import torch
from tiny import write_dictionaries, write_model

from scd_tui.attribution.load import load
from scd_tui.catalog.models import find, from_folders, site_of_hook
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
    assert [step[1] for step in steps] == [0, *range(1, 10), 10]


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
