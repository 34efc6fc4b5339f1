"""Saving the circuit on the screen, and the screen."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec

from scd_tui.errors import RunError
from scd_tui.files import why, write_new
from scd_tui.graph import Circuit
from scd_tui.history import Folds, View
from scd_tui.reading import CIRCUIT, read_bytes
from scd_tui.saved import decode_saved, encode_saved


def stem_of(circuit: Circuit) -> str:
    """A file name, without its end, that says what the circuit is of, and nothing of its text."""
    stem = f"circuit-{circuit.model.name}-{circuit.target.root}"
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.@") else "-" for c in stem)


def _names(folder: Path, stem: str, suffix: str) -> Iterator[Path]:
    yield folder / f"{stem}{suffix}"
    yield from (folder / f"{stem}-{number}{suffix}" for number in count(2))


def write_numbered(folder: Path, stem: str, suffix: str, data: bytes) -> Path:
    """Write a file of this name, or with the first number behind it that nothing has. Raises RunError.

    What has the name already is never touched, be it a link that leads nowhere, or a file that another
    app makes at the same time.
    """
    for path in _names(folder, stem, suffix):
        if not os.path.lexists(path):
            try:
                write_new(path, data)
            except FileExistsError:
                continue
            except OSError as error:
                raise RunError(f"{path} cannot be written: {why(error)}") from None
            return path
    raise AssertionError("there is always another number")


def save(folder: Path, circuit: Circuit, view: View) -> tuple[Path, bool]:
    """Write the circuit into `folder`, unless it is there just so.

    Returns the file, and whether it was written now. Raises InputError, and ValueError on NaN.
    """
    for path in _names(folder, stem_of(circuit), ".json"):
        if not os.path.lexists(path):
            break
        if path.is_file() and _holds(path, circuit, view):
            return path, False
    return write_numbered(folder, stem_of(circuit), ".json", encode_saved(circuit, view)), True


def _holds(path: Path, circuit: Circuit, view: View) -> bool:
    """Whether a file has just this circuit, looked at so, wherever the cursor stands."""
    try:
        found, seen = decode_saved(read_bytes(path, CIRCUIT))
    except (OSError, ValueError):
        return False
    return (
        seen is not None and _without_cursors(seen) == _without_cursors(view) and found == circuit
    )


def _without_cursors(view: View) -> View:
    others = {by: Folds(folds.open) for by, folds in view.others.items()}
    return msgspec.structs.replace(view, cursor=(), others=others)
