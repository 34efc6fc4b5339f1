"""`scd-tui diff`: two saved circuits by value."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scd_tui.commands.options import positive, saved_circuit
from scd_tui.commands.parser import Parser
from scd_tui.reading import StandardInput


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui diff",
        description="Compare two saved circuits by value: what both list, what one alone lists, and "
        "how far effects and edges differ where both are known.",
    )
    parser.add_argument("a", type=Path, metavar="A", help="a saved circuit, - for standard input")
    parser.add_argument("b", type=Path, metavar="B", help="another")
    parser.add_argument(
        "--by",
        choices=("node", "feature"),
        help="compare node by node, or each feature with its listed positions summed (default: "
        "node by node if the prompts have as many tokens)",
    )
    parser.add_argument(
        "--top", type=positive, default=15, metavar="N", help="lines of each list (default: 15)"
    )
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)

    from scd_tui.comparison import compare
    from scd_tui.saying import as_json, put
    from scd_tui.text import visible

    stdin = StandardInput()
    a, b = (saved_circuit(path, stdin) for path in (arguments.a, arguments.b))
    found = compare(a, b, arguments.by)
    if arguments.json:
        sys.stdout.write(as_json(found))
        return 0
    from scd_tui.export.comparison import comparison_lines

    names = (visible(str(arguments.a)), visible(str(arguments.b)))
    for line in comparison_lines(found, names, arguments.top):
        put(line)
    return 0
