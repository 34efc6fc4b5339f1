"""A model that comes in a package: where the directory made of it lies, and whether it is whole.

Nothing here uses a network, and nothing is loaded: `catalog.unpacking` makes the directory.
"""

import hashlib
from pathlib import Path

import msgspec

from scd_tui.catalog.spec import PackagedModel
from scd_tui.config import cache_path
from scd_tui.decoding import Undecodable, decode_json
from scd_tui.reading import RESULT, open_regular, read_bytes

FORM = 1
"""Counts the ways in which directories have been made: one of another number is made again."""
_LISTING = "made.json"


class Made(msgspec.Struct, frozen=True):
    """What a directory was made of, and its files: by name, the size in bytes and the SHA-256."""

    form: int
    wheel: str
    files: dict[str, tuple[int, str]]


def models_dir() -> Path:
    """Where the directories lie, each below its package's name; any can be deleted at any time."""
    return cache_path() / "packages"


def place_of(model: PackagedModel) -> Path:
    """Where the directory lies, or will."""
    return models_dir() / f"{model.package}-{model.version}"


def made_folder(model: PackagedModel) -> Path | None:
    """The Hugging Face directory made of a package; None if there is none, or not a whole one.

    Files are looked up by size here; `damaged` reads them.
    """
    folder = place_of(model)
    made = _listing(folder)
    if made is None or (made.form, made.wheel) != (FORM, model.sha256):
        return None
    for name, (size, _) in made.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            return None
    return folder


def made_files(model: PackagedModel) -> dict[str, Path]:
    """The files of the directory, by name; none if it is not there."""
    folder = made_folder(model)
    made = None if folder is None else _listing(folder)
    if folder is None or made is None:
        return {}
    return {name: folder / name for name in made.files}


def damaged(folder: Path) -> str | None:
    """The name of a file that is not what it was when the directory was made; None if all are."""
    made = _listing(folder)
    if made is None:
        return _LISTING
    return next((n for n, (_, was) in made.files.items() if sha256_of(folder / n) != was), None)


def write_listing(folder: Path, model: PackagedModel) -> None:
    """Write down what a new directory holds. Raises OSError."""
    files = {
        path.name: (path.stat().st_size, sha256_of(path))
        for path in sorted(folder.iterdir())
        if path.is_file()
    }
    (folder / _LISTING).write_bytes(msgspec.json.encode(Made(FORM, model.sha256, files)))


def sha256_of(path: Path) -> str:
    """In hexadecimal digits. Raises OSError."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listing(folder: Path) -> Made | None:
    try:
        made = decode_json(read_bytes(folder / _LISTING, RESULT), Made)
    except (OSError, Undecodable):
        return None  # then the directory is made again
    return made if all(Path(name).name == name for name in made.files) else None
