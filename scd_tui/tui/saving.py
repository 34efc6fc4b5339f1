"""Saving the circuit on the screen, and the screen."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from scd_tui.files import write_private
from scd_tui.graph import Circuit, encode_circuit


def free_path(folder: Path, circuit: Circuit) -> Path:
    """A file name in `folder` that says what the circuit is of, without its text, and is free."""
    stem = f"circuit-{circuit.model.name}-{circuit.target.root}"
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "-_.@") else "-" for c in stem)
    return numbered(folder, stem, ".json")


def numbered(folder: Path, stem: str, suffix: str) -> Path:
    """A file of this name, or with the first number behind it that is free."""
    path, number = folder / f"{stem}{suffix}", 2
    while path.exists():
        path = folder / f"{stem}-{number}{suffix}"
        number += 1
    return path


def save(path: Path, circuit: Circuit, labels: Mapping[str, str]) -> None:
    """Write the circuit with the explanations that were seen. Raises OSError."""
    explained = msgspec.structs.replace(circuit, explanations={**circuit.explanations, **labels})
    write_private(path, encode_circuit(explained))
