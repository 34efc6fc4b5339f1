"""Signs of a dictionary run in another way than it was trained, on the bundled ones, sound and spoiled."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from families import write_family
from sae_lens import SAE
from safetensors.torch import load_file, save_file
from tiny import write_model

from scd_tui import demo
from scd_tui.attribution.activation import Rectified, Top
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.gate import Clean, Tally, read_sites, reconstruct
from scd_tui.attribution.load import LoadedModel, load
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.suspicions import neighbours, signs
from scd_tui.attribution.windows import Windows, token_windows
from scd_tui.catalog.models import find
from scd_tui.catalog.texts import bundled_text
from scd_tui.cli import main
from scd_tui.graph import Site
from scd_tui.judge import Chance, Measured, Published, judge

CPU = torch.device("cpu")
SITES = [Site(layer, kind) for layer in range(4) for kind in ("attn_out", "mlp_out", "resid_post")]
STREAM = [site for site in SITES if site.kind == "resid_post"]


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load(find("demo"), CPU)


@pytest.fixture(scope="module")
def clean(loaded: LoadedModel) -> Mapping[Site, Clean]:
    ids = token_windows(loaded.model, bundled_text().text, 512)
    return read_sites(loaded.model, loaded.dictionaries, Windows(ids))[1]


def reasons(
    dictionary: Dictionary, clean: Clean, site: Site, published: Published | None = None
) -> tuple[str, ...]:
    """What the verdict on a dictionary at a site is, were all that the signs do not say as it should be."""
    elsewhere = {place: x for place, x in clean.around.items() if place != site}
    x, tally = clean.around[site], Tally()
    reconstruct(dictionary, tally, x)
    found = Measured(
        site=site,
        width=dictionary.width,
        k=dictionary.k,
        tokens=len(x),
        l0_mean=tally.l0,
        l0_max=tally.most,
        explained_variance=tally.explained_variance(),
        ce=2.0,
        ce_spliced=2.1,
        ce_zeroed=4.0,
        silent=0.0,
        share_explained=None,
        plain=None,
        chance=Chance(l0=tally.l0, explained_variance=0.0),
        signs=signs(dictionary, x, elsewhere),
    )
    return judge(found, published).reasons


def selecting(dictionary: Dictionary, k: int | None) -> Dictionary:
    """The same weights with another k, or as plain ReLU with the normalisation kept."""
    top = dictionary.activation
    assert isinstance(top, Top)
    if k is None:
        return dictionary.with_features(Rectified(top.w_enc, top.b_enc, top.w_dec))
    return dictionary.with_features(Top(top.w_enc, top.b_enc, top.w_dec, k))


def shifted(dictionary: Dictionary, x: torch.Tensor, share: float) -> Dictionary:
    """b_dec moved in a random direction by a share of the spread of normalised activations."""
    mu, s_in, _ = dictionary.scales(x)
    z = (x - mu[:, None]) / s_in[:, None]
    spread = (z - z.mean(dim=0)).square().sum(dim=-1).mean().sqrt()
    direction = torch.randn(dictionary.d_in, generator=torch.Generator().manual_seed(1))
    b_dec = dictionary.b_dec + share * spread * direction / direction.norm()
    return dictionary.with_features(dictionary.activation, b_dec=b_dec)


@pytest.mark.parametrize("site", SITES, ids=str)
def test_a_dictionary_as_it_was_trained_has_none(
    site: Site, loaded: LoadedModel, clean: Mapping[Site, Clean]
) -> None:
    assert reasons(loaded.dictionaries[site], clean[site], site) == ()


@pytest.mark.parametrize("site", SITES, ids=str)
def test_a_topk_dictionary_run_as_relu_is_told_by_its_weaker_features(
    site: Site, loaded: LoadedModel, clean: Mapping[Site, Clean]
) -> None:
    relu = selecting(loaded.dictionaries[site], None)
    said = reasons(relu, clean[site], site)
    assert any(
        "as where more are active than in training: check architecture and k" in s for s in said
    )
    assert not any("weaker half" in s for s in reasons(relu, clean[site], site, Published(l0=80.0)))


@pytest.mark.parametrize("site", SITES, ids=str)
def test_another_k_is_told(site: Site, loaded: LoadedModel, clean: Mapping[Site, Clean]) -> None:
    dictionary = loaded.dictionaries[site]
    (said, *_) = reasons(selecting(dictionary, 64), clean[site], site)
    assert "as where more are active" in said or "features are active" in said
    if site not in (
        Site(1, "attn_out"),
        Site(3, "attn_out"),
    ):  # these two miss little at half their k
        (said, *_) = reasons(selecting(dictionary, 16), clean[site], site)
        assert "as where fewer are active than in training: check k" in said


@pytest.mark.parametrize("site", SITES, ids=str)
def test_another_normalisation_is_told_and_the_right_one_named(
    site: Site, loaded: LoadedModel, clean: Mapping[Site, Clean]
) -> None:
    dictionary = loaded.dictionaries[site]
    other = dictionary.with_features(dictionary.activation, normalisation="constant_norm_rescale")
    said = reasons(other, clean[site], site)
    assert any("normalised by layer_norm it leaves" in s for s in said), said
    none = dictionary.with_features(dictionary.activation, normalisation="none")
    assert reasons(none, clean[site], site)


@pytest.mark.parametrize("site", SITES, ids=str)
def test_a_shifted_b_dec_is_told_from_a_fifth_of_the_spread_on(
    site: Site, loaded: LoadedModel, clean: Mapping[Site, Clean]
) -> None:
    dictionary, x = loaded.dictionaries[site], clean[site].around[site]
    said = reasons(shifted(dictionary, x, 0.2), clean[site], site)
    assert any("its error has the same mean at all tokens" in s for s in said), said
    known = Published(explained_variance=0.9)
    said = reasons(shifted(dictionary, x, 0.2), clean[site], site, known)
    assert not any("same mean" in s for s in said)
    # what is not told, and is in the docstring of `scd_tui.judge`
    assert reasons(shifted(dictionary, x, 0.02), clean[site], site) == ()


@pytest.mark.parametrize("step", [-1, 1])
@pytest.mark.parametrize("site", STREAM, ids=str)
def test_a_neighbouring_layer_s_dictionary_is_told_with_its_own_site(
    site: Site, step: int, loaded: LoadedModel, clean: Mapping[Site, Clean]
) -> None:
    own = Site(site.layer + step, site.kind)
    if own not in loaded.dictionaries:
        return
    said = reasons(loaded.dictionaries[own], clean[site], site)
    assert any(s.startswith(f"it explains {own} better (0.9") for s in said), said


def test_numbers_are_those_of_least_squares_on_what_sae_lens_writes(
    loaded: LoadedModel, clean: Mapping[Site, Clean]
) -> None:
    site = Site(1, "resid_post")
    folder = demo.dictionaries_dir() / "blocks.1.hook_resid_post"
    sae = SAE.load_from_disk(folder, device="cpu").eval()
    x = clean[site].around[site]
    found = signs(loaded.dictionaries[site], x)
    with torch.no_grad():
        features = sae.encode(x)
        made = sae.decode(features)
        sae.encode(x)
        constant = sae.decode(torch.zeros_like(features))
        weak = torch.zeros_like(features)
        for row, values in enumerate(features):
            active = values.nonzero().flatten()
            order = active[values[active].argsort(descending=True)]
            weak[row, order[(len(order) + 1) // 2 :]] = values[order[(len(order) + 1) // 2 :]]
        sae.encode(x)
        weaker = sae.decode(weak) - constant

    def fitted(of: torch.Tensor, to: torch.Tensor) -> float:
        return float(torch.linalg.lstsq(of.flatten()[:, None], to.flatten()[:, None]).solution)

    assert found.scale == pytest.approx(fitted(made - constant, x - constant), abs=1e-3)
    assert found.weaker_half == pytest.approx(1 + fitted(weaker, x - made), abs=1e-3)
    error = x - made
    mean = error.mean(dim=0).square().sum()
    assert found.constant_of_error == pytest.approx(
        float(mean / error.square().sum(1).mean()), rel=0.01
    )
    variance = x.var(dim=0, correction=0).sum()
    assert found.constant_of_variance == pytest.approx(float(mean / variance), rel=0.01)


def test_nothing_written_and_nothing_varying_are_no_division_by_zero(loaded: LoadedModel) -> None:
    silent = Rectified(torch.zeros(128, 8), torch.zeros(8), torch.zeros(8, 128))
    dictionary = loaded.dictionaries[Site(0, "mlp_out")].with_features(silent)
    found = signs(dictionary, torch.ones(4, 128), {Site(1, "mlp_out"): torch.ones(4, 128)})
    assert (found.scale, found.weaker_half, found.elsewhere) == (None, None, None)


def test_neighbours_are_two_places_of_the_stream_on_each_side(tmp_path: Path) -> None:
    gpt2 = LanguageModel.boot(write_model(tmp_path / "gpt2"), CPU)

    def named(of: LanguageModel, site: Site) -> list[str]:
        return [str(found) for found in neighbours(of, site)]

    around = ["resid_post.0", "resid_mid.1", "resid_mid.2", "resid_post.2"]
    assert named(gpt2, Site(1, "resid_post")) == around == named(gpt2, Site(2, "resid_pre"))
    assert named(gpt2, Site(0, "resid_pre")) == ["resid_mid.0", "resid_post.0"]
    assert named(gpt2, Site(2, "resid_post")) == ["resid_post.1", "resid_mid.2"]
    assert named(gpt2, Site(0, "mlp_out")) == ["mlp_out.1", "attn_out.0"]
    assert named(gpt2, Site(1, "hook_z")) == ["hook_z.0", "hook_z.2"]
    parallel = LanguageModel.boot(write_family(tmp_path / "pythia", "pythia"), CPU)
    assert named(parallel, Site(1, "resid_post")) == [
        "resid_pre.0",
        "resid_post.0",
        "resid_post.2",
    ]


def test_the_command_tells_of_spoiled_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A TopK dictionary whose configuration says plain ReLU, and one whose b_dec was moved."""

    def spoiled(hook: str) -> Path:
        return shutil.copytree(demo.dictionaries_dir() / hook, tmp_path / "set" / hook)

    folder = spoiled("blocks.2.hook_resid_post")
    config = json.loads((folder / "cfg.json").read_text())
    del config["k"]
    (folder / "cfg.json").write_text(json.dumps({**config, "architecture": "standard"}))
    folder = spoiled("blocks.1.hook_mlp_out")
    weights = load_file(folder / "sae_weights.safetensors")
    weights["b_dec"] += 0.3
    save_file(weights, folder / "sae_weights.safetensors")
    spoiled("blocks.0.hook_resid_post")
    words = ["check", str(demo.model_dir()), "--dictionaries", str(tmp_path / "set")]
    assert main([*words, "--tokens", "256"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "resid_post.2: the weaker half of its active features fits best at" in said
    assert "mlp_out.1: its error has the same mean at all tokens" in said
    assert "resid_post.0:" not in said and "FAILED: 2 of 3 dictionaries" in said
