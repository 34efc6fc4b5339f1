"""`scd-tui bench`: speed and memory, as ratios of what is measured in one run."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scd_tui.commands.options import (
    add_device,
    add_dictionaries,
    device,
    find_with_dictionaries,
    model_reference,
    positive,
)
from scd_tui.commands.parser import Parser
from scd_tui.errors import InputError

if TYPE_CHECKING:
    from scd_tui.bench.sizes import Shape
    from scd_tui.catalog.models import ModelSpec


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui bench",
        description="Measure how fast a circuit is made and what memory it takes, beside the dictionaries' "
        "encoder products alone and beside the published procedure.",
    )
    parser.add_argument(
        "--model",
        default="demo",
        metavar="MODEL",
        help="model, or random weights of a published size: gpt2-shape, gpt2-shape-128k, tiny-shape "
        "(default: demo)",
    )
    parser.add_argument(
        "--tokens", type=positive, default=15, metavar="N", help="prompt length (default: 15)"
    )
    parser.add_argument(
        "--top", type=positive, default=10, metavar="N", help="features a site (default: 10)"
    )
    add_dictionaries(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print every number as JSON")
    parser.add_argument(
        "--no-reference", action="store_true", help="leave the published procedure out"
    )
    return parser


def _named(name: str) -> "Shape | ModelSpec":
    from scd_tui.bench.sizes import SHAPES

    if name in SHAPES:
        return SHAPES[name]
    try:
        return find_with_dictionaries(name, "the benchmark")
    except InputError as error:
        raise InputError(f"{error} (or, with random weights, {', '.join(SHAPES)})") from None


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)
    wanted = _named(model_reference(arguments))

    from scd_tui.bench.measure import measure
    from scd_tui.bench.sizes import Shape
    from scd_tui.bench.subject import catalogued_subject, random_subject
    from scd_tui.console import progress
    from scd_tui.export.bench_table import encode, render
    from scd_tui.saying import safe_json

    subject = random_subject(wanted) if isinstance(wanted, Shape) else catalogued_subject(wanted)
    with progress() as bars:
        task = bars.add_task("starting", total=None)
        timings = measure(
            subject,
            device(arguments.device),
            tokens=arguments.tokens,
            top=arguments.top,
            with_reference=not arguments.no_reference,
            on_progress=lambda doing, done, total: bars.update(
                task, description=doing, completed=done, total=total
            ),
        )
    sys.stdout.write(safe_json(encode(timings).decode()) if arguments.json else render(timings))
    return 0
