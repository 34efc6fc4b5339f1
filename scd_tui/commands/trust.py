"""`scd-tui trust`: how far the scores can be believed, by prompt set, metric and method."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scd_tui.commands.options import (
    add_model_options,
    find_with_dictionaries,
    load_model,
    model_reference,
)
from scd_tui.commands.parser import Parser
from scd_tui.errors import InputError

METHODS = ("gradient", "integrated", "all")


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui trust",
        description="Compare effects with exact ablation over prompt sets, by metric and method, and "
        "the strongest edges with the same measured along their direct path: of each statistic the "
        "median over a set's prompts, and in brackets the worst.",
    )
    parser.add_argument(
        "sets", nargs="*", type=Path, metavar="SET.toml", help="prompt sets (default: the bundled)"
    )
    parser.add_argument(
        "--method",
        action="append",
        metavar="METHOD",
        help="how the effects are found: gradient, integrated or all; can be given again "
        "(default: all)",
    )
    add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="print every prompt's scores as JSON")
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)
    wanted: list[str] = arguments.method or ["all"]
    for method in wanted:
        if method == "exact":
            raise InputError(
                "exact effects are what the other methods are compared with: leave out exact"
            )
        if method not in METHODS:
            raise InputError(f"there is no method {method!r}: use {', '.join(METHODS)}")
    from scd_tui.catalog.prompts import load_prompt_sets

    spec, sets = (
        find_with_dictionaries(model_reference(arguments), "a measurement of trust"),
        load_prompt_sets(arguments.sets or None),
    )

    from scd_tui.attribution.survey import (
        COMPARED,
        EDGES,
        STATISTICS,
        summarise,
        survey,
        worst_set,
    )
    from scd_tui.console import progress
    from scd_tui.export.trust_table import HEADINGS, markdown, trust_row
    from scd_tui.saying import as_json

    loaded = load_model(spec, arguments.device)
    with progress() as bars:
        task = bars.add_task("prompts", total=None)
        found = list(
            survey(
                loaded,
                sets,
                methods=[method for method in COMPARED if method in wanted or "all" in wanted],
                on_progress=lambda done, total: bars.update(task, completed=done, total=total),
            )
        )
    if arguments.json:
        sys.stdout.write(as_json(found))
        return 0
    rows = summarise(found)
    table: list[Sequence[str]] = [HEADINGS]
    for row in rows:
        cells = [(row.median[s], row.worst[s]) for s in (*STATISTICS, EDGES)]
        table.append(trust_row(row.prompt_set, row.metric, row.method, row.prompts, cells))
    sys.stdout.write(markdown(table))
    if (worst := worst_set(rows)) is not None:
        sys.stdout.write(
            f"\nLowest median ρ of sizes: {worst.prompt_set}, {worst.metric} by {worst.method}.\n"
        )
    return 0
