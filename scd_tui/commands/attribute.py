"""`scd-tui attribute`: the circuit behind a completion, without the app."""

import argparse
import sys
from collections.abc import Sequence

from scd_tui.commands.options import (
    STANDARD_OUTPUT,
    add_model_options,
    add_out,
    add_prompt,
    add_pruning,
    add_stream,
    as_pruned,
    check_out,
    find_with_dictionaries,
    load_model,
    model_reference,
    parse_prompt,
    positive,
    prompt_text,
    write_out,
)
from scd_tui.commands.parser import Parser
from scd_tui.errors import InputError


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui attribute",
        description="Print the circuit behind a completion: sites from the last to the first, each with "
        "its strongest nodes, and under each node the 3 strongest edges into it from all sites. Edges "
        "below 1% of the strongest into the same node are counted in one line.",
    )
    add_prompt(parser)
    parser.add_argument(
        "--target", metavar="T", help="the token, or tokens, to explain (default: the likeliest)"
    )
    parser.add_argument(
        "--contrast",
        metavar="T",
        help="the token to hold it against, for diff (default: the likeliest other; where the prompt "
        "has one of the likeliest ten, the output names it)",
    )
    parser.add_argument(
        "--metric",
        default="diff",
        choices=("diff", "logp", "logit"),
        help="logit difference, log-probability or mean-centred logit (default: diff)",
    )
    parser.add_argument(
        "--position", type=int, metavar="P", help="token position to explain (default: the last)"
    )
    parser.add_argument(
        "--continuation",
        type=positive,
        metavar="N",
        help="explain the Nth token of what the model says next, the likeliest each time",
    )
    parser.add_argument(
        "--contrast-prompt",
        metavar="TEXT",
        help="attribute the difference from this prompt, of as many tokens",
    )
    parser.add_argument(
        "--method",
        default="gradient",
        choices=("gradient", "integrated", "exact"),
        help="how effects are found: gradient x activation, integrated gradients, or ablation of "
        "every node, which is slow (default: gradient)",
    )
    parser.add_argument(
        "--skip-first",
        action="store_true",
        help="leave the first position out, as sinks are, on a model whose first position is none",
    )
    parser.add_argument(
        "--sinks",
        action="store_true",
        help="let sinks count: positions with a massive activation, a prepended BOS and positions that "
        "the dictionaries were trained without are left out otherwise",
    )
    parser.add_argument(
        "--freeze-patterns",
        action="store_true",
        help="hold where attention looks fixed, as circuit-tracer does",
    )
    add_model_options(parser)
    add_stream(parser)
    parser.add_argument(
        "--no-gate",
        action="store_true",
        help="do not measure whether dictionaries that were never used before are loaded right",
    )
    parser.add_argument(
        "--top", type=positive, default=10, metavar="N", help="nodes a site (default: 10)"
    )
    add_pruning(parser)
    add_out(parser, "the whole circuit")
    parser.add_argument("--json", action="store_true", help="print the circuit as JSON")
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = parse_prompt(make_parser(), argv)
    prompt = prompt_text(arguments)
    if prompt is None:
        raise InputError("no prompt was given: scd-tui attribute PROMPT, or --prompt-file FILE")
    if not prompt:
        raise InputError("the prompt is empty: give some text")

    check_out(arguments.out)
    if arguments.json and arguments.out == STANDARD_OUTPUT:
        raise InputError("both --json and --out - print a circuit: leave out one of them")
    spec = find_with_dictionaries(model_reference(arguments), "a circuit")

    from scd_tui.attribution.explain import explain, measured_circuit
    from scd_tui.config import cache_path
    from scd_tui.export.tree import print_tree
    from scd_tui.graph import Settings, encode_circuit
    from scd_tui.neuronpedia.labels import with_labels
    from scd_tui.neuronpedia.start import cache_folder
    from scd_tui.saying import safe_json

    loaded = load_model(spec, arguments.device, stream=arguments.stream, gate=not arguments.no_gate)
    explanation = explain(
        loaded,
        prompt,
        target=arguments.target,
        contrast=arguments.contrast,
        metric=arguments.metric,
        position=arguments.position,
        continuation=arguments.continuation,
        contrast_prompt=arguments.contrast_prompt,
        settings=Settings(
            top=arguments.top,
            method=arguments.method,
            skip_first=arguments.skip_first,
            freeze_patterns=arguments.freeze_patterns,
            sinks=arguments.sinks,
        ),
    )
    circuit = with_labels(
        measured_circuit(explanation),
        spec.features,
        cache_folder(cache_path()),
        made=cache_path() / "contexts",
    )
    shown = as_pruned(circuit, arguments)
    problem: InputError | None = None
    if arguments.out is not None:
        try:
            write_out(arguments.out, encode_circuit(circuit))
        except InputError as error:
            problem = error  # what took so long to make is printed all the same
    if arguments.json:
        sys.stdout.write(safe_json(encode_circuit(shown).decode()))
    elif arguments.out != STANDARD_OUTPUT:
        print_tree(shown)
    if problem is not None:
        raise problem
    return 0
