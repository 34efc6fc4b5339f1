"""A model with its sets of dictionaries in a TOML file: the built-in ones, and any user's own.

    name = "mine"                       # the file's name, if left out
    default = "wide"                    # the first set, if left out

    [model]
    repo = "gpt2"                       # on the Hub; or folder = "path", from where the file is; or
                                        # package, with version, sha256 and size of its wheel

    [[set]]
    name = "narrow"
    folder = "dictionaries"             # of sae_lens dictionaries, as --dictionaries takes it

    [[set]]
    name = "wide"                       # of sae_lens's registry, in groups that have one release
    context = 64                        # tokens of their training texts
    prepends_bos = false                # whether those began with BOS

    [[set.group]]
    release = "gpt2-small-resid-post-v5-32k"
    repo = "jbloom/GPT2-Small-OAI-v5-32k-resid-post-SAEs"
    layout = "sae_lens"                 # conversion_func of the registry, where it has one
    layers = [0, 1, 2]
    hook = "blocks.{layer}.hook_resid_post"
    id = "blocks.{layer}.hook_resid_post"
    path = "v5_32k_layer_{layer}.pt"    # or a list of them, one a layer; so are all that follow

Everything else is for tables, plans and checks, and may be left out. So may the sets: the model has no
dictionaries then, and `--dictionaries FOLDER` brings some.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from scd_tui.catalog.folders import (
    begins_with_bos,
    in_order,
    local_dictionaries,
    local_model,
    site_of_hook,
)
from scd_tui.catalog.spec import HubDictionary, HubModel, ModelSpec, PackagedModel, Shape
from scd_tui.decoding import decode_toml
from scd_tui.errors import InputError
from scd_tui.graph import DictionaryGate, Site
from scd_tui.judge import Published
from scd_tui.reading import TOML, expanded, read_text

_LARGEST = 1 << 20
"""Bytes of a file that is read; the largest built-in one has 60,000."""
_REPO = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Revision = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][\w-]*([./][A-Za-z0-9][\w-]*)*$", max_length=128)
]
Package = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$")]
Version = Annotated[str, Meta(pattern=r"^[0-9][A-Za-z0-9.!+]{0,62}$")]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=1, le=1 << 40)]
Features = Annotated[float, Meta(ge=0, le=1e9)]
Share = Annotated[float, Meta(ge=0, le=1)]
Layer = Annotated[int, Meta(ge=0, le=9999)]
_Value = TypeVar("_Value")


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: a key that is none of its own is a mistake."""


class Model(_Part, frozen=True, kw_only=True):
    repo: str | None = None
    folder: str | None = None
    package: Package | None = None
    version: Version | None = None
    sha256: Hash | None = None
    size: Count | None = None
    revision: Revision | None = None
    licence: str | None = None
    gated: bool = False
    shape: Shape | None = None


class Group(_Part, frozen=True, kw_only=True):
    """Dictionaries of one release, one a layer. What is no list holds for all, `{layer}` filled in.

    In lists an empty label, and a zero, say that there is none.
    """

    release: str
    repo: str
    layers: Annotated[tuple[Layer, ...], Meta(min_length=1)]
    hook: str
    id: str | tuple[str, ...]
    path: str | tuple[str, ...]
    revision: Revision | None = None
    layout: str = "sae_lens"
    architecture: str | None = None
    k: Count | None = None
    normalisation: str | None = None
    d_in: Count | None = None
    width: Count | tuple[Count, ...] | None = None
    dtype: str | None = None
    neuronpedia: str | tuple[str, ...] = ""
    l0: Features | tuple[Features, ...] = 0.0
    explained_variance: Share | tuple[Share, ...] = 0.0

    def dictionaries(self) -> dict[Site, HubDictionary]:
        """Raises ValueError on a list that is too short or too long, and on a hook that is none."""
        found = {}
        for n, layer in enumerate(self.layers):
            l0 = self._nth("l0", self.l0, n)
            explained = self._nth("explained_variance", self.explained_variance, n)
            hook = _filled(self.hook, layer)
            found[site_of_hook(hook)] = HubDictionary(
                release=self.release,
                id=_filled(self._nth("id", self.id, n), layer),
                repo=self.repo,
                path=_filled(self._nth("path", self.path, n), layer),
                hook=hook,
                revision=self.revision,
                layout=self.layout,
                d_in=self.d_in,
                width=None if self.width is None else self._nth("width", self.width, n),
                architecture=self.architecture,
                k=self.k,
                normalisation=self.normalisation,
                dtype=self.dtype,
                neuronpedia=_filled(self._nth("neuronpedia", self.neuronpedia, n), layer) or None,
                published=Published(l0=l0 or None, explained_variance=explained or None),
            )
        if len(found) < len(self.layers):
            raise ValueError(f"a group of {self.release!r} has two dictionaries at one place")
        return found

    def _nth(self, name: str, value: _Value | tuple[_Value, ...], n: int) -> _Value:
        if not isinstance(value, tuple):
            return value
        if len(value) != len(self.layers):
            raise ValueError(
                f"a group of {self.release!r} has {len(self.layers)} layers and {len(value)} "
                f"values of {name!r}"
            )
        return value[n]


def _filled(template: str, layer: int) -> str:
    return template.replace("{layer}", str(layer))


class Set(_Part, frozen=True, kw_only=True):
    name: Name
    about: str = ""
    licence: str | None = None
    context: Count | None = None
    prepends_bos: bool | None = None
    model_options: dict[str, bool] = {}
    folder: str | None = None
    group: tuple[Group, ...] = ()


class ModelFile(_Part, frozen=True, kw_only=True):
    """The whole file. `default` is the name of one of the sets, of which there may be none."""

    name: Name | None = None
    default: str | None = None
    model: Model
    sets: tuple[Set, ...] = msgspec.field(name="set", default=())

    def pick(self, name: str | None) -> Set | None:
        """The set of this name, or the one to take if none is named; None if there is none."""
        first = self.sets[0].name if self.sets else None
        wanted = name or self.default or first
        return next((s for s in self.sets if s.name == wanted), None)


def read_model_file(path: Path) -> ModelFile:
    """Read and check a file. Raises InputError, in one sentence, when it is not of this form."""
    try:
        found = decode_toml(read_text(path, TOML), ModelFile)
        _check(found)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is no model: {error}") from None
    return found


def _check(found: ModelFile) -> None:
    """Raises ValueError on what the types alone do not rule out."""
    model = found.model
    if [model.repo, model.folder, model.package].count(None) != 2:
        raise ValueError("[model] has a repo, a folder or a package, one of the three")
    of_package = [model.version, model.sha256, model.size]
    if of_package.count(None) != (3 if model.package is None else 0):
        raise ValueError(
            "[model] has version, sha256 and size where it has a package, and only there"
        )
    _check_repo(found.model.repo)
    names = [s.name for s in found.sets]
    if len(set(names)) < len(names):
        raise ValueError("two of its sets have one name")
    if found.pick(None) is None and (found.sets or found.default):
        raise ValueError(f"it has no set {found.default!r}, which it calls its default")
    for one in found.sets:
        if (one.folder is None) == (not one.group):
            raise ValueError(f"the set {one.name!r} has a folder or groups, one of the two")
        taken: set[Site] = set()
        for group in one.group:
            _check_repo(group.repo)
            for site, dictionary in group.dictionaries().items():
                if site in taken:
                    raise ValueError(f"the set {one.name!r} has two dictionaries at {site}")
                taken.add(site)
                path = PurePosixPath(dictionary.path)
                if path.is_absolute() or ".." in path.parts:
                    raise ValueError(f"{dictionary.path!r} leads out of its repository")


def _check_repo(repo: str | None) -> None:
    if repo is not None and (_REPO.fullmatch(repo) is None or ".." in repo):
        raise ValueError(f"{repo!r} is not a repository: they are named like openai-community/gpt2")


def spec_of(
    found: ModelFile, chosen: Set | None, path: Path, *, gate: tuple[DictionaryGate, ...] = ()
) -> ModelSpec:
    """The model with one of its sets, or without dictionaries; folders are looked at.

    Raises InputError when they are none.
    """
    model = _model_of(found.model, path)
    if chosen is None:
        return ModelSpec(found.name or path.stem, model, "", {})
    dictionaries: dict[Site, Path | HubDictionary] = {}
    sources: dict[str, str] = {}
    neuronpedia: str | None = None
    context, begins = chosen.context, chosen.prepends_bos
    if chosen.folder is not None:
        local = local_dictionaries(_beside(path, chosen.folder))
        dictionaries |= local.dictionaries
        sources, neuronpedia = dict(local.sources), local.neuronpedia
        context = context or local.training_context
        begins = begins_with_bos(local, path) if begins is None else begins
    for group in chosen.group:
        for site, dictionary in group.dictionaries().items():
            dictionaries[site] = dictionary
            if dictionary.neuronpedia is not None:
                neuronpedia, _, sources[str(site)] = dictionary.neuronpedia.rpartition("/")
    return ModelSpec(
        name=found.name or path.stem,
        model=model,
        dictionaries_name=chosen.name,
        dictionaries=in_order(dictionaries),
        sources=sources,
        gate=gate,
        prepends_bos=bool(begins),
        training_context=context,
        model_options=chosen.model_options,
        neuronpedia=neuronpedia or None,
        licence=chosen.licence,
    )


def _model_of(model: Model, path: Path) -> Path | HubModel | PackagedModel:
    """Where a file says that its model lies. Raises InputError when a folder is none."""
    if model.folder is not None:
        return local_model(_beside(path, model.folder))
    if model.package is not None:
        assert model.version is not None and model.sha256 is not None and model.size is not None
        return PackagedModel(
            package=model.package,
            version=model.version,
            sha256=model.sha256,
            size=model.size,
            licence=model.licence,
            shape=model.shape,
        )
    assert model.repo is not None
    return HubModel(
        repo=model.repo,
        revision=model.revision,
        licence=model.licence,
        gated=model.gated,
        shape=model.shape,
    )


def _beside(path: Path, folder: str) -> Path:
    """A folder that a file names, from where the file is."""
    return path.parent / expanded(folder)
