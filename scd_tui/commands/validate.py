"""`scd-tui validate`: whether the nodes of a saved circuit do it alone."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scd_tui.commands.options import (
    add_device,
    add_model,
    load_model,
    model_reference,
    saved_circuit,
)
from scd_tui.commands.parser import Parser
from scd_tui.reading import StandardInput


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui validate",
        description="Measure faithfulness and completeness of a saved circuit by its number of "
        "nodes, beside random features and MLP neurons. Its model is run again, from where it was "
        "loaded last unless --model says otherwise.",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="a circuit that was saved, - for standard input"
    )
    parser.add_argument(
        "--text", type=Path, metavar="FILE", help="take means over FILE (default: a bundled text)"
    )
    add_model(parser, None, "the file's")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)
    from scd_tui.catalog.texts import bundled_text, read_text

    stdin = StandardInput()
    circuit = saved_circuit(arguments.file, stdin)
    text = bundled_text() if arguments.text is None else read_text(arguments.text, stdin)

    import msgspec

    from scd_tui.attribution.again import ask_again, comparison
    from scd_tui.attribution.validation import validate
    from scd_tui.catalog.made_with import model_of
    from scd_tui.console import progress
    from scd_tui.export.curves import print_validation
    from scd_tui.saying import as_json

    loaded = load_model(model_of(circuit.model, model_reference(arguments)), arguments.device)
    explanation = ask_again(loaded, circuit)
    with progress() as bars:
        task = bars.add_task("curves", total=None)
        found = validate(
            explanation,
            text,
            on_progress=lambda stage, done, total: bars.update(
                task, description=stage, completed=done, total=total
            ),
        )
    notes = (comparison(explanation.attribution, circuit), *found.notes)
    found = msgspec.structs.replace(found, notes=notes)
    if arguments.json:
        sys.stdout.write(as_json(found))
    else:
        print_validation(found)
    return 0
