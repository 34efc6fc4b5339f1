"""`scd-tui check`: are a model's dictionaries loaded as they were trained?"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scd_tui.commands.options import (
    add_device,
    add_dictionaries,
    find_with_dictionaries,
    load_model,
    model_reference,
    positive,
)
from scd_tui.commands.parser import Parser

_PROMPTS_A_SET = 4
"""Of the bundled sets, for the share explained: enough to average over, seconds on a large model."""


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui check",
        description="Measure whether a model's dictionaries are loaded as they were trained: how many "
        "features fire, how much they explain, what they cost. Exit code 1 when one failed.",
    )
    parser.add_argument(
        "model", nargs="?", default="demo", metavar="MODEL", help="model (default: demo)"
    )
    add_dictionaries(parser)
    parser.add_argument(
        "--text", type=Path, metavar="FILE", help="text to measure on (default: the bundled one)"
    )
    parser.add_argument(
        "--tokens",
        type=positive,
        default=4096,
        metavar="N",
        help="how much of the text, spread evenly over it (default: 4096)",
    )
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print every number as JSON")
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)
    from scd_tui.catalog.prompts import load_prompt_sets
    from scd_tui.catalog.texts import bundled_text, read_text

    spec = find_with_dictionaries(model_reference(arguments), "the dictionary check")
    text = bundled_text() if arguments.text is None else read_text(arguments.text)
    prompts = [prompt for s in load_prompt_sets() for prompt in s.prompts[:_PROMPTS_A_SET]]

    from scd_tui.attribution.gate import askable, measure
    from scd_tui.attribution.windows import Windows, token_windows
    from scd_tui.console import progress
    from scd_tui.export.gate_table import Report, encode, render
    from scd_tui.judge import Published, judge
    from scd_tui.saying import safe_json

    loaded = load_model(spec, arguments.device)
    model = loaded.model
    first = model.bos if spec.prepends_bos else None
    windows = Windows(token_windows(model, text.text, arguments.tokens, first=first), first)
    asked = askable(model, prompts, first=first)
    with progress() as bars:
        task = bars.add_task("measuring", total=None)
        measured = tuple(
            measure(
                model,
                loaded.dictionaries,
                windows,
                asked,
                on_progress=lambda done, total: bars.update(task, completed=done, total=total),
            )
        )
    published = spec.published
    if arguments.text is not None:
        # how much is explained depends on the text, how many features fire hardly at all
        published = {site: Published(l0=known.l0) for site, known in published.items()}
    report = Report(
        model=loaded.identity,
        text=text.name,
        window=windows.ids.shape[1],
        prompts=len(asked),
        measured=measured,
        verdicts=tuple(judge(found, published.get(found.site)) for found in measured),
    )
    sys.stdout.write(safe_json(encode(report).decode()) if arguments.json else render(report))
    return 0 if report.passed else 1
