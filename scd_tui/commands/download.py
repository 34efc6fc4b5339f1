"""`scd-tui download`: a model and its dictionaries, from the Hub into its cache."""

import argparse
import sys
from collections.abc import Sequence

from scd_tui.commands.options import add_dictionaries, model_reference
from scd_tui.commands.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui download",
        description="Download a model and a set of dictionaries from the Hugging Face Hub, go on where "
        "an earlier download stopped, and check every file that is there. HF_HOME says where to, "
        "HF_TOKEN opens what is gated, HF_ENDPOINT names another hub.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a name of `scd-tui models`, also with a set, or a TOML file"
    )
    add_dictionaries(parser)
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)
    from scd_tui.catalog.models import find

    spec = find(model_reference(arguments))

    import msgspec
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from scd_tui.catalog.cached import cache_dir
    from scd_tui.catalog.download import download
    from scd_tui.numbers import in_bytes

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task("looking", total=None)

        def show(stage: str, done: int, total: int) -> None:
            looking = stage == "looking"
            progress.update(
                task,
                description=f"looking, {done} of {total} files" if looking else stage,
                completed=0 if looking else done,
                total=None if looking else total,
            )

        found = download(spec, show)
    if arguments.json:
        said = {**msgspec.to_builtins(found), "folder": str(cache_dir())}
        sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
        return 0
    sys.stdout.write(
        f"{spec.name} with {spec.dictionaries_name}: {found.files} files, {in_bytes(found.total)}, "
        f"{in_bytes(found.fetched)} of it fetched now, all checked, in {cache_dir()}\n"
    )
    for repo, commit in found.commits.items():
        sys.stdout.write(f"  {commit[:12]}  {repo}\n")
    return 0
