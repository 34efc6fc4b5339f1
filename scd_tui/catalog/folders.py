"""Models and dictionaries that lie in folders here.

A dictionary set is a folder of sae_lens dictionaries, one a site, each in a folder named after its
TransformerLens hook (`blocks.3.hook_mlp_out`) or listing that hook in its `cfg.json`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scd_tui.decoding import Undecodable, decode_any_json
from scd_tui.errors import InputError
from scd_tui.graph import SITE_KINDS, Site, SiteKind
from scd_tui.reading import DESCRIPTION, read_bytes

_KIND_OF_HOOK: dict[str, SiteKind] = {
    "hook_resid_pre": "resid_pre",
    "attn.hook_z": "hook_z",
    "hook_attn_out": "attn_out",
    "hook_resid_mid": "resid_mid",
    "hook_mlp_out": "mlp_out",
    "hook_resid_post": "resid_post",
}
_HOOK = re.compile(r"blocks\.([0-9]{1,4})\.([a-z_.]+)", re.ASCII)
_Value = TypeVar("_Value")

MEND = "save it again with sae_lens, or take its folder out of the set"
"""What to do about a damaged dictionary."""


@dataclass(frozen=True)
class LocalDictionaries:
    """Folders by site, in order of computation; the rest as in `ModelSpec`.

    `prepends_bos` is None where some of them were trained with it and some without.
    """

    dictionaries: Mapping[Site, Path]
    sources: Mapping[str, str]
    neuronpedia: str | None
    training_context: int | None
    prepends_bos: bool | None


def site_of_hook(hook: str) -> Site:
    """The site of a TransformerLens hook name. Raises ValueError on hooks that are none."""
    found = _HOOK.fullmatch(hook)
    if found is None or found[2] not in _KIND_OF_HOOK:
        raise ValueError(f"{hook!r} is not a hook that a dictionary can be read at")
    return Site(int(found[1]), _KIND_OF_HOOK[found[2]])


def in_order(found: Mapping[Site, _Value]) -> dict[Site, _Value]:
    """By layer, and in it as a block computes them."""
    return dict(sorted(found.items(), key=lambda f: (f[0].layer, SITE_KINDS.index(f[0].kind))))


def local_model(folder: Path) -> Path:
    """The folder, if a model is in it. Raises InputError."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is not a model: it has no config.json")
    return folder


def local_dictionaries(folder: Path) -> LocalDictionaries:
    """The set in a folder. Raises InputError when there is none, or one of its parts is none."""
    found: dict[Site, Path] = {}
    sources: dict[str, str] = {}
    neuronpedia: str | None = None
    contexts: set[int] = set()
    begins: set[bool] = set()
    for path in _configurations(folder):
        config = read_json(path)
        # Since sae_lens 6 what is known of the training is in a table of its own, and an absent
        # prepend_bos is none; before, it was true (sae_lens, handle_pre_6_0_config).
        metadata = config.get("metadata")
        known = metadata if isinstance(metadata, dict) else {"prepend_bos": True, **config}
        hook = known.get("hook_name") or known.get("hook_point") or path.parent.name
        head = known.get("hook_head_index", known.get("hook_point_head_index"))
        if head is not None:
            raise InputError(one_head(str(path.parent), str(hook), head))
        try:
            site = site_of_hook(str(hook))
        except ValueError as error:
            raise InputError(
                f"{path} does not say where its dictionary belongs: {error}; give its hook_name, such as "
                "blocks.3.hook_mlp_out"
            ) from None
        if site in found:
            raise InputError(f"{folder} has two dictionaries at {site}: leave one of them there")
        found[site] = path.parent
        if isinstance(source := known.get("neuronpedia_id"), str) and source:
            neuronpedia, _, sources[str(site)] = source.rpartition("/")
        context = known.get("context_size")
        if isinstance(context, int) and context > 0:
            contexts.add(context)
        begins.add(bool(known.get("prepend_bos")))
    if not found:
        if (folder / "cfg.json").exists():
            raise InputError(
                f"{folder} holds no dictionaries, and is one itself: give the folder that it lies in"
            )
        raise InputError(
            f"{folder} holds no dictionaries: none of its folders has a cfg.json, as those that sae_lens "
            "saves have"
        )
    return LocalDictionaries(
        dictionaries=in_order(found),
        sources=sources,
        neuronpedia=neuronpedia or None,
        training_context=min(contexts, default=None),
        prepends_bos=begins.pop() if len(begins) == 1 else None,
    )


def _configurations(folder: Path) -> list[Path]:
    """The `cfg.json` of each dictionary in a folder. Raises InputError on one that is without."""
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
        found = []
        for one in inside:
            names = {path.name for path in one.iterdir()}
            if "cfg.json" in names:
                found.append(one / "cfg.json")
            elif any(name.endswith(".safetensors") for name in names):
                raise InputError(
                    f"the dictionary in {one} cannot be loaded: it has weights and no cfg.json; {MEND}"
                )
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(
            f"{error.filename or folder} cannot be read: {error.strerror or 'the disk refuses it'}; make "
            "it readable, or choose another folder"
        ) from None
    return found


def one_head(name: str, hook: str, head: object = None) -> str:
    """What is said of a dictionary of one attention head, of this number if known."""
    which = "" if head is None else f", number {head},"
    return (
        f"{name} is a dictionary of one attention head{which} at {hook}, and these are not supported: use "
        "dictionaries of all heads together, at hook_z or attn_out"
    )


def begins_with_bos(local: LocalDictionaries, where: Path) -> bool:
    """Whether their texts began with BOS. Raises InputError where they disagree."""
    if local.prepends_bos is None:
        raise InputError(
            f"some dictionaries of {where} were trained on texts that begin with BOS, and some were "
            "not: say which holds with prepends_bos, in a TOML file"
        )
    return local.prepends_bos


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds a JSON object. Raises InputError."""
    try:
        value = decode_any_json(read_bytes(path, DESCRIPTION))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or 'the disk refuses it'}"
        ) from None
    except Undecodable as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} is not a JSON object")
    return value
