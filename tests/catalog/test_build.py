"""The files of the built-in models say what sae_lens says."""

import re
from collections.abc import Iterator

import pytest
from huggingface_hub.errors import EntryNotFoundError
from sae_lens.loading import pretrained_sae_loaders as loaders
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

from scd_tui.catalog.build import NEURONPEDIA, models, text
from scd_tui.catalog.models import data_dir, find, names
from scd_tui.catalog.spec import HubDictionary, HubModel, ModelSpec
from scd_tui.catalog.toml import read_model_file
from scd_tui.graph import Site

FILES = sorted(data_dir().glob("*.toml"))


def specs() -> Iterator[ModelSpec]:
    for path in FILES:
        for chosen in read_model_file(path).sets:
            yield find(path.stem, chosen.name)


def dictionaries() -> Iterator[tuple[ModelSpec, Site, HubDictionary]]:
    for spec in specs():
        for site, dictionary in spec.dictionaries.items():
            assert isinstance(dictionary, HubDictionary)
            yield spec, site, dictionary


def test_the_files_are_what_the_build_makes_of_the_installed_registry() -> None:
    made = {model.name: text(model) for model in models()}
    assert {path.stem: path.read_text("utf-8") for path in FILES} == made


def test_every_dictionary_is_in_the_registry_at_that_path_of_that_repository() -> None:
    registry = get_pretrained_saes_directory()
    count = 0
    for _, _, dictionary in dictionaries():
        release = registry[dictionary.release]
        assert release.saes_map[dictionary.id] == dictionary.path
        assert release.repo_id == dictionary.repo
        count += 1
    assert count > 4000


def test_labels_are_the_registry_s_but_for_the_reasoned_overrides() -> None:
    registry = get_pretrained_saes_directory()
    overridden = set()
    for spec, site, dictionary in dictionaries():
        said = registry[dictionary.release].neuronpedia_id[dictionary.id]
        if dictionary.neuronpedia != said:
            overridden.add((dictionary.release, dictionary.id))
        if dictionary.neuronpedia is None:
            assert str(site) not in spec.sources
        else:
            assert f"{spec.neuronpedia}/{spec.sources[str(site)]}" == dictionary.neuronpedia
    assert overridden == set(NEURONPEDIA)


def test_each_reads_where_sae_lens_says_that_it_was_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its loaders' own configuration, as far as they make it without a download."""

    def nothing(*_: object, **__: object) -> None:
        raise EntryNotFoundError("no network here")

    monkeypatch.setattr(loaders, "hf_hub_download", nothing)
    registry = get_pretrained_saes_directory()
    checked = set()
    for spec, _, dictionary in dictionaries():
        conversion = registry[dictionary.release].conversion_func
        arguments = (dictionary.repo, dictionary.path, "cpu")
        match conversion:
            case "gemma_2":
                said = loaders.get_gemma_2_config_from_hf(*arguments)
            case "gemma_3":
                shapes = {"w_enc": [dictionary.d_in, dictionary.width]}
                monkeypatch.setattr(
                    loaders, "get_safetensors_tensor_shapes", lambda *_, s=shapes: s
                )
                said = loaders.get_gemma_3_config_from_hf(*arguments)
                assert isinstance(spec.model, HubModel) and said["model_name"] == spec.model.repo
            case "qwen_scope":
                said = loaders.get_qwen_scope_config_from_hf(*arguments)
                assert isinstance(spec.model, HubModel) and said["model_name"] == spec.model.repo
            case _:
                continue
        checked.add(conversion)
        assert said["hook_name"] == dictionary.hook
        assert said["d_sae"] == dictionary.width
        assert said["d_in"] == (dictionary.d_in or said["d_in"])
        assert said["architecture"] == dictionary.architecture
        assert said.get("activation_fn_kwargs", {}).get("k") == dictionary.k
        assert (said["normalize_activations"] or "none") == dictionary.normalisation
        assert (said["context_size"], said["prepend_bos"]) == (
            spec.training_context,
            spec.prepends_bos,
        )
    assert checked == {"gemma_2", "gemma_3", "qwen_scope"}


def test_where_only_the_name_says_the_hook_it_is_that_hook() -> None:
    letters = {"a": "hook_attn_out", "m": "hook_mlp_out", "r": "hook_resid_post"}
    for _, site, dictionary in dictionaries():
        if named := re.fullmatch(r"blocks\.(\d+)\.(\w+)", dictionary.id):
            assert dictionary.hook.replace("attn.hook_z", "hook_z") == dictionary.id
        elif named := re.match(r"l(\d+)([amr])_", dictionary.id):
            assert dictionary.hook == f"blocks.{named[1]}.{letters[named[2]]}"
        else:
            named = re.match(r"layer_?(\d+)", dictionary.id)
            assert named is not None
        assert site.layer == int(named[1])


def test_published_values_are_the_registry_s() -> None:
    registry = get_pretrained_saes_directory()
    for _, _, dictionary in dictionaries():
        release, known = registry[dictionary.release], dictionary.published
        if l0 := release.expected_l0[dictionary.id]:
            assert known.l0 == l0
        explained = release.expected_var_explained[dictionary.id]
        assert known.explained_variance == (explained if 0 < explained < 1 else None)
        # Gemma Scope's canonical ones have theirs in the path
        if found := re.search(r"average_l0_(\d+)$", dictionary.path):
            assert known.l0 == int(found[1])


def test_every_set_covers_its_model_s_layers() -> None:
    for spec in specs():
        assert isinstance(spec.model, HubModel)
        layers = {site.layer for site in spec.dictionaries}
        assert layers == set(range(len(layers)))
        if spec.model.shape is not None:
            # Matryoshka sets leave the last layer out
            assert spec.model.shape.layers - len(layers) in (0, 1), spec
        for site, dictionary in spec.dictionaries.items():
            if spec.model.shape is not None and isinstance(dictionary, HubDictionary):
                shape = spec.model.shape
                heads = shape.heads * shape.head_width
                assert dictionary.d_in == (heads if site.kind == "hook_z" else shape.width)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gpt2-small", 124_439_808),
        ("pythia-70m-deduped", 70_426_624),
        ("gemma-2-2b", 2_614_341_888),
        ("llama-3.1-8b", 8_030_261_248),
        ("gemma-3-4b", 4_300_079_472),
    ],
)
def test_parameters_are_those_that_the_makers_count(name: str, parameters: int) -> None:
    model = find(name).model
    assert isinstance(model, HubModel) and model.shape is not None
    assert model.shape.parameters == parameters


def test_the_sets_that_were_asked_for_are_there() -> None:
    assert find("gpt2-small").dictionaries_name == "v5-32k"
    sets = {s.name for s in read_model_file(data_dir() / "gpt2-small.toml").sets}
    assert sets >= {"v5-32k", "v5-128k", "res-jb", "hook-z-kk"}
    assert find("gpt2-small", "res-jb").model_options == {"center_writing_weights": True}
    assert not find("gpt2-small").model_options
    wanted = "pythia-70m-deduped gemma-2-2b gemma-2-9b llama-3.1-8b gemma-3-1b gemma-3-4b"
    assert set(names()) >= {"demo", *wanted.split()}
