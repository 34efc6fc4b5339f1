"""Special files of every kind, and all options of all commands that take a path."""

import argparse
import os
import socket
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from scd_tui.commands import COMMANDS

WRITTEN = frozenset({"--out", "--markdown", "--json-out"})
"""Options whose file is written: what may lie there is another subject."""
NO_PATH = frozenset(
    {"--target", "--contrast", "--contrast-prompt", "--method", "--device", "--set"}
)
"""Texts and names that are no path."""


def _bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(path.parent)
        one.bind(path.name)
        os.chdir(here)


def _link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


SPECIAL: dict[str, Callable[[Path], None]] = {
    "fifo": lambda path: os.mkfifo(path),
    "socket": _bound,
    "folder": lambda path: path.mkdir(),
    "zero": _link("/dev/zero"),
    "urandom": _link("/dev/urandom"),
    "full": _link("/dev/full"),
    "null": _link("/dev/null"),
    "tty": _link("/dev/tty"),
    "stdin": _link("/dev/stdin"),
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": _link("/nonexistent"),
    "empty": _empty,
    "huge": _huge,
}
"""By name, what makes one at a path. `huge` is a terabyte that takes no room."""


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parser of each command, by its name."""
    for command in ("app", *COMMANDS):
        if command != "worker":
            module = import_module(f"scd_tui.commands.{command.replace('-', '_')}")
            yield command, module.make_parser()


def calls(path: str, circuit: str, text: str, out: str) -> Iterator[list[str]]:
    """Calls of every command with `path` for one argument that may take a path, the others being sound.

    They are found from the parsers: an option that is added later is among them.
    """
    for command, parser in parsers():
        first = [] if command == "app" else [command]
        sound = {"model": "demo", "text": text, "out": out}
        for action in parser._actions:
            if not _takes_text(action):
                continue
            words = list(first)
            for one in parser._actions:
                value = path if one is action else sound.get(one.dest, circuit)
                needed = one is action or one.required
                if needed and one.option_strings:
                    words += [one.option_strings[0], value]
                elif needed or (one.dest == "model" and not one.option_strings):
                    words.append(value)
            if action.dest == "dictionaries" and not ({"--model", "demo"} & set(words)):
                words += ["--model", "demo"]
            yield words


def _takes_text(action: argparse.Action) -> bool:
    if action.nargs == 0 or action.choices is not None or action.dest in ("help", "version"):
        return False
    if WRITTEN & set(action.option_strings) or NO_PATH & set(action.option_strings):
        return False
    return action.type in (None, Path, str) and action.dest != "prompt"
