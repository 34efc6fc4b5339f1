"""Arguments that several commands have."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from scd_tui.errors import InputError
from scd_tui.reading import (
    CIRCUIT,
    PROMPT,
    STANDARD_INPUT,
    StandardInput,
    as_text,
    expanded,
    read_bytes,
    read_text,
)

if TYPE_CHECKING:
    import torch

    from scd_tui.attribution.load import LoadedModel
    from scd_tui.catalog.spec import ModelSpec
    from scd_tui.graph import Circuit
    from scd_tui.history import View


def add_model_options(parser: argparse.ArgumentParser, remembered: bool = False) -> None:
    """`add_model` and `add_device`; None for what was not given where it is `remembered`."""
    if remembered:
        add_model(parser, None, "the configuration's, or the last")
    else:
        add_model(parser, "demo", "demo")
    add_device(parser)
    if remembered:
        parser.set_defaults(device=None)


def add_model(parser: argparse.ArgumentParser, default: str | None, words: str) -> None:
    """`--model`, `--set` and `--dictionaries`; `model_reference` makes one of the three."""
    parser.add_argument(
        "--model",
        default=default,
        metavar="MODEL",
        help="a name of `scd-tui models`, also with a set, as gpt2-small:res-jb; a TOML file that "
        f"describes a model; or a model's folder; --dictionaries brings dictionaries (default: {words})",
    )
    add_dictionaries(parser)


def add_dictionaries(parser: argparse.ArgumentParser) -> None:
    """`--set` and `--dictionaries`, beside what names the model."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--set",
        metavar="NAME",
        help="which of the model's sets of dictionaries (default: its first)",
    )
    which.add_argument(
        "--dictionaries",
        metavar="FOLDER",
        help="a folder of sae_lens dictionaries instead of a set",
    )


def model_reference(arguments: argparse.Namespace) -> str:
    """Model and dictionaries in one, as `catalog.models.find` takes it; "" if none was given."""
    model: str | None = arguments.model
    wanted: str | None = arguments.set
    if arguments.dictionaries is not None:
        # so that a folder beside the program is not taken for a set of that name
        wanted = str(expanded(arguments.dictionaries).absolute())
    if wanted is None:
        return model or ""
    if model is None:
        raise InputError("dictionaries were named without their model: give --model too")
    if ":" in model and not Path(model).exists():
        raise InputError(f"{model} names a set already: leave out --set or --dictionaries")
    return f"{model}:{wanted}"


def find_with_dictionaries(reference: str, what: str) -> "ModelSpec":
    """`catalog.models.find`, for a command that does `what` with dictionaries.

    Raises InputError also where the model has none.
    """
    from scd_tui.catalog.models import find
    from scd_tui.wording import without_dictionaries

    spec = find(reference)
    if not spec.dictionaries:
        raise InputError(without_dictionaries(spec.name, what))
    return spec


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device`; `device` makes one of it."""
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda or cuda:N (default: auto, CUDA if there is one)",
    )


def add_stream(parser: argparse.ArgumentParser) -> None:
    """`--stream`."""
    parser.add_argument(
        "--stream",
        action="store_true",
        help="leave the dictionaries in their files and read them from there, which is slower and "
        "takes next to no memory",
    )


def add_offline(parser: argparse.ArgumentParser) -> None:
    """`--offline`."""
    parser.add_argument(
        "--offline",
        action="store_true",
        help="fetch no explanations from Neuronpedia: what is on this machine is shown",
    )


def add_prompt(parser: argparse.ArgumentParser) -> None:
    """The prompt, as an argument or from a file; `prompt_text` reads it."""
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="the text to complete")
    parser.add_argument(
        "--prompt-file", metavar="FILE", help="read the prompt from FILE, or from stdin if it is -"
    )


def parse_prompt(
    parser: argparse.ArgumentParser, argv: Sequence[str], commands: Sequence[str] = ()
) -> argparse.Namespace:
    """Arguments with at most one prompt. Raises InputError on several words, and on a word that is nearly
    one of `commands`, unless two dashes say that it is a prompt."""
    arguments, rest = parser.parse_known_args(argv)
    if unknown := [word for word in rest if word.startswith("-") and word != "--"]:
        parser.error(f"there is no option {unknown[0]}")
    for name, value in vars(arguments).items():
        if isinstance(value, str) and not value.isascii():
            _require_text(name, value)
    prompt: str | None = arguments.prompt
    import shlex

    from scd_tui.text import shorten

    words = [prompt or "", *(word for word in rest if word != "--")]
    if prompt is not None and commands and "--" not in argv and (near := _near(prompt, commands)):
        call = shlex.join([near, *words[1:]])
        raise InputError(
            f"did you mean `scd-tui {call}`? A prompt of that word goes behind two dashes: "
            f"`scd-tui -- {shlex.quote(prompt)}`"
        )
    if len(words) > 1 and prompt is not None:
        said = shlex.quote(shorten(" ".join(words), 60))
        known = f"there is no command {prompt!r}, and " if commands and _is_file(words[1]) else ""
        raise InputError(f"{known}a prompt is one argument: put quotes around it, {said}")
    return arguments


def _require_text(name: str, value: str) -> None:
    """Raise InputError on bytes of the command line that were not UTF-8."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"the {name.replace('_', ' ')} is not UTF-8 text") from None


def _near(word: str, commands: Sequence[str]) -> str | None:
    """The command that a single word is, or was to be; several words are a prompt whatever they are."""
    if len(word.split()) != 1:
        return None
    import difflib

    found = difflib.get_close_matches(word.lower(), commands, 1, 0.75)
    return found[0] if found else None


def _is_file(word: str) -> bool:
    return word.endswith((".json", ".toml", ".txt")) or Path(word).is_file()


STANDARD_OUTPUT = Path("-")
"""The file name that means standard output."""


def add_out(parser: argparse.ArgumentParser, what: str) -> None:
    """`--out FILE`, or - for standard output; `check_out` and `write_out` take it."""
    parser.add_argument(
        "--out",
        type=_out_file,
        metavar="FILE",
        help=f"save {what} to FILE; - is standard output, and nothing else is then printed there",
    )


def _out_file(text: str) -> Path:
    """A file to write, as an argument. Raises argparse's error on a name that only a folder has."""
    if not text or text.endswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} names a folder; name a file")
    return Path(text)


def check_out(out: Path | None) -> None:
    """Ahead of what takes long: raise InputError if nothing could be written to `--out`."""
    if out is not None and out != STANDARD_OUTPUT:
        from scd_tui.files import check_named

        check_named(out)


def write_out(out: Path, data: bytes) -> None:
    """Write to `--out`. Raises InputError in one sentence."""
    if out == STANDARD_OUTPUT:
        sys.stdout.write(data.decode())
        return
    from scd_tui.files import write_named

    write_named(out, data)


def add_pruning(parser: argparse.ArgumentParser) -> None:
    """`--prune` and how; `as_pruned` does it."""
    from scd_tui.pruning import EDGE_SHARE, NODE_SHARE

    parser.add_argument(
        "--prune",
        action="store_true",
        help="print only what carries most of the influence on the target, and is connected to it; "
        "each of the next three options implies it",
    )
    parser.add_argument(
        "--node-share",
        type=share,
        metavar="SHARE",
        help="prune to the nodes that have this share of the influence, from 0 to 1 "
        f"(default: {NODE_SHARE})",
    )
    parser.add_argument(
        "--edge-share",
        type=share,
        metavar="SHARE",
        help=f"prune to the edges that carry this share of what is left (default: {EDGE_SHARE})",
    )
    parser.add_argument(
        "--sum-positions",
        action="store_true",
        help="prune with each feature taken at all its positions together",
    )


def wants_pruning(arguments: argparse.Namespace) -> bool:
    """Whether to prune: because it is said, or because it is said how."""
    shares = (arguments.node_share, arguments.edge_share)
    return bool(
        arguments.prune or arguments.sum_positions or any(one is not None for one in shares)
    )


def as_pruned(circuit: "Circuit", arguments: argparse.Namespace) -> "Circuit":
    """The circuit as these arguments want it shown. Raises InputError."""
    if not wants_pruning(arguments):
        return circuit
    from scd_tui.pruning import EDGE_SHARE, NODE_SHARE, pruned

    nodes, edges = arguments.node_share, arguments.edge_share
    return pruned(
        circuit,
        NODE_SHARE if nodes is None else nodes,
        EDGE_SHARE if edges is None else edges,
        summed=arguments.sum_positions,
    )


def share(text: str) -> float:
    """A number above 0 and up to 1, as an argument. Raises argparse's error on anything else."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 1")
    return number


def positive(text: str) -> int:
    """A number from 1 on, as an argument. Raises argparse's error on anything else."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def prompt_text(arguments: argparse.Namespace) -> str | None:
    """The prompt that was given, None if there was none. Raises InputError."""
    if arguments.prompt_file is None:
        prompt: str | None = arguments.prompt
        return prompt
    if arguments.prompt is not None:
        raise InputError("a prompt was given twice: leave out PROMPT or --prompt-file")
    path = Path(arguments.prompt_file)
    try:
        if path == STANDARD_INPUT:
            # not by its own decoding, which may let through what is no text
            text = as_text(StandardInput().read(PROMPT), "standard input")
        else:
            text = read_text(path, PROMPT)
    except OSError as error:
        where = "standard input" if path == STANDARD_INPUT else path
        raise InputError(f"{where} cannot be read: {error.strerror}") from None
    return text.removesuffix("\n")


def saved_circuit(path: Path, stdin: StandardInput | None = None) -> "Circuit":
    """The circuit in a file, or on standard input for `-`. Raises InputError if there is none."""
    return saved(path, stdin)[0]


def saved(path: Path, stdin: StandardInput | None = None) -> "tuple[Circuit, View | None]":
    """The same, and how it was being looked at, if the file says."""
    from scd_tui.saved import decode_saved

    where = "standard input" if path == STANDARD_INPUT else path
    try:
        if path == STANDARD_INPUT:
            return decode_saved((stdin or StandardInput()).read(CIRCUIT))
        return decode_saved(read_bytes(path, CIRCUIT))
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{where} cannot be opened: {error}") from None


def device(name: str) -> "torch.device":
    """The device of that name, ready for use. Raises InputError if there is none."""
    from scd_tui.attribution.numerics import choose_device, leave_a_core

    leave_a_core()
    try:
        return choose_device(name)
    except ValueError as error:
        raise InputError(str(error)) from None


def load_model(
    spec: "ModelSpec", device_name: str, *, stream: bool = False, gate: bool = False
) -> "LoadedModel":
    """A model loaded, with progress on a terminal, and on stderr what did not go as asked.

    With `gate` dictionaries that were never measured are, once. Raises InputError on what does not fit
    together or is not here.
    """
    from scd_tui.aside import untold, words_on
    from scd_tui.attribution.gating import begin
    from scd_tui.attribution.load import load
    from scd_tui.console import progress
    from scd_tui.saying import say
    from scd_tui.streams import native_messages
    from scd_tui.whereabouts import remember

    with progress() as bars, native_messages():
        task = bars.add_task("loading", total=None)

        def show(stage: str, done: int, total: int) -> None:
            bars.update(task, description=stage, completed=done, total=total)

        loaded = load(spec, device(device_name), show, stream=stream)
        with suppress(OSError):  # a saved circuit then needs --model to be computed again
            remember(loaded.identity, spec.given)
        loaded, gating = begin(loaded, spec.published)
        while gate and gating is not None and not gating.finished:
            took = f"{gating.seconds:.0f} s of CPU"
            words = f"dictionary check, once for these dictionaries, {took}"
            show(words, len(gating.found) - len(gating.unclear), gating.total)
            gating.step()
            loaded = gating.with_gate()
    if words := words_on(untold()):
        say("scd-tui", words)
    for note in loaded.notes:
        say("scd-tui", note)
    return loaded
