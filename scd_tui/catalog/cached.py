"""What of a spec is downloaded: in huggingface_hub's own cache, where other programs find it too, and of
models that come in packages, in ours.

Nothing here uses a network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache

from scd_tui.catalog.hub_files import (
    CONFIG,
    INDEX,
    WEIGHTS,
    HubFile,
    dictionary_files,
    model_files,
    shard_files,
)
from scd_tui.catalog.package import made_files, made_folder
from scd_tui.catalog.spec import HubDictionary, HubModel, ModelSpec, PackagedModel, content_hash
from scd_tui.errors import RunError
from scd_tui.numbers import in_bytes
from scd_tui.reading import DESCRIPTION, read_bytes


@dataclass(frozen=True)
class Kept:
    """Where the files of a spec lie, by repository (or package) and name there; `commits` by repository.

    `model` is the folder of a model of the Hub, whose commit is among the others, or of a package.
    """

    model: Path | None
    files: Mapping[tuple[str, str], Path]
    commits: Mapping[str, str]

    def of(self, dictionary: HubDictionary) -> dict[str, Path]:
        """A dictionary's files that are there, by their names in its repository."""
        names = [file.name for file in dictionary_files(dictionary)]
        return {
            name: self.files[dictionary.repo, name]
            for name in names
            if (dictionary.repo, name) in self.files
        }


def cache_dir() -> Path:
    """Where huggingface_hub keeps what it downloads: under `HF_HOME`, or where `HF_HUB_CACHE` says."""
    return Path(constants.HF_HUB_CACHE)


def offline() -> bool:
    """Whether `HF_HUB_OFFLINE` forbids to use a network."""
    return bool(constants.is_offline_mode())


def cached_file(file: HubFile) -> Path | None:
    """Where a file lies, None if it is not downloaded."""
    found = try_to_load_from_cache(
        file.repo, file.name, revision=file.revision, cache_dir=cache_dir()
    )
    return Path(found) if isinstance(found, str) else None


def kept(spec: ModelSpec) -> tuple[Kept, tuple[HubFile | PackagedModel, ...]]:
    """What is downloaded of a spec, and what of it is missing."""
    found: dict[tuple[str, str], Path] = {}
    missing: list[HubFile | PackagedModel] = []

    def look(file: HubFile) -> Path | None:
        path = cached_file(file)
        if path is not None:
            found[file.repo, file.name] = path
        elif file.needed:
            missing.append(file)
        return path

    folder = None
    if isinstance(spec.model, HubModel):
        here = {file.name: look(file) for file in model_files(spec.model)}
        config, index = here[CONFIG], here[INDEX]
        folder = None if config is None else config.parent
        if here[WEIGHTS] is None and index is None:
            missing.append(HubFile(spec.model.repo, WEIGHTS, spec.model.revision))
        elif here[WEIGHTS] is None and index is not None:
            for shard in shard_files(spec.model, _index(index)):
                look(shard)
    for dictionary in spec.dictionaries.values():
        if isinstance(dictionary, HubDictionary):
            for file in dictionary_files(dictionary):
                look(file)
    commits = _commits(found)
    if isinstance(spec.model, PackagedModel):
        folder = made_folder(spec.model)
        for name, path in made_files(spec.model).items():
            found[spec.model.package, name] = path
        if folder is None:
            missing.append(spec.model)
    return Kept(folder, found, commits), tuple(dict.fromkeys(missing))


def _index(path: Path) -> bytes:
    """The file that tells of the files of weights. Raises RunError."""
    try:
        return read_bytes(path, DESCRIPTION)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None


def model_folder(spec: ModelSpec) -> Path | None:
    """The Hugging Face directory of a spec's model; None if it is not downloaded."""
    if isinstance(spec.model, Path):
        return spec.model
    here, missing = kept(replace(spec, dictionaries={}))
    return None if missing else here.model


def _commits(found: Mapping[tuple[str, str], Path]) -> dict[str, str]:
    """The commit of each repository, which is what the folder under `snapshots` is called."""
    commits = {}
    for (repo, name), path in found.items():
        commits[repo] = path.parents[name.count("/")].name
    return commits


def require(spec: ModelSpec) -> Kept:
    """What is downloaded of a spec, all of it. Raises RunError, saying what to do, if anything is not."""
    here, missing = kept(spec)
    if not missing:
        return here
    # what helps comes first: a screen may have room for no more
    cure = f"`scd-tui download {spec.reference}` fetches"
    if offline() and any(isinstance(one, HubFile) for one in missing):
        cure = f"unset HF_HUB_OFFLINE, then {cure}"
    first = missing[0]
    if not here.files:
        size = f", {in_bytes(first.size)}" if isinstance(first, PackagedModel) else ""
        raise RunError(f"{spec.name} is not downloaded: {cure} it{size}")
    rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    what = f"{first.name} of {first.repo}" if isinstance(first, HubFile) else first.requirement
    raise RunError(f"{spec.name} is not all downloaded: {cure} what is missing, {what}{rest}")


def revisions(spec: ModelSpec, here: Kept) -> tuple[str, str]:
    """Of the model and of the dictionaries: 12 digits of a commit, or of a hash of what lies in folders.

    Dictionaries of several repositories have them all, joined by `+`, in order of computation. A model of a
    package has 12 digits of its wheel's hash.
    """
    repos = [d.repo for d in spec.dictionaries.values() if isinstance(d, HubDictionary)]
    parts = [here.commits[repo][:12] for repo in dict.fromkeys(repos)]
    folders = [path for path in spec.dictionaries.values() if isinstance(path, Path)]
    if folders:
        parts.append(content_hash(folders))
    if isinstance(spec.model, HubModel):
        return here.commits[spec.model.repo][:12], "+".join(parts)
    if isinstance(spec.model, PackagedModel):
        return spec.model.sha256[:12], "+".join(parts)
    return content_hash([spec.model]), "+".join(parts)
