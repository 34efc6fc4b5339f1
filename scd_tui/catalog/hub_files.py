"""Which files of the Hub a model and its dictionaries are made of, before anything is asked of a network.

Only what holds no code when it is read: safetensors, npz without objects, and PyTorch's own format where
nothing else was published, which is then read with `weights_only`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from scd_tui.catalog.spec import HubDictionary, HubModel, ModelSpec
from scd_tui.decoding import Undecodable, decode_any_json
from scd_tui.errors import InputError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Of a model whose weights are in several files, instead of `WEIGHTS`."""
CONFIG = "config.json"
_BESIDE = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""What a model may have besides; which of them it needs is for its tokenizer to say."""

_LAYOUTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # by sae_lens's loaders: the files that are needed, and those that are read if they are there
    "sae_lens": (("{path}/cfg.json", "{path}/sae_weights.safetensors"), ()),
    "connor_rob_hook_z": (("{stem}_cfg.json", "{path}"), ()),
    "gemma_2": (("{path}/params.npz",), ()),
    "gemma_3": (("{path}/params.safetensors",), ("{path}/config.json",)),
    "llama_scope": (("{path}/hyperparams.json", "{path}/checkpoints/final.safetensors"), ()),
    "llama_scope_r1_distill": (("{path}/config.json", "{path}/sae_weights.safetensors"), ()),
    "qwen_scope": (("{path}",), ()),
    "dictionary_learning_1": (("{path}/config.json", "{path}/ae.pt"), ()),
}


@dataclass(frozen=True, order=True)
class HubFile:
    """A file in a repository, at a revision (a branch, a tag or a commit) or at the newest."""

    repo: str
    name: str
    revision: str | None = None
    needed: bool = True


def model_files(model: HubModel) -> tuple[HubFile, ...]:
    """All that a model may have; of its two kinds of weights one has to be there."""
    optional = (*_BESIDE, WEIGHTS, INDEX)
    return (
        HubFile(model.repo, CONFIG, model.revision),
        *(HubFile(model.repo, name, model.revision, needed=False) for name in optional),
    )


def shard_files(model: HubModel, data: bytes) -> tuple[HubFile, ...]:
    """The files that an `INDEX` with this content tells of. Raises InputError when it is none."""
    index: Any
    try:
        index = decode_any_json(data)
    except Undecodable:
        index = None
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise InputError(f"{INDEX} of {model.repo} does not say which files its weights are in")
    shards = sorted(set(names.values()))
    for name in shards:
        if not name.endswith(".safetensors") or "/" in name or "\\" in name:
            raise InputError(f"{INDEX} of {model.repo} names {name!r}, which is no file of weights")
    return tuple(HubFile(model.repo, name, model.revision) for name in shards)


def dictionary_files(dictionary: HubDictionary) -> tuple[HubFile, ...]:
    """What a dictionary is loaded from. Raises InputError on a layout that is not known."""
    if dictionary.layout not in _LAYOUTS:
        raise InputError(
            f"the dictionary {dictionary.id} of {dictionary.repo} has layout {dictionary.layout!r}, "
            f"which is not supported: use one of {', '.join(_LAYOUTS)}"
        )
    needed, optional = _LAYOUTS[dictionary.layout]
    path = PurePosixPath(dictionary.path)
    names = {"path": str(path), "stem": dictionary.path.split(".pt")[0]}
    return tuple(
        HubFile(dictionary.repo, pattern.format(**names), dictionary.revision, needed=is_needed)
        for patterns, is_needed in ((needed, True), (optional, False))
        for pattern in patterns
    )


def spec_files(spec: ModelSpec) -> tuple[HubFile, ...]:
    """Every file of a spec that lies on the Hub, each once, but for shards that an index tells of."""
    files = model_files(spec.model) if isinstance(spec.model, HubModel) else ()
    for dictionary in spec.dictionaries.values():
        if isinstance(dictionary, HubDictionary):
            files += dictionary_files(dictionary)
    return tuple(dict.fromkeys(files))
