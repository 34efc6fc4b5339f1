"""`scd-tui models`: what there is, what of it is here, and how it would run on this machine."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scd_tui.commands.options import add_device
from scd_tui.commands.parser import Parser
from scd_tui.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from scd_tui.catalog.choice import Choice
    from scd_tui.catalog.plan import Machine


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui models",
        description="List the models with their sets of dictionaries: whether they are downloaded, how "
        "large they are, what memory they need and how they would run here. Uses no network.",
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="tell all of this one")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)

    from scd_tui.catalog.machine import this_machine
    from scd_tui.catalog.overview import overview

    machine = this_machine()
    device: str = arguments.device
    if device.startswith("cuda") and not any(device in ("cuda", gpu.name) for gpu in machine.gpus):
        raise InputError(f"there is no device {device}: use auto or cpu")
    if device not in ("auto", "cpu") and not device.startswith("cuda"):
        raise InputError(f"{device!r} is not a device: use auto, cpu, cuda or cuda:N")
    found = overview(machine, device, arguments.model)
    if arguments.json:
        from scd_tui.saying import as_json

        sys.stdout.write(as_json(found))
        return 0
    from scd_tui.console import CleanConsole

    console = CleanConsole()
    if not console.is_terminal:
        console.width = 200
    if arguments.model is None:
        _print_table(found, machine, console)
    else:
        _print_in_full(found, console)
    return 0


def _print_table(choices: "Sequence[Choice]", machine: "Machine", console: "Console") -> None:
    """A row a set, the usual set of each model first."""
    from rich.table import Table
    from rich.text import Text

    from scd_tui.catalog.plan import TOKENS
    from scd_tui.catalog.words import (
        STATES,
        machine_in_words,
        memory_in_words,
        sites_in_words,
        size_in_words,
    )
    from scd_tui.text import visible

    console.print(Text(f"This machine: {visible(machine_in_words(machine))}\n"), soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("MODEL:SET", "HERE", "SIZE", "MEMORY", "RUNS", "SITES"):
        right = heading in ("SIZE", "MEMORY")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading != "SITES")
    for one in choices:
        runs = one.runs if one.state != "broken" else one.why
        cells = (
            *(one.reference, STATES[one.state], size_in_words(one), memory_in_words(one)),
            *(runs, sites_in_words(one.sites) if one.state != "broken" else ""),
        )
        table.add_row(*(Text(visible(cell)) for cell in cells))
    console.print(table)
    console.print(
        Text(
            f"\nMEMORY: of a run in float32 where it computes, with prompts of {TOKENS} tokens; where none "
            "fits, of the\nleast demanding. SIZE: of the files; ≤ where only a bound is known. "
            "scd-tui models NAME tells more of one."
        ),
        soft_wrap=True,
    )


def _print_in_full(choices: "Sequence[Choice]", console: "Console") -> None:
    """All that is known of each set."""
    from rich.text import Text

    from scd_tui.catalog.words import facts
    from scd_tui.text import visible

    for one in choices:
        console.print(Text(visible(one.reference), style="bold"))
        for name, value in facts(one):
            console.print(Text(f"  {name:<13} {visible(value)}"), soft_wrap=True)
        console.print()
