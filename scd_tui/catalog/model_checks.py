"""What a first load found of a model itself, kept by revision and by the libraries that ran it."""

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from math import isfinite
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from scd_tui.aside import put_aside
from scd_tui.decoding import Undecodable, decode_json
from scd_tui.files import write_private
from scd_tui.graph import Record, Site
from scd_tui.reading import RESULT, read_bytes

_VERSION = 2
"""Of how it is checked; what another version found is not read."""


class ModelCheck(Record, frozen=True):
    """`difference`: the largest |Δ log-probability| from plain transformers, in nats; None where the
    model could not be compared. `unusable`: by site, why the model cannot be cut there.
    """

    difference: float | None
    unusable: dict[str, str] = {}  # noqa: RUF012


def checks_dir() -> Path:
    """Where they lie; it can be deleted at any time."""
    return user_cache_path("scd-tui") / "models"


def _path(revision: str, options: Mapping[str, bool], sites: Iterable[Site]) -> Path:
    loaded = (
        _VERSION,
        revision,
        sorted(options.items()),
        sorted(str(site) for site in sites),
        version("transformer_lens"),
        version("transformers"),
    )
    return checks_dir() / f"{hashlib.sha256(msgspec.json.encode(loaded)).hexdigest()[:32]}.json"


def read_check(path: Path) -> ModelCheck:
    """What a file holds. Raises OSError, or Undecodable."""
    return decode_json(read_bytes(path, RESULT), ModelCheck)


def kept_check(
    revision: str, options: Mapping[str, bool], sites: Iterable[Site]
) -> ModelCheck | None:
    """What was found of a model, processed by `options`, at these sites; None if nothing was kept."""
    path = _path(revision, options, sites)
    try:
        return read_check(path)
    except Undecodable:
        put_aside(path)
    except OSError:
        pass
    return None


def keep_check(
    revision: str, options: Mapping[str, bool], sites: Iterable[Site], found: ModelCheck
) -> None:
    """Keep it, readable by its owner only. A check that cannot be kept is made again."""
    if found.difference is not None and not isfinite(found.difference):
        return  # JSON has no such number
    path = _path(revision, options, sites)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, msgspec.json.encode(found))
