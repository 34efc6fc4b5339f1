"""What a terminal sends for keys, and every key that the app binds."""

import inspect
from collections.abc import Iterable

from textual.binding import Binding
from textual.keys import REPLACED_KEYS, key_to_character

from scd_tui.tui import bindings

_SEQUENCES = {
    "enter": b"\r",
    "tab": b"\t",
    "escape": b"\x1b",
    "space": b" ",
    "backspace": b"\x7f",
    "delete": b"\x1b[3~",
    "up": b"\x1b[A",
    "down": b"\x1b[B",
    "right": b"\x1b[C",
    "left": b"\x1b[D",
    "home": b"\x1b[H",
    "end": b"\x1b[F",
    "pageup": b"\x1b[5~",
    "pagedown": b"\x1b[6~",
    "shift+tab": b"\x1b[Z",
    "f1": b"\x1bOP",
}
LEAVING = frozenset({"q", "ctrl+q", "ctrl+z"})
"""Keys that end the app, or stop its process until the shell continues it."""


def sent(key: str) -> bytes:
    """The bytes of a key by Textual's name."""
    if key in _SEQUENCES:
        return _SEQUENCES[key]
    if key.startswith("ctrl+") and len(key) == 6:
        return bytes([ord(key[-1]) & 0x1F])
    character = key_to_character(REPLACED_KEYS.get(key, key))
    if character is None:
        raise ValueError(f"no terminal sends {key}")
    return character.encode()


def pasted(text: str) -> bytes:
    """A text as a terminal with bracketed paste sends it."""
    return b"\x1b[200~" + text.encode() + b"\x1b[201~"


def bound_keys() -> dict[str, str]:
    """Every key of every table of bindings, with what it does in one of them."""
    found: dict[str, str] = {}
    for name, table in inspect.getmembers(bindings, inspect.isfunction):
        if name.endswith("_keys") and not inspect.signature(table).parameters:
            for one in _flat(table()):
                for each in Binding.make_bindings([one]):
                    found.setdefault(each.key, each.action)
    return found


def keys_for(*actions: str) -> tuple[str, ...]:
    """The keys of these actions of the app, as its own table has them."""
    table = [one for one in bindings.app_keys() if isinstance(one, Binding)]
    wanted = [one for one in (*table, *_flat(bindings.tree_keys())) if _bare(one.action) in actions]
    return tuple(each.key for each in Binding.make_bindings(wanted))


def _bare(action: str) -> str:
    return action.removeprefix("app.").partition("(")[0]


def _flat(table: Iterable[object]) -> list[Binding]:
    """The bindings of a table, or of a table with sections."""
    found: list[Binding] = []
    for one in table:
        if isinstance(one, Binding):
            found.append(one)
        elif isinstance(one, tuple):
            found += _flat(one[1])
    return found
