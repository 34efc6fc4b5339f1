"""Where models are read and replaced otherwise than their hook points say, and what becomes of them."""

import warnings
from pathlib import Path

import pytest
import torch
from attributing import everything, plain_gradients, target_of
from families import FAMILIES, LAYERS, WIDTH, write_family
from saes import RELU, random_sae
from tiny import PROMPT, write_dictionaries
from transformers import AutoModelForCausalLM

from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.attribute import attribute, read
from scd_tui.attribution.cut import Cut
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.explain import explain
from scd_tui.attribution.load import load
from scd_tui.attribution.model import LanguageModel, Place
from scd_tui.attribution.site_checks import unusable_sites
from scd_tui.catalog.models import from_folders
from scd_tui.errors import InputError, RunError
from scd_tui.graph import SITE_KINDS, NodeRef, Settings, Site, SiteKind

ADDED = "the tensor read there is not the one added to the residual stream"


def boot(folder: Path, family: str) -> LanguageModel:
    return LanguageModel.boot(write_family(folder / family, family), torch.device("cpu"))


def every_site(model: LanguageModel) -> list[Site]:
    sites = [Site(layer, kind) for layer in range(LAYERS) for kind in SITE_KINDS]
    return [site for site in sites if model.has(site)]


@pytest.mark.parametrize(
    "family", [*FAMILIES, "granite", "granite-moe", "mixtral", "cohere", "gpt-j", "opt"]
)
def test_every_site_of_an_ordinary_model_passes(tmp_path: Path, family: str) -> None:
    model = boot(tmp_path, family)
    assert unusable_sites(model, every_site(model)) == {}


def test_a_site_that_is_not_what_is_added_is_refused_and_others_are_not(tmp_path: Path) -> None:
    model = boot(tmp_path, "gemma-4")
    found = unusable_sites(model, every_site(model))
    assert {site.kind for site in found} == {"resid_mid", "mlp_out"}
    assert all("block does more" in found[site] for site in found if site.kind == "resid_mid")


def test_a_hook_point_that_never_fires_is_refused(tmp_path: Path) -> None:
    model = boot(tmp_path, "openai-gpt")
    found = unusable_sites(model, every_site(model))
    assert found[Site(1, "resid_post")] == "the model never computes an activation there"
    assert found[Site(1, "attn_out")] == ADDED
    assert "not between attention and MLP" in found[Site(1, "resid_mid")]
    assert Site(1, "hook_z") not in found


def write_sets(folder: Path, *kinds: SiteKind) -> Path:
    """A dictionary per layer and kind."""
    for n, (layer, kind) in enumerate((layer, kind) for layer in range(LAYERS) for kind in kinds):
        random_sae(WIDTH, 64, seed=n, hook=f"blocks.{layer}.hook_{kind}").save_model(
            folder / f"{layer}-{kind}"
        )
    return folder


@pytest.mark.parametrize(
    ("family", "used", "said"),
    [
        # the norm after each sublayer: neither output is what the stream gains
        ("opt-350m", {"resid_post"}, ADDED),
        # parallel blocks have no stream between attention and MLP
        (
            "pythia",
            {"attn_out", "mlp_out", "resid_post"},
            "resid_mid.0, resid_mid.1 and resid_mid.2",
        ),
        # one layer mixes positions by a convolution, and has no heads
        ("lfm-2", {"attn_out", "resid_mid", "mlp_out", "resid_post"}, "attn_out.0 is not used"),
        ("rwkv", {"resid_post"}, "the model has no such place"),
    ],
)
def test_what_a_family_lacks_is_left_out_by_name_and_the_rest_is_attributed(
    tmp_path: Path, family: str, used: set[str], said: str
) -> None:
    folder = write_family(tmp_path / "model", family)
    sets = write_sets(tmp_path / "sets", "attn_out", "resid_mid", "mlp_out", "resid_post")
    loaded = load(from_folders("odd", folder, sets), torch.device("cpu"))
    assert {site.kind for site in loaded.dictionaries} == used
    assert any(said in note for note in loaded.notes)
    circuit = explain(loaded, PROMPT, target=7, contrast=11).circuit
    assert any(node.effect for node in circuit.nodes)
    assert set(loaded.notes) <= set(circuit.notes)


def test_effects_of_a_model_with_a_layer_without_heads_are_those_of_plain_gradients(
    tmp_path: Path,
) -> None:
    model = boot(tmp_path, "lfm-2")
    sites = [site for site in every_site(model) if site.kind in ("mlp_out", "resid_post")]
    dictionaries = {
        site: Dictionary(site, random_sae(WIDTH, 64, seed=n, kind=RELU))
        for n, site in enumerate(sites)
    }
    reading = read(model, model.prompt(PROMPT), dictionaries)
    target = target_of(model, reading)
    found = attribute(reading, target, everything)
    for site, gradient in plain_gradients(model, reading, target).items():
        if isinstance(site, Site):
            torch.testing.assert_close(found.gradients[site], gradient, atol=1e-5, rtol=1e-3)


def test_a_cut_that_does_not_cut_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Granite's block drops a replacement that changes nothing, unless something listens to gradients."""
    model = boot(tmp_path, "granite")
    monkeypatch.setattr(model, "_scaled", frozenset())
    sublayers = [Site(layer, kind) for layer in range(LAYERS) for kind in ("attn_out", "mlp_out")]
    found = unusable_sites(model, sublayers)
    assert list(found) == sublayers
    assert all(reason.startswith("no gradient arrives there") for reason in found.values())


def test_a_gradient_that_is_not_the_site_s_is_noticed(
    tiny_model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Cut.pull_back
    site = Site(1, "mlp_out")

    def halved(self: Cut, at: Site, pulls: torch.Tensor) -> dict[Place, torch.Tensor]:
        products = plain(self, at, pulls)
        return {place: p / 2 if place == site else p for place, p in products.items()}

    monkeypatch.setattr(Cut, "pull_back", halved)
    later = [site, Site(2, "attn_out"), Site(2, "resid_post")]
    assert list(unusable_sites(tiny_model, later)) == [site]


def test_a_replacement_that_the_model_passes_over_is_noticed(
    tiny_model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a hook point were a copy that nothing reads."""
    plain = LanguageModel.forward
    site = Site(1, "attn_out")

    def forward(self: LanguageModel, ids: torch.Tensor, edits=(), positions=None) -> torch.Tensor:
        def only_seen(activation: torch.Tensor, edit) -> torch.Tensor:
            edit(activation)
            return activation

        kept = [
            (place, (lambda x, edit=edit: only_seen(x, edit)) if place == site else edit)
            for place, edit in edits
        ]
        return plain(self, ids, kept, positions)

    monkeypatch.setattr(LanguageModel, "forward", forward)
    found = unusable_sites(tiny_model, [site, Site(1, "mlp_out")])
    assert found == {site: "the model does not go on with an activation that is replaced there"}


@pytest.mark.parametrize("family", ["granite", "granite-moe"])
def test_effects_where_residuals_are_scaled_are_those_of_plain_gradients_and_ablation(
    tmp_path: Path, family: str
) -> None:
    folder = write_family(tmp_path / family, family)
    model = LanguageModel.boot(folder, torch.device("cpu"))
    sites = [Site(layer, kind) for layer in range(LAYERS) for kind in ("attn_out", "mlp_out")]
    dictionaries = {
        site: Dictionary(site, random_sae(WIDTH, 64, seed=n, kind=RELU))
        for n, site in enumerate(sites)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # or torch's words on hooks land among the program's lines
        reading = read(model, model.prompt(PROMPT), dictionaries)
        target = target_of(model, reading)
        found = attribute(reading, target, everything)
    gradients = plain_gradients(model, reading, target)
    for site in sites:
        assert float(gradients[site].abs().max()) > 1e-3
        torch.testing.assert_close(found.gradients[site], gradients[site], atol=1e-5, rtol=1e-3)

    # the whole of an attention output taken out of transformers' own model
    site, theirs = sites[2], AutoModelForCausalLM.from_pretrained(folder).eval()
    nodes = [NodeRef("error", p, site) for p in range(len(reading.cut.tokens))]
    (effects,) = exact_effects(model, reading, target, nodes[-1:])
    error = reading.encoded[site].error[-1]
    scale = theirs.config.residual_multiplier

    def remove(module: object, inputs: object, out: tuple[torch.Tensor, ...]) -> object:
        changed = out[0].clone()
        changed[0, -1] -= error / scale
        return (changed, *out[1:])

    ids = model.ids(reading.cut.tokens)
    with torch.no_grad():
        clean = theirs(ids).logits[0, -1]
        theirs.model.layers[site.layer].self_attn.register_forward_hook(remove)
        changed = theirs(ids).logits[0, -1]
    lost = float((clean[7] - clean[11]) - (changed[7] - changed[11]))
    assert effects[nodes[-1]] == pytest.approx(lost, abs=1e-5)


def test_a_refused_site_is_left_out_by_name_and_the_rest_of_the_model_works(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "model", "gemma-4")
    spec = from_folders("odd", folder, write_dictionaries(tmp_path / "sets", LAYERS, WIDTH))
    for _ in range(2):  # the second load takes what the first one found
        loaded = load(spec, torch.device("cpu"))
        assert {site.kind for site in loaded.dictionaries} == {"attn_out", "resid_post"}
        text = " ".join(loaded.notes)
        assert "mlp_out.0" in text and "mlp_out.2" in text and "not used" in text
    circuit = explain(loaded, PROMPT, target=7, contrast=11).circuit
    assert any("mlp_out.1" in note for note in circuit.notes)
    assert {site.site.kind for site in circuit.sites} == {"attn_out", "resid_post"}


def test_a_model_none_of_whose_sites_can_be_used_is_refused(tmp_path: Path) -> None:
    folder, sets = write_family(tmp_path / "model", "gemma-4"), tmp_path / "sets"
    random_sae(WIDTH, 64, seed=0, hook="blocks.1.hook_mlp_out").save_model(sets / "one")
    with pytest.raises(InputError, match=r"mlp_out\.1 is not used: "):
        load(from_folders("odd", folder, sets), torch.device("cpu"))


def test_a_model_that_transformer_lens_cannot_run_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "model", "opt, norms after")
    spec = from_folders("odd", folder, write_dictionaries(tmp_path / "sets", LAYERS, WIDTH))
    with pytest.raises(RunError, match="TransformerLens cannot run it"):
        load(spec, torch.device("cpu"))


def test_rounding_between_the_rows_of_a_batch_is_no_pattern_that_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = boot(tmp_path, "gpt-j")
    plain = LanguageModel.forward

    def rounded(self: LanguageModel, *given: object) -> torch.Tensor:
        logits = plain(self, *given)
        rows = torch.arange(len(logits)).view(-1, 1, 1)
        return logits * (1 + 1e-7 * rows)

    monkeypatch.setattr(LanguageModel, "forward", rounded)
    assert model.unheld_patterns == tuple(range(LAYERS))


@pytest.mark.parametrize(
    ("family", "unheld"),
    [("gpt2", False), ("llama-3", False), ("gpt-j", True), ("opt", True), ("gemma-4", True)],
)
def test_patterns_that_cannot_be_held_are_refused(
    tmp_path: Path, family: str, unheld: bool
) -> None:
    folder = write_family(tmp_path / "model", family)
    sae = random_sae(WIDTH, 64, seed=0, hook="blocks.1.hook_attn_out")
    sae.save_model(tmp_path / "sets" / "one")
    loaded = load(from_folders("odd", folder, tmp_path / "sets"), torch.device("cpu"))
    assert loaded.model.unheld_patterns == (tuple(range(LAYERS)) if unheld else ())
    held = Settings(freeze_patterns=True)
    if unheld:
        with pytest.raises(InputError, match="cannot be held in this model"):
            explain(loaded, PROMPT, target=7, contrast=11, settings=held)
    else:
        assert explain(loaded, PROMPT, target=7, contrast=11, settings=held).circuit.nodes
