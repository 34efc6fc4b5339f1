"""Texts to measure on: the bundled one, or a file of the user's.

The bundled text is documentation of Python and of its library that the bundled model never saw in
training (the same held-out files as in its gate). Its licence is in `scd_tui/demo/data/NOTICE`.
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from scd_tui.errors import InputError


@dataclass(frozen=True)
class Text:
    """`name` is what tables call it."""

    name: str
    text: str


def bundled_text() -> Text:
    """Python documentation, 81 kB of it."""
    file = resources.files("scd_tui") / "catalog" / "texts" / "documentation.txt"
    return Text("Python documentation", file.read_text("utf-8"))


def read_text(path: Path) -> Text:
    """A UTF-8 file, under its own name. Raises InputError when it cannot be read or is empty."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
    if not text.strip():
        raise InputError(f"{path} is empty: give some text to measure on")
    return Text(path.name, text)
