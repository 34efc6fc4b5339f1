"""`scd-tui contexts`: feature records of a model's dictionaries, made from a text of one's own."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scd_tui.commands.options import (
    add_device,
    add_dictionaries,
    find_with_dictionaries,
    load_model,
    model_reference,
    positive,
)
from scd_tui.commands.parser import Parser
from scd_tui.errors import RunError

if TYPE_CHECKING:
    from scd_tui.neuronpedia.records import FeatureRecord


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui contexts",
        description="Find where in a text the features of a model's dictionaries fire, and keep that "
        "for the app: top activations, density, and the tokens that each direction promotes. Says at "
        "once how long it will take. The firings go through a temporary file beside the records, 12 "
        "bytes each.",
    )
    parser.add_argument("model", metavar="MODEL", help="a name of `scd-tui models`, or a TOML file")
    add_dictionaries(parser)
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="a UTF-8 text")
    parser.add_argument(
        "--tokens", type=positive, default=16_384, metavar="N",
        help="how much of the text, spread evenly over it (default: 16384)",
    )  # fmt: skip
    add_device(parser)
    return parser


def _counting(
    records: "Iterable[FeatureRecord]", on_record: Callable[[], None]
) -> "Iterator[FeatureRecord]":
    for record in records:
        yield record
        on_record()


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)
    from scd_tui.catalog.texts import read_text

    spec = find_with_dictionaries(model_reference(arguments), "a search for contexts")
    text = read_text(arguments.text)

    from rich.progress import BarColumn, TextColumn

    from scd_tui.attribution.contexts import fire, records_of, timed_block
    from scd_tui.attribution.windows import Windows, token_windows
    from scd_tui.config import cache_path
    from scd_tui.console import progress
    from scd_tui.neuronpedia.local import LocalFeatures, Made
    from scd_tui.remaining import Remaining, about
    from scd_tui.saying import put, say

    loaded = load_model(spec, arguments.device)
    model = loaded.model
    first = model.bos if spec.prepends_bos else None
    windows = Windows(token_windows(model, text.text, arguments.tokens, first=first), first)
    folder = cache_path() / "contexts"
    features: dict[str, int] = {}
    # until one has been read or written: what a block of records takes with this vocabulary
    block = max(timed_block(model, dictionary) for dictionary in loaded.dictionaries.values())
    widths = sum(dictionary.width for dictionary in loaded.dictionaries.values())
    remaining = Remaining({"batch": windows.batches, "record": widths}, {"record": block})
    try:
        local = LocalFeatures(folder, loaded.identity.reference)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[left]}", markup=False),
        )
        with progress(*columns) as bars:
            task = bars.add_task("reading", total=windows.batches, left="")

            def did(kind: str) -> None:
                begun = remaining.begun
                remaining.done(kind)
                if not begun:  # also where no terminal shows the bar
                    say(
                        "scd-tui",
                        f"{about(remaining.seconds)} for {windows.ids.numel():,} tokens and "
                        f"{len(loaded.dictionaries)} dictionaries",
                    )
                bars.update(task, advance=1, left=f"{about(remaining.seconds)} left")

            fired = fire(model, loaded.dictionaries, windows, lambda: did("batch"), folder)
            records = sum(int((found.counts > 0).sum()) for found in fired.values())
            remaining.correct("record", records)
            task = bars.add_task("writing", total=records, left="")
            for site, found in fired.items():
                source = loaded.identity.sources.get(str(site), str(site))
                name = loaded.identity.neuronpedia or loaded.identity.name
                made = records_of(model, loaded.dictionaries[site], found, windows, name, source)
                features[source] = local.put(source, _counting(made, lambda: did("record")))
                found.close()
        local.finish(Made(text.name, windows.ids.numel(), features))
        local.close()
    except OSError as error:
        raise RunError(f"the records cannot be kept: {error}") from None
    put(
        f"{spec.name} with {spec.dictionaries_name}: {sum(features.values()):,} features of "
        f"{len(features)} dictionaries fire in {windows.ids.numel():,} tokens of {text.name}; "
        f"the app shows where, from {folder}"
    )
    return 0
