"""`scd-tui config`: where the configuration file is, and what is in force, as such a file."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from scd_tui.commands.parser import Parser
from scd_tui.text import is_unsafe

if TYPE_CHECKING:
    from scd_tui.config import Config


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui config",
        description="Print where the configuration file is and what is in force, as such a file.",
    )
    parser.add_argument("--path", action="store_true", help="print the path of the file alone")
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)
    from scd_tui.config import config_path, read_config
    from scd_tui.saying import put

    path = config_path()
    if arguments.path:
        put(str(path))
        return 0
    config, problem = read_config(path)
    if problem:
        where = problem
    elif path.exists():
        where = f"what {path} and the defaults say"
    else:
        where = f"the defaults; {path} would be read if it were there"
    put(f"# {where}")
    sys.stdout.write("\n".join(_lines(config)) + "\n")
    return 1 if problem else 0


def _lines(config: "Config") -> Iterator[str]:
    """The configuration as TOML, and every key that it could change as a comment."""
    import msgspec

    from scd_tui.config import MEANINGS
    from scd_tui.tui.bindings import all_keys

    fields = msgspec.to_builtins(config)
    tables = {name: fields.pop(name) for name in ("defaults", "keys")}
    for name, value in fields.items():
        yield f"{name} = {_toml(value)}  # {MEANINGS[name]}"
    yield "\n[defaults]"
    for name, value in tables["defaults"].items():
        yield f"{name} = {_toml(value)}  # {MEANINGS[name]}"
    yield "\n[keys]\n# several keys of one action stand between commas"
    for section, bindings in all_keys():
        yield f"# {section}"
        for one in bindings:
            changed = tables["keys"].pop(one.id, None)
            line = f"{_toml(one.id)} = {_toml(changed or one.key)}  # {one.description}"
            yield line if changed else f"# {line}"
    for name, value in tables["keys"].items():
        yield f"{_toml(name)} = {_toml(value)}  # there is no action of this name"


def _toml(value: object) -> str:
    """A string or number as TOML writes it: the escapes of its basic strings are those of JSON, and one
    for what lies beyond the first plane."""
    written = json.dumps(value, ensure_ascii=False)
    return "".join(
        f"\\U{ord(character):08x}" if is_unsafe(character) else character for character in written
    )
