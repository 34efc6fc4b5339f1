"""`scd-tui open`: walk or print a saved circuit, without a model."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from scd_tui.commands.options import (
    add_model,
    add_offline,
    add_pruning,
    as_pruned,
    model_reference,
    saved,
)
from scd_tui.commands.parser import Parser
from scd_tui.errors import InputError


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="scd-tui open", description="Walk a saved circuit.")
    parser.add_argument("file", type=Path, metavar="FILE", help="the file, - for standard input")
    parser.add_argument("--print", action="store_true", help="print it instead of opening the app")
    add_pruning(parser)
    add_model(parser, None, "the file's, from where it was loaded last")
    add_offline(parser)
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)
    circuit, view = saved(arguments.file)
    circuit = as_pruned(circuit, arguments)
    if arguments.print:
        from scd_tui.export.tree import print_tree

        print_tree(circuit)
        return 0
    from scd_tui.tui.terminal import refuse_reason

    if model := model_reference(arguments):
        from scd_tui.catalog.models import absolute, find

        find(model)
        model = absolute(model)

    if reason := refuse_reason(os.environ, sys.stdin.isatty() and sys.stderr.isatty()):
        raise InputError(f"{reason} (scd-tui open FILE --print needs none)")
    from scd_tui.tui.run import run_app

    return run_app(circuit=circuit, view=view, model=model or None, offline=arguments.offline)
