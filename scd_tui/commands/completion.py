"""Completion of commands, options, model names and files in the user's shell."""

import argparse
import re
from importlib import import_module
from pathlib import Path

import shtab

from scd_tui.catalog.models import names
from scd_tui.commands import COMMANDS

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
"""A name that a shell expands to itself: the file of a user's model can have any name."""
_FOLDERS = ("DIR", "FOLDER")
_FILES = ("FILE", "A", "B", "SET.toml")


def completion_script(shell: str, app: argparse.ArgumentParser) -> str:
    """A script for `shell` to read; `app` has the options of a call without a command."""
    root = argparse.ArgumentParser(prog="scd-tui")
    for action in app._actions:
        # a prompt cannot be completed, and would stand where commands do
        if action.option_strings and action.dest != "help":
            root._add_action(action)
    commands = root.add_subparsers()
    for name in COMMANDS:
        made = import_module(f"scd_tui.commands.{name.replace('-', '_')}").make_parser()
        about = (made.description or "").split(". ")[0].split(": ")[0].rstrip(".")
        one = commands.add_parser(name, parents=[made], add_help=False, help=about)
        _offer(one)
    _offer(root)
    return str(shtab.complete(root, shell=shell))


def _offer(parser: argparse.ArgumentParser) -> None:
    """Say of each argument what stands for it: a file, a folder, or a model's name."""
    for action in parser._actions:
        metavar = action.metavar
        if metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif metavar in _FILES or action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif metavar == "MODEL":
            action.choices = [name for name in names() if _PLAIN.fullmatch(name)]
