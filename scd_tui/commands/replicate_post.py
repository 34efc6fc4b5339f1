"""`scd-tui replicate-post`: the post's tables made anew, and what its way of loading makes of them."""

import argparse
import errno
from collections.abc import Sequence
from pathlib import Path

from scd_tui.commands.options import (
    add_model_options,
    add_stream,
    find_with_dictionaries,
    load_model,
    model_reference,
    positive,
)
from scd_tui.commands.parser import Parser
from scd_tui.errors import InputError, RunError
from scd_tui.files import check_named, why

REPORT, RECORD = "report.md", "replication.json"
"""The files that it writes beside the circuits."""


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui replicate-post",
        description="Ask the five prompts of the post on sparse circuit discovery in GPT-2-small anew, by "
        "its loss and by logit difference, and once more with the dictionaries run as its code runs them. "
        "Writes report.md, replication.json and the circuits.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder to make")
    add_model_options(parser)
    add_stream(parser)
    parser.add_argument(
        "--text", type=Path, metavar="FILE", help="text for gate and means (default: a bundled one)"
    )
    parser.add_argument(
        "--tokens",
        type=positive,
        default=4096,
        metavar="N",
        help="how much of it the gate is measured on (default: 4096)",
    )
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)
    out: Path = arguments.out
    from scd_tui.catalog.prompts import prompts_dir, read_prompt_set
    from scd_tui.catalog.texts import bundled_text, read_text

    spec = find_with_dictionaries(model_reference(arguments), "the replication")
    text = bundled_text() if arguments.text is None else read_text(arguments.text)
    prompts = read_prompt_set(prompts_dir() / "post.toml").prompts
    _make_folders(out)
    for name in (REPORT, RECORD):
        check_named(out / name)

    import msgspec

    from scd_tui.attribution.replicate import replicate
    from scd_tui.config import cache_path
    from scd_tui.console import progress
    from scd_tui.export.replication import circuit_name, render
    from scd_tui.files import write_named
    from scd_tui.graph import encode_circuit
    from scd_tui.neuronpedia.labels import with_labels
    from scd_tui.neuronpedia.start import cache_folder
    from scd_tui.saying import put

    loaded = load_model(spec, arguments.device, stream=arguments.stream)
    with progress() as bars:
        task = bars.add_task("the post", total=None)
        found = replicate(
            *(loaded, prompts, text, arguments.tokens, spec.published),
            on_progress=lambda stage, done, total: bars.update(
                task, description=stage, completed=done, total=total
            ),
        )
    known = cache_folder(cache_path())
    found = msgspec.structs.replace(
        found,
        prompts=tuple(
            msgspec.structs.replace(
                prompt,
                answers=tuple(
                    msgspec.structs.replace(a, circuit=with_labels(a.circuit, spec.features, known))
                    for a in prompt.answers
                ),
            )
            for prompt in found.prompts
        ),
    )
    # first what says most: a disk may have room for that alone
    write_named(out / REPORT, render(found, loaded.identity).encode())
    data = msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"
    write_named(out / RECORD, data)
    for index, prompt in enumerate(found.prompts, start=1):
        for answer in prompt.answers:
            write_named(out / circuit_name(index, answer), encode_circuit(answer.circuit))
    put(str(out / REPORT))
    return 0


def _make_folders(out: Path) -> None:
    """The folder that was named, and that for circuits in it. Raises InputError."""
    for folder in (out, out / "circuits"):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTDIR):
                taken = f"{folder} cannot be made: a file is in the way; name another folder"
                raise InputError(taken) from None
            raise RunError(f"{folder} cannot be made: {why(error)}") from None
