"""Texts to measure on: the bundled one, or a file of the user's.

The bundled text is documentation of Python and of its library that the bundled model never saw in
training (the same held-out files as in its gate). Its licence is in `scd_tui/demo/data/NOTICE`.
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from scd_tui import reading
from scd_tui.errors import InputError
from scd_tui.reading import STANDARD_INPUT, TEXT, StandardInput, as_text


@dataclass(frozen=True)
class Text:
    """`name` is what tables call it."""

    name: str
    text: str


def bundled_text() -> Text:
    """Python documentation, 81 kB of it."""
    file = resources.files("scd_tui") / "catalog" / "texts" / "documentation.txt"
    return Text("Python documentation", file.read_text("utf-8"))


def read_text(path: Path, stdin: StandardInput | None = None) -> Text:
    """A UTF-8 file under its own name, or standard input for `-`.

    Raises InputError when it cannot be read or is empty.
    """
    name = "standard input" if path == STANDARD_INPUT else str(path)
    try:
        if path == STANDARD_INPUT:
            text = as_text((stdin or StandardInput()).read(TEXT), "standard input")
        else:
            text = reading.read_text(path, TEXT)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None
    if not text.strip():
        raise InputError(f"{name} is empty: give some text to measure on")
    return Text(name if path == STANDARD_INPUT else path.name, text)
