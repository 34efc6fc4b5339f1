"""Verdicts of the load gate, kept by what was loaded: a set is measured once for each of its revisions."""

import contextlib
import hashlib
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from scd_tui.aside import put_aside
from scd_tui.decoding import Undecodable, decode_json
from scd_tui.files import write_private
from scd_tui.graph import DictionaryGate, ModelIdentity
from scd_tui.reading import RESULT, read_bytes

_VERSION = 3
"""Of how it is measured; verdicts of another are not read."""


def verdicts_dir() -> Path:
    """Where they lie; it can be deleted at any time."""
    return user_cache_path("scd-tui") / "gates"


def _path(model: ModelIdentity) -> Path:
    loaded = (
        *(_VERSION, model.revision, model.dictionaries_revision, model.prepends_bos),
        [str(site) for site in model.sites],
    )
    return verdicts_dir() / f"{hashlib.sha256(msgspec.json.encode(loaded)).hexdigest()[:32]}.json"


def read_verdicts(path: Path) -> tuple[DictionaryGate, ...]:
    """What a file holds. Raises OSError, or Undecodable."""
    return decode_json(read_bytes(path, RESULT), tuple[DictionaryGate, ...])


def kept_gate(model: ModelIdentity) -> tuple[DictionaryGate, ...]:
    """The verdicts on just this model's dictionaries, all of them; none if they were not kept."""
    path = _path(model)
    try:
        found = read_verdicts(path)
    except OSError:
        return ()
    except Undecodable:
        put_aside(path)
        return ()
    return found if [one.site for one in found] == list(model.sites) else ()


def keep_gate(model: ModelIdentity, gate: tuple[DictionaryGate, ...]) -> None:
    """Keep the verdicts, readable by their owner only. What cannot be kept is measured again."""
    path = _path(model)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, msgspec.json.encode(gate))
