"""Models with their dictionary sets, by name.

A dictionary set is a folder of sae_lens dictionaries, one a site, each in a folder named after its
TransformerLens hook (`blocks.3.hook_mlp_out`) or listing that hook in its `cfg.json`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from scd_tui import demo
from scd_tui.catalog.gate import read_gate
from scd_tui.errors import InputError
from scd_tui.graph import SITE_KINDS, DictionaryGate, Site, SiteKind

DEFAULT_MODEL = "demo"

_KIND_OF_HOOK: dict[str, SiteKind] = {
    "hook_resid_pre": "resid_pre",
    "attn.hook_z": "hook_z",
    "hook_attn_out": "attn_out",
    "hook_resid_mid": "resid_mid",
    "hook_mlp_out": "mlp_out",
    "hook_resid_post": "resid_post",
}
_HOOK = re.compile(r"blocks\.([0-9]+)\.([a-z_.]+)", re.ASCII)


@dataclass(frozen=True)
class ModelSpec:
    """Where a model and its dictionaries lie, and what is known of them.

    `sources` maps a site's name to the id under which its features are labelled.
    """

    name: str
    model: Path
    dictionaries_name: str
    dictionaries: Mapping[Site, Path]
    sources: Mapping[str, str]
    features: Path | None = None
    gate: tuple[DictionaryGate, ...] = ()
    prepends_bos: bool = False

    def revisions(self) -> tuple[str, str]:
        """Content hashes of the model's files and of the dictionaries' files."""
        return _content_hash([self.model]), _content_hash(list(self.dictionaries.values()))


def site_of_hook(hook: str) -> Site:
    """The site of a TransformerLens hook name. Raises ValueError on hooks that are none."""
    found = _HOOK.fullmatch(hook)
    if found is None or found[2] not in _KIND_OF_HOOK:
        raise ValueError(f"{hook!r} is not a hook that a dictionary can be read at")
    return Site(int(found[1]), _KIND_OF_HOOK[found[2]])


def names() -> tuple[str, ...]:
    """The models that can be asked for by name."""
    return (DEFAULT_MODEL,)


def find(name: str) -> ModelSpec:
    """The model of this name. Raises InputError, naming the nearest, when there is none."""
    if name == DEFAULT_MODEL:
        return _bundled()
    near = get_close_matches(name, names(), n=3) or names()
    raise InputError(f"there is no model {name!r}: use {' or '.join(near)}")


def from_folders(name: str, model: Path, dictionaries: Path) -> ModelSpec:
    """A model folder and a folder of dictionaries. Raises InputError when either is not that."""
    if not (model / "config.json").is_file():
        raise InputError(f"{model} is not a model: it has no config.json")
    found: dict[Site, Path] = {}
    sources: dict[str, str] = {}
    for path in sorted(dictionaries.glob("*/cfg.json")):
        config = _read_json(path)
        metadata = config.get("metadata") or {}
        hook = metadata.get("hook_name") or path.parent.name
        try:
            site = site_of_hook(hook)
        except ValueError as error:
            raise InputError(f"{path} does not say where its dictionary belongs: {error}") from None
        found[site] = path.parent
        if source := metadata.get("neuronpedia_id"):
            sources[str(site)] = str(source).split("/", 1)[-1]
    if not found:
        raise InputError(
            f"{dictionaries} holds no dictionaries: none of its folders has a cfg.json"
        )
    return ModelSpec(name, model, dictionaries.name, _in_order(found), sources)


def _bundled() -> ModelSpec:
    spec = from_folders(DEFAULT_MODEL, demo.model_dir(), demo.dictionaries_dir())
    sites = {path.name: site for site, path in spec.dictionaries.items()}
    return replace(
        spec,
        dictionaries_name="topk",
        features=demo.features_dir(),
        gate=read_gate(demo.gate_path(), sites),
    )


def _in_order(found: Mapping[Site, Path]) -> dict[Site, Path]:
    return dict(sorted(found.items(), key=lambda f: (f[0].layer, SITE_KINDS.index(f[0].kind))))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} is not a JSON object")
    return value


def _content_hash(folders: list[Path]) -> str:
    """The first 12 digits of a SHA-256 over the names and contents of the folders' files."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            digest.update(f"{folder.name}/{path.relative_to(folder).as_posix()}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
