"""The `scd-tui` command.

Exit codes: 0, 1 when the run failed, 2 when the call was wrong. Errors are one line on stderr. What is
slow to import is imported by the command that needs it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scd_tui import __version__
from scd_tui.errors import InputError

if TYPE_CHECKING:
    import torch

_EPILOG = """\
commands:
  scd-tui [PROMPT]            open the app, on the bundled model unless --model says otherwise
  scd-tui attribute PROMPT    print the circuit behind a completion, without the app
  scd-tui open FILE           walk a saved circuit; no model is needed
  scd-tui trust [SET.toml ..] measure how far the scores can be believed, by prompt set and metric
  scd-tui worker              the process that owns the device; the app starts it

A prompt that is a command's name goes behind two dashes: scd-tui -- open
"""


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="demo", metavar="NAME", help="model (default: demo)")
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda or cuda:N (default: auto, CUDA if there is one)",
    )


def _add_prompt(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="the text to complete")
    parser.add_argument(
        "--prompt-file", metavar="FILE", help="read the prompt from FILE, or from stdin if it is -"
    )


def _app_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scd-tui",
        usage="scd-tui [PROMPT] [options]\n       scd-tui COMMAND ...",
        description="See which sparse-autoencoder features made a model say that, and check it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_prompt(parser)
    _add_model_options(parser)
    parser.add_argument("--version", action="version", version=f"scd-tui {__version__}")
    return parser


def _attribute_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scd-tui attribute",
        description="Print the circuit behind a completion.",
        allow_abbrev=False,
    )
    _add_prompt(parser)
    parser.add_argument(
        "--target", metavar="T", help="the token to explain (default: the likeliest)"
    )
    parser.add_argument("--contrast", metavar="T", help="the token to hold it against, for diff")
    parser.add_argument(
        "--metric",
        default="diff",
        choices=("diff", "logp", "logit"),
        help="logit difference, log-probability or mean-centred logit (default: diff)",
    )
    parser.add_argument(
        "--position", type=int, metavar="P", help="token position to explain (default: the last)"
    )
    _add_model_options(parser)
    parser.add_argument(
        "--top", type=_positive, default=10, metavar="N", help="nodes a site (default: 10)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="save the circuit to FILE")
    parser.add_argument("--json", action="store_true", help="print the circuit as JSON")
    return parser


def _open_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scd-tui open", description="Walk a saved circuit.", allow_abbrev=False
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--print", action="store_true", help="print it instead of opening the app")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_positive.__name__ = "number from 1 on"  # argparse names the type in its error


def _prompt_text(arguments: argparse.Namespace) -> str | None:
    if arguments.prompt_file is None:
        prompt: str | None = arguments.prompt
        return prompt
    if arguments.prompt is not None:
        raise InputError("a prompt was given twice: leave out PROMPT or --prompt-file")
    try:
        if arguments.prompt_file == "-":
            text = sys.stdin.read()
        else:
            text = Path(arguments.prompt_file).read_text("utf-8")
    except OSError as error:
        raise InputError(f"{arguments.prompt_file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{arguments.prompt_file} is not UTF-8 text") from None
    return text.removesuffix("\n")


def _run_app(argv: Sequence[str]) -> int:
    arguments = _app_parser().parse_args(argv)
    from scd_tui.catalog.models import find
    from scd_tui.tui.terminal import refuse_reason

    find(arguments.model)
    if reason := refuse_reason(os.environ, sys.stdin.isatty() and sys.stderr.isatty()):
        raise InputError(reason)
    from scd_tui.tui.app import run_app

    return run_app(_prompt_text(arguments), model=arguments.model, device=arguments.device)


def _run_attribute(argv: Sequence[str]) -> int:
    arguments = _attribute_parser().parse_args(argv)
    prompt = _prompt_text(arguments)
    if prompt is None:
        raise InputError("no prompt was given: scd-tui attribute PROMPT, or --prompt-file FILE")
    if not prompt:
        raise InputError("the prompt is empty: give some text")
    from scd_tui.catalog.models import find

    spec = find(arguments.model)
    if arguments.out is not None and not arguments.out.parent.is_dir():
        raise InputError(f"{arguments.out} cannot be written: its folder does not exist")

    from scd_tui.attribution.explain import explain, measured_circuit
    from scd_tui.attribution.load import load
    from scd_tui.graph import Settings, encode_circuit
    from scd_tui.neuronpedia.labels import with_labels

    loaded = load(spec, _device(arguments.device))
    target = arguments.target
    if target is None:
        tokens = loaded.model.prompt(prompt)
        target = loaded.model.completions(loaded.model.next_token_logits(tokens), 1)[0].token.id
    explanation = explain(
        loaded,
        prompt,
        target=target,
        contrast=arguments.contrast,
        metric=arguments.metric,
        position=arguments.position,
        settings=Settings(top=arguments.top),
    )
    circuit = with_labels(measured_circuit(explanation), spec.features)
    data = encode_circuit(circuit)
    if arguments.out is not None:
        from scd_tui.files import write_private

        try:
            write_private(arguments.out, data)
        except OSError as error:
            raise InputError(f"{arguments.out} cannot be written: {error.strerror}") from None
    if arguments.json:
        sys.stdout.write(data.decode())
    else:
        _print_tree(circuit)
    return 0


def _device(name: str) -> "torch.device":
    from scd_tui.attribution.numerics import choose_device, leave_a_core

    leave_a_core()
    try:
        return choose_device(name)
    except ValueError as error:
        raise InputError(str(error)) from None


def _print_tree(circuit: object) -> None:
    from rich.console import Console

    from scd_tui.export.tree import render
    from scd_tui.graph import Circuit

    assert isinstance(circuit, Circuit)
    # A pipe has no width of its own, and lines cut at 80 columns would lose their labels.
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(render(circuit))


def _run_open(argv: Sequence[str]) -> int:
    arguments = _open_parser().parse_args(argv)
    from scd_tui.graph import decode_circuit

    try:
        circuit = decode_circuit(arguments.file.read_bytes())
    except OSError as error:
        raise InputError(f"{arguments.file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{arguments.file} cannot be opened: {error}") from None
    if arguments.print:
        _print_tree(circuit)
        return 0
    from scd_tui.tui.terminal import refuse_reason

    if reason := refuse_reason(os.environ, sys.stdin.isatty() and sys.stderr.isatty()):
        raise InputError(f"{reason} (scd-tui open FILE --print needs none)")
    from scd_tui.tui.app import run_app

    return run_app(circuit=circuit)


def _run_trust(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scd-tui trust",
        description="Compare gradient effects with exact ablation over prompt sets: of each "
        "statistic the median over a set's prompts, and in brackets the worst.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "sets", nargs="*", type=Path, metavar="SET.toml", help="prompt sets (default: the bundled)"
    )
    _add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="print every prompt's scores as JSON")
    arguments = parser.parse_args(argv)
    from scd_tui.catalog.models import find
    from scd_tui.catalog.prompts import load_prompt_sets

    spec, sets = find(arguments.model), load_prompt_sets(arguments.sets or None)

    import msgspec
    from rich.console import Console
    from rich.progress import Progress

    from scd_tui.attribution.load import load
    from scd_tui.attribution.survey import STATISTICS, summarise, survey, worst_set
    from scd_tui.export.trust_table import HEADINGS, markdown, trust_row

    loaded = load(spec, _device(arguments.device))
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("prompts", total=None)
        found = list(
            survey(
                loaded,
                sets,
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        )
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return 0
    rows = summarise(found)
    table: list[Sequence[str]] = [HEADINGS]
    for row in rows:
        cells = [(row.median[s], row.worst[s]) for s in STATISTICS]
        table.append(trust_row(row.prompt_set, row.metric, row.prompts, cells))
    sys.stdout.write(markdown(table))
    if (worst := worst_set(rows)) is not None:
        sys.stdout.write(f"\nLowest median: {worst.prompt_set}, by {worst.metric}.\n")
    return 0


def _run_worker(argv: Sequence[str]) -> int:
    argparse.ArgumentParser(
        prog="scd-tui worker",
        description="Serve the app on stdin and stdout. Not for use by hand.",
    ).parse_args(argv)
    from scd_tui.worker.server import serve

    return serve()


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "attribute": _run_attribute,
    "open": _run_open,
    "trust": _run_trust,
    "worker": _run_worker,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    run: Callable[[Sequence[str]], int] = _run_app
    prefix = "scd-tui"
    if words and words[0] in _COMMANDS:
        prefix = f"scd-tui {words[0]}"
        run = _COMMANDS[words.pop(0)]
    try:
        return run(words)
    except InputError as error:
        sys.stderr.write(f"{prefix}: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"{prefix}: interrupted\n")
        return 130
    except BrokenPipeError:
        # The reader of our output has left; Python would complain again while it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("SCD_TUI_TRACEBACK"):
            raise
        sys.stderr.write(
            f"{prefix}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} "
            "(SCD_TUI_TRACEBACK=1 shows where)\n"
        )
        return 1
