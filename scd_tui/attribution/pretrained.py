"""Published dictionaries, loaded by sae_lens from the files that were downloaded.

sae_lens knows how each publisher lays out a dictionary, and fetches the newest of it from the network as it
goes. Here it is handed the files that are here, of the commit that was checked and recorded; it asks no
network. Which sizes a dictionary has is read off its weights.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import EntryNotFoundError
from sae_lens import SAE
from sae_lens.loading import pretrained_sae_loaders as loaders
from safetensors import safe_open

from scd_tui.attribution.foreign import is_foreign
from scd_tui.attribution.stored import CONFIGURATION, WEIGHTS, files_fault, unreadable
from scd_tui.catalog.hub_files import dictionary_files
from scd_tui.catalog.spec import HubDictionary
from scd_tui.errors import InputError, RunError

_UNSAFE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_MAPPED = ("sae_lens", "gemma_3")
"""Layouts whose tensors sae_lens uses as they lie in their file."""


def load_pretrained(source: HubDictionary, files: Mapping[str, Path], device: str) -> SAE:
    """The dictionary in float32, with what its registry entry says done to it (scales folded).

    `files` are those of `dictionary_files`, by their names in the repository. Raises RunError when they
    cannot be read as what they should be, InputError when sae_lens has no such dictionary.
    """
    dictionary_files(source)  # refuses layouts that are not known
    if os.environ.get(_UNSAFE):
        raise InputError(f"{_UNSAFE} lets files of weights run code: unset it")
    loader = loaders.NAMED_PRETRAINED_SAE_LOADERS[source.layout]

    def convert(
        repo_id: str,
        folder_name: str,
        device: str,
        force_download: bool,
        cfg_overrides: dict[str, Any] | None,
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor], None]:
        with _answered_from(files, source):
            config, state, _ = loader(
                repo_id=repo_id,
                folder_name=folder_name,
                device=device,
                force_download=False,
                cfg_overrides=cfg_overrides,
            )
        config["d_in"], config["d_sae"] = state["W_enc"].shape
        return config, state, None

    try:
        # It warns of a model that is to be loaded in a certain way, which ours is.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sae, _, _ = SAE.from_pretrained_with_cfg_and_sparsity(
                source.release,
                _id(source),
                device=device,
                dtype="float32",
                converter=convert,
            )
    except BaseException as error:
        if not is_foreign(error):
            raise
        raise RunError(
            f"the dictionary {source.id} of {source.repo} cannot be read: {_fault(source, files, error)}; "
            "`scd-tui download` finds out whether its files are damaged, and fetches them again"
        ) from None
    return sae


def _fault(source: HubDictionary, files: Mapping[str, Path], error: BaseException) -> str:
    """What is wrong with files that sae_lens could not read, as a clause."""
    if source.layout == "sae_lens":
        here = [files.get(f"{source.path}/{name}") for name in (CONFIGURATION, WEIGHTS)]
        if all(here) and (fault := files_fault(*(path for path in here if path is not None))):
            return fault
    return unreadable(error, "one of its files")


def _id(source: HubDictionary) -> str:
    """What sae_lens calls it. Raises InputError where its registry says otherwise than the catalogue."""
    known = loaders.get_pretrained_saes_directory().get(source.release)
    if known is None:
        if "/" not in source.release:
            raise InputError(
                f"sae_lens knows no release {source.release!r}: give one that it lists, or a repository"
            )
        return source.id
    if source.id not in known.saes_map:
        raise InputError(f"the release {source.release} has no dictionary {source.id!r}")
    if (known.repo_id, known.saes_map[source.id]) != (source.repo, source.path):
        raise InputError(
            f"{source.id} of {source.release} is {known.saes_map[source.id]} of {known.repo_id} to "
            f"sae_lens, and {source.path} of {source.repo} here: mend its entry"
        )
    return source.id


@contextmanager
def _answered_from(files: Mapping[str, Path], source: HubDictionary) -> Iterator[None]:
    """Have sae_lens's loaders given `files` where they ask the Hub for them by name."""

    def local(repo_id: str, filename: str, *, subfolder: str | None = None, **_: Any) -> str:
        name = f"{subfolder}/{filename}" if subfolder else filename
        if repo_id != source.repo or name not in files:
            raise EntryNotFoundError(f"{name} of {repo_id} is not here")
        return str(files[name])

    def shapes(repo_id: str, filename: str) -> dict[str, list[int]]:
        with safe_open(local(repo_id, filename), framework="pt") as file:
            return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118

    asked: dict[str, Callable[..., Any]] = {
        "hf_hub_download": local,
        "get_safetensors_tensor_shapes": shapes,
    }
    before = {name: getattr(loaders, name) for name in asked}
    for name, answer in asked.items():
        setattr(loaders, name, answer)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(loaders, name, function)


def lies_mapped(source: HubDictionary, files: Mapping[str, Path]) -> bool:
    """Whether its weights can stay in their file: used as they lie there, in float32."""
    if source.layout not in _MAPPED or source.normalisation == "expected_average_only_in":
        return False
    for path in files.values():
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
                if any(file.get_slice(name).get_dtype() != "F32" for name in names):
                    return False
    return True
