"""One set of each family that is published, in the layout that it is published in, through a hub."""

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from attributing import everything, plain_gradients, target_of
from families import write_gemma_with_images
from hub_client import downloaded, pointed
from hub_repos import FAMILIES, Family, repositories_of_gpt2
from hub_server import Hub, serve
from huggingface_hub import constants
from sae_lens import SAE
from sae_lens.loading import pretrained_sae_loaders as loaders
from tiny import PROMPT, write_model
from transformer_lens import HookedTransformer
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM

from scd_tui.attribution import load as loading
from scd_tui.attribution.attribute import attribute, read
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.load import LoadedModel, load
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.prepared import prepared_dir
from scd_tui.catalog import models
from scd_tui.catalog.cached import kept
from scd_tui.catalog.models import ModelSpec, find
from scd_tui.catalog.spec import HubDictionary
from scd_tui.cli import main
from scd_tui.errors import InputError, RunError
from scd_tui.graph import Site, decode_circuit, parse_node

CPU = torch.device("cpu")
WHERE = {
    # hf module of a layer, and whether a dictionary reads what it is given or what it returns
    "gpt2": {
        "resid_pre": ("transformer.h.{}", "in"),
        "hook_z": ("transformer.h.{}.attn.c_proj", "in"),
        "attn_out": ("transformer.h.{}.attn", "out"),
        "mlp_out": ("transformer.h.{}.mlp", "out"),
        "resid_post": ("transformer.h.{}", "out"),
    },
    "pythia": {
        "attn_out": ("gpt_neox.layers.{}.attention", "out"),
        "mlp_out": ("gpt_neox.layers.{}.mlp", "out"),
        "resid_post": ("gpt_neox.layers.{}", "out"),
    },
    "llama-3": {
        "attn_out": ("model.layers.{}.self_attn", "out"),
        "mlp_out": ("model.layers.{}.mlp", "out"),
        "resid_post": ("model.layers.{}", "out"),
    },
    # Gemma Scope's sites, as Gemma Scope 2 writes them into its configurations (`hf_hook_point_in`)
    "gemma-2": {
        "hook_z": ("model.layers.{}.self_attn.o_proj", "in"),
        "mlp_out": ("model.layers.{}.post_feedforward_layernorm", "out"),
        "resid_post": ("model.layers.{}", "out"),
    },
}
WHERE["gemma-3"] = WHERE["gemma-2"]
WHERE["gemma-3-images"] = {
    kind: (module.replace("model.layers", "model.language_model.layers"), side)
    for kind, (module, side) in WHERE["gemma-2"].items()
}
WHERE["qwen-3"] = WHERE["llama-3"]


@dataclass(frozen=True)
class Ready:
    family: Family
    hub: Hub
    spec: ModelSpec
    folder: Path
    loaded: LoadedModel


@pytest.fixture(scope="module", params=FAMILIES.values(), ids=FAMILIES)
def ready(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ready]:
    """A family downloaded and loaded, with its hub still there to be asked."""
    folder = tmp_path_factory.mktemp("family")
    with downloaded(request.param, folder) as (hub, spec):
        loaded = load(spec, CPU)
        assert hub.asked == [], "loading asks no network"
        yield Ready(request.param, hub, spec, folder, loaded)


@torch.no_grad()
def activations(loaded: LoadedModel, ids: torch.Tensor) -> dict[Site, torch.Tensor]:
    """`[pos, d]` at every site with a dictionary."""
    found: dict[Site, torch.Tensor] = {}

    def keep(site: Site, x: torch.Tensor) -> torch.Tensor:
        found[site] = x[0].flatten(start_dim=1)
        return x

    edits = [(site, lambda x, s=site: keep(s, x)) for site in loaded.dictionaries]
    loaded.model.forward(ids, edits)
    return found


def their_own(source: HubDictionary, sizes: Dictionary) -> Any:
    """sae_lens's download of a dictionary; of some sets it has to be told that ours are small."""

    def small(**asked: Any) -> Any:
        told = {"d_in": sizes.d_in, "d_sae": sizes.width}
        overrides = {**asked.pop("cfg_overrides"), **told}
        load_them = loaders.NAMED_PRETRAINED_SAE_LOADERS[source.layout]
        return load_them(cfg_overrides=overrides, **asked)

    converter = small if source.layout in ("gemma_2", "qwen_scope") else None
    return SAE.from_pretrained(source.release, source.id, device="cpu", converter=converter)


# --- as published -------------------------------------------------------------------------


def test_each_dictionary_says_what_sae_lens_s_own_download_of_it_says(ready: Ready) -> None:
    torch.manual_seed(0)
    for site, source in ready.spec.dictionaries.items():
        assert isinstance(source, HubDictionary)
        sae = their_own(source, ready.loaded.dictionaries[site])
        if sae.hook_z_reshaping_mode:
            sae.turn_off_forward_pass_hook_z_reshaping()
        ours = ready.loaded.dictionaries[site]
        x = 3 * torch.randn(7, ours.d_in) + 0.5
        with torch.no_grad():
            features = sae.encode(x)
            reconstruction = sae.decode(features)
        encoded = ours.encode(x)
        dense = torch.zeros_like(features)
        dense[encoded.positions, encoded.indices] = encoded.values
        assert (features != 0).sum() > 7, "something is active"
        torch.testing.assert_close(dense, features, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(encoded.reconstruction(), reconstruction, rtol=1e-4, atol=1e-4)
    assert ready.hub.asked, "sae_lens asked the hub"
    ready.hub.asked.clear()


def test_each_site_is_where_its_dictionary_was_trained(ready: Ready) -> None:
    """By modules of transformers, which knows nothing of hooks' names."""
    model = AutoModelForCausalLM.from_pretrained(
        ready.folder / "model", attn_implementation="eager", dtype=torch.float32
    ).eval()
    ids = ready.loaded.model.ids(ready.loaded.model.prompt(PROMPT))
    seen: dict[str, torch.Tensor] = {}

    def look(name: str, side: str) -> Any:
        def hook(module: Any, arguments: Any, options: Any, result: Any) -> None:
            given = arguments[0] if arguments else options["hidden_states"]
            value = given if side == "in" else result
            seen[name] = (value[0] if isinstance(value, tuple) else value).detach()[0]

        return hook

    places = WHERE[ready.family.model]
    for site in ready.loaded.dictionaries:
        name, side = places[site.kind]
        module = model.get_submodule(name.format(site.layer))
        module.register_forward_hook(look(str(site), side), with_kwargs=True)
    with torch.no_grad():
        logits = model(ids).logits
    for site, found in activations(ready.loaded, ids).items():
        expected = seen[str(site)]
        if ready.family.options.get("center_writing_weights"):
            expected = expected - expected.mean(dim=-1, keepdim=True)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ready.loaded.model.forward(ids), logits, rtol=1e-4, atol=1e-4)


def test_centred_weights_are_transformer_lens_s_own(
    tmp_path: Path,
) -> None:
    family = FAMILIES["gpt2-res-jb"]
    with downloaded(family, tmp_path) as (hub, spec):
        loaded = load(spec, CPU)
        theirs = HookedTransformer.from_pretrained_no_processing(
            "gpt2", device="cpu", center_writing_weights=True
        )
        ids = loaded.model.ids(loaded.model.prompt(PROMPT))
        with torch.no_grad():
            _, cache = theirs.run_with_cache(ids)
        for site, found in activations(loaded, ids).items():
            expected = cache[f"blocks.{site.layer}.hook_resid_pre"][0]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        plain = load(replace(spec, model_options={}), CPU)
        there = activations(plain, ids)[Site(1, "resid_pre")]
        assert (there.mean(dim=-1).abs() > 1e-3).any(), "without centring it is another activation"
        with pytest.raises(InputError, match="cannot be loaded with refactor"):
            load(replace(spec, model_options={"refactor": True}), CPU)
        assert hub.asked


# --- streamed -----------------------------------------------------------------------------


def mapped_files() -> str:
    return Path("/proc/self/maps").read_text()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_streamed_every_family_stays_in_files_and_says_the_same(ready: Ready) -> None:
    for _ in range(2):  # the second time a copy that had to be made is there
        streamed = load(ready.spec, CPU, stream=True)
    for site, ours in ready.loaded.dictionaries.items():
        x = torch.randn(5, ours.d_in)
        there = streamed.dictionaries[site].encode(x)
        here = ours.encode(x)
        assert there.pairs == here.pairs
        torch.testing.assert_close(there.values, here.values, rtol=1e-5, atol=1e-6)
        address = streamed.dictionaries[site].activation.w_dec.data_ptr()  # type: ignore[attr-defined]
        (line,) = (line for line in mapped_files().splitlines() if _holds(line, address))
        assert "/" in line.split(maxsplit=5)[-1], "in a file, and not in memory"


def test_a_copy_that_was_damaged_is_made_anew(tmp_path: Path) -> None:
    with downloaded(FAMILIES["qwen-scope"], tmp_path) as (_, spec):
        load(spec, CPU, stream=True)
        copies = sorted(prepared_dir().rglob("sae_weights.safetensors"))
        assert len(copies) == 3
        copies[1].write_bytes(copies[1].read_bytes()[:100])
        streamed, resident = load(spec, CPU, stream=True), load(spec, CPU)
        for site, dictionary in resident.dictionaries.items():
            x = torch.randn(3, dictionary.d_in)
            assert streamed.dictionaries[site].encode(x).pairs == dictionary.encode(x).pairs


def _holds(line: str, address: int) -> bool:
    first, last = (int(end, 16) for end in line.split()[0].split("-"))
    return first <= address < last


# --- the whole way ------------------------------------------------------------------------


def test_a_circuit_comes_out_with_its_revisions(
    ready: Ready, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = ready.folder / f"{ready.family.name}.toml"
    assert (
        main(["attribute", PROMPT, "--no-gate", "--model", str(toml), "--top", "3", "--json"]) == 0
    )
    circuit = decode_circuit(capsys.readouterr().out.encode())
    here, missing = kept(ready.spec)
    assert missing == ()
    commits = dict(here.commits)
    assert circuit.model.revision == commits.pop(ready.family.repo)[:12]
    assert set(circuit.model.dictionaries_revision.split("+")) == {c[:12] for c in commits.values()}
    assert circuit.model.prepends_bos == ready.family.prepends_bos
    sites = {parse_node(node.id).site for node in circuit.nodes} - {None}
    assert sites == set(ready.loaded.dictionaries)
    assert circuit.edges
    assert ready.hub.asked == []


def test_what_is_loaded_is_attributed_soundly(ready: Ready) -> None:
    """Centred, at heads or behind norms: gradients are backpropagation's, and no edge is lost."""
    model = ready.loaded.model
    reading = read(model, model.prompt(PROMPT), ready.loaded.dictionaries)
    found = attribute(reading, target_of(model, reading), everything)
    for place, gradient in plain_gradients(model, reading, found.target).items():
        torch.testing.assert_close(found.gradients[place], gradient, atol=1e-4, rtol=1e-3)
    for site in ready.loaded.dictionaries:
        effects = found.effects[site].features
        total = torch.zeros_like(effects)
        for into in found.edges.values():
            if site in into:
                total += into[site].features
        torch.testing.assert_close(total, effects, atol=1e-4, rtol=1e-3)


def test_the_gate_runs(ready: Ready, capsys: pytest.CaptureFixture[str]) -> None:
    toml = ready.folder / f"{ready.family.name}.toml"
    code = main(["check", str(toml), "--tokens", "128"])
    assert code == 1, "random dictionaries explain nothing"
    assert f"of {len(ready.loaded.dictionaries)} dictionaries" in capsys.readouterr().out


def test_models_tells_that_it_is_here_and_how_it_would_run(
    ready: Ready,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def told() -> dict[str, Any]:
        assert main(["models", ready.family.name, "--device", "cpu", "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)
        return dict(found)

    monkeypatch.setattr(models, "user_dir", lambda: ready.folder)
    found = told()
    assert (found["reference"], found["state"]) == (f"{ready.family.name}:small", "downloaded")
    assert sum(found["sites"].values()) == len(ready.loaded.dictionaries)
    here, _ = kept(ready.spec)
    assert found["size"] == sum(path.stat().st_size for path in here.files.values())
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert told()["state"] == "absent"
    assert ready.hub.asked == []


@pytest.mark.parametrize("name", ["gpt2-small", "gpt2-small:res-jb"])
def test_a_built_in_name_is_all_that_is_asked_of_a_user(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = find(name)
    with serve(Hub(repositories_of_gpt2(spec, tmp_path / "model"))) as hub, pointed(hub, tmp_path):
        assert main(["attribute", PROMPT, "--no-gate", "--model", name]) == 1
        said = capsys.readouterr().err
        assert f"{spec.name} is not downloaded: `scd-tui download {spec.name}:" in said
        assert main(["download", name]) == 0
        hub.asked.clear()
        capsys.readouterr()
        assert (
            main(["attribute", PROMPT, "--no-gate", "--model", name, "--top", "2", "--json"]) == 0
        )
        circuit = decode_circuit(capsys.readouterr().out.encode())
        assert circuit.model.sites == tuple(spec.dictionaries)
        assert circuit.model.sources == spec.sources
        assert hub.asked == []


# --- what does not fit, and what is damaged -----------------------------------------------


@pytest.fixture
def gpt2(tmp_path: Path) -> Iterator[tuple[Hub, ModelSpec]]:
    with downloaded(FAMILIES["gpt2-v5"], tmp_path) as found:
        yield found


def file_of(spec: ModelSpec, name: str) -> Path:
    here, _ = kept(spec)
    return next(path for (_, file), path in here.files.items() if file.endswith(name)).resolve()


def failed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1, said.err
    return said.err


def test_what_is_not_downloaded_is_told_with_the_command_that_helps(
    gpt2: tuple[Hub, ModelSpec],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub, _ = gpt2
    toml = str(tmp_path / "gpt2-v5.toml")
    (path,) = tmp_path.glob("hub/*/snapshots/*/v5_32k_layer_2.pt/cfg.json")
    path.unlink()
    said = failed(capsys, "attribute", PROMPT, "--no-gate", "--model", toml)
    assert "v5_32k_layer_2.pt/cfg.json of jbloom/" in said
    assert "`scd-tui download gpt2-v5:small` fetches what is missing, v5_32k_layer_2" in said
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    said = failed(capsys, "attribute", PROMPT, "--no-gate", "--model", toml)
    assert "unset HF_HUB_OFFLINE, then `scd-tui download gpt2-v5:small`" in said
    assert hub.asked == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("layer_1/sae_weights.safetensors", "cannot be read"),
        ("layer_1/cfg.json", "cannot be read"),
        ("model.safetensors", "cannot be loaded"),
    ],
)
def test_a_damaged_file_is_told_with_the_command_that_helps(
    gpt2: tuple[Hub, ModelSpec],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    said: str,
) -> None:
    _, spec = gpt2
    toml = str(tmp_path / "gpt2-v5.toml")
    path = file_of(spec, name)
    path.write_bytes(path.read_bytes()[:50])
    told = failed(capsys, "attribute", PROMPT, "--no-gate", "--model", toml)
    assert said in told and "`scd-tui download` finds out" in told
    assert main(["download", toml]) == 0
    assert main(["attribute", PROMPT, "--no-gate", "--model", toml]) == 0


def test_a_dictionary_of_another_width_or_place_is_refused(
    gpt2: tuple[Hub, ModelSpec],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    toml = tmp_path / "gpt2-v5.toml"
    text = toml.read_text()
    toml.write_text(text.replace("{layer}.hook_resid_post", "{layer}.hook_resid_pre"))
    assert main(["attribute", PROMPT, "--no-gate", "--model", str(toml)]) == 2
    said = capsys.readouterr().err
    assert "was trained at blocks.0.hook_resid_post, and is to be used at resid_pre.0" in said
    toml.write_text(text.replace('path = ["v5_32k_layer_0", ', 'path = ["v5_32k_layer_1", ', 1))
    assert main(["download", str(toml)]) == 0
    assert main(["attribute", PROMPT, "--no-gate", "--model", str(toml)]) == 2
    assert "mend its entry" in capsys.readouterr().err


def test_a_place_in_words_that_are_no_hook_of_a_block_settles_nothing(
    gpt2: tuple[Hub, ModelSpec],
) -> None:
    """Dictionaries of the embedding say `hook_embed`, where the first block reads."""
    _, spec = gpt2
    path = file_of(spec, "layer_0/cfg.json")
    config = json.loads(path.read_bytes())
    path.write_text(json.dumps({**config, "hook_name": "hook_embed"}))
    assert len(load(spec, CPU).dictionaries) == 9


def test_a_model_of_another_width_is_told(tmp_path: Path) -> None:
    with downloaded(FAMILIES["gpt2-v5"], tmp_path) as (_, spec):
        narrow = write_model(tmp_path / "narrow", layers=3, width=16)
        with pytest.raises(InputError, match=r"of width 32 and the model has 16 at attn_out\.0"):
            load(replace(spec, model=narrow), CPU)
        shallow = write_model(tmp_path / "shallow", layers=1, width=32)
        with pytest.raises(InputError, match=r"is at attn_out\.1, and the model has no such place"):
            load(replace(spec, model=shallow), CPU)


class Planted:
    """Makes a file when it is read back as pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_file_of_weights_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = tmp_path / "planted"
    with downloaded(FAMILIES["gpt2-hook-z-kk"], tmp_path) as (_, spec):
        path = file_of(spec, "_v9.pt")
        path.write_bytes(pickle.dumps(Planted(planted)))
        with pytest.raises(RunError, match="cannot be read"):
            load(spec, CPU)
        torch.save({"W_enc": Planted(planted)}, path)
        with pytest.raises(RunError, match="cannot be read"):
            load(spec, CPU)
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        with pytest.raises(InputError, match="unset it"):
            load(spec, CPU)
    assert not planted.exists()


# --- out of memory ------------------------------------------------------------------------


def test_without_memory_for_all_of_it_the_dictionaries_stay_in_their_files(
    gpt2: tuple[Hub, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, spec = gpt2
    made = []

    class Full(Dictionary):
        def __init__(self, site: Site, sae: SAE, *, in_place: bool = False) -> None:
            if not in_place and len(made) == 4:
                raise torch.OutOfMemoryError("CUDA out of memory")
            made.append(site)
            super().__init__(site, sae, in_place=in_place)

    monkeypatch.setattr(loading, "Dictionary", Full)
    stages: list[str] = []
    loaded = load(spec, CPU, lambda stage, done, total: stages.append(stage))
    assert len(made) == 4 + 9
    (note,) = loaded.notes
    assert "cpu ran out of memory as resident on cpu" in note
    assert "so it is streamed on cpu" in note
    assert any("out of memory" in stage for stage in stages)


def test_without_memory_even_for_that_it_is_told(
    gpt2: tuple[Hub, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        )

    monkeypatch.setattr(loading, "Dictionary", full)
    with pytest.raises(RunError, match="does not fit into the memory of cpu"):
        load(gpt2[1], CPU)
    monkeypatch.setattr(loading, "Dictionary", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load(gpt2[1], CPU)


# --- nothing but loading ------------------------------------------------------------------


def test_loading_a_model_that_takes_images_installs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would run pip for the part that prepares images, where that is missing."""
    started: list[Any] = []
    monkeypatch.setattr(subprocess, "check_call", lambda *words, **_: started.append(words))
    monkeypatch.setitem(sys.modules, "torchvision", None)
    LanguageModel.boot(write_gemma_with_images(tmp_path), CPU)
    assert started == []
    assert subprocess.check_call(["true"]) is None and started, "others may"


# --- spread over several devices ----------------------------------------------------------


def test_a_model_is_spread_by_a_device_map_and_stays_the_same_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one device here, so everything is placed on it: what several would do is not measured."""
    boot = TransformerBridge.boot_transformers
    asked: list[dict[str, Any]] = []

    def placed(path: str, **options: Any) -> Any:
        asked.append(options)
        del options["max_memory"]
        return boot(path, **{**options, "device_map": {"": "cpu"}})

    folder = write_model(tmp_path / "model")
    plain = LanguageModel.boot(folder, CPU)
    monkeypatch.setattr(TransformerBridge, "boot_transformers", placed)
    spread = LanguageModel.boot(folder, CPU, max_memory={0: 10**9, 1: 2 * 10**9})
    (options,) = asked
    assert options["device_map"] == "auto" and "device" not in options
    assert options["trust_remote_code"] is False
    assert spread.device_at(Site(2, "mlp_out")) == CPU
    ids = plain.ids(plain.prompt(PROMPT))
    assert torch.equal(spread.forward(ids), plain.forward(ids))
