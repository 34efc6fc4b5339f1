"""Where models that no name finds lay when they were loaded last: a TOML file, or folders.

A saved circuit names its model and holds no path, so that it can be passed on. The path stays on this
machine, in the state folder: one small file for each model with its dictionaries and their revisions,
written whenever one is loaded, by any command or by the app. Past circuits say it too.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from scd_tui.aside import put_aside
from scd_tui.config import state_path
from scd_tui.decoding import Undecodable, decode_json
from scd_tui.files import write_private
from scd_tui.graph import ModelIdentity
from scd_tui.history import Entry, History, given_in
from scd_tui.reading import NOTE, read_bytes


class Loaded(msgspec.Struct, frozen=True):
    """A model as it was loaded: its identity, and the `--model` that found it, with absolute paths."""

    name: str
    revision: str
    dictionaries: str
    dictionaries_revision: str
    reference: str

    @property
    def names(self) -> tuple[str, str]:
        return self.name, self.dictionaries


def remember(model: ModelIdentity, reference: str) -> None:
    """Note where a model was just loaded from. A name needs no note. Raises OSError."""
    if os.sep not in reference:
        return
    found = Loaded(
        model.name,
        model.revision,
        model.dictionaries,
        model.dictionaries_revision,
        reference,
    )
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    identity = msgspec.json.encode(msgspec.structs.astuple(found)[:-1])
    name = hashlib.sha256(identity).hexdigest()[:20]
    write_private(folder / f"{name}.json", msgspec.json.encode(found))


def references(model: ModelIdentity, entries: list[Entry] | None = None) -> tuple[str, ...]:
    """What may find a circuit's model, as `--model` takes it, the surest first.

    First where just these revisions were loaded last, then what past circuits (`entries`, read if not
    given) say, then the model's name, then where others of that name were loaded. Nothing is checked.
    """
    exact: list[str] = []
    alike: list[str] = []
    revisions = model.revision, model.dictionaries_revision
    for one in _all():
        if one.names == (model.name, model.dictionaries):
            same = (one.revision, one.dictionaries_revision) == revisions
            (exact if same else alike).append(one.reference)
    if entries is None:
        entries = History(state_path() / "circuits").entries()
    past = given_in(entries, model)
    found = (*exact, *([past] if past else []), model.reference, *alike)
    return tuple(dict.fromkeys(found))


def _folder() -> Path:
    return state_path() / "models"


def notes() -> list[Path]:
    """The files that hold a note each."""
    with suppress(OSError):
        return sorted(path for path in _folder().iterdir() if path.suffix == ".json")
    return []


def fault_of(path: Path) -> str:
    """Why a note cannot be read, as a clause; "" if it can."""
    try:
        decode_json(read_bytes(path, NOTE), Loaded)
    except OSError as error:
        return error.strerror or "the disk refuses it"
    except Undecodable as error:
        return str(error)
    return ""


def _all() -> list[Loaded]:
    """All notes, the last written first. A file that is something else is passed over."""
    found: list[tuple[float, Loaded]] = []
    for path in notes():
        try:
            data, when = read_bytes(path, NOTE), path.stat().st_mtime
            found.append((when, decode_json(data, Loaded)))
        except OSError:
            continue
        except Undecodable:
            put_aside(path)
    return [one for _, one in sorted(found, key=lambda pair: -pair[0])]
