"""`scd-tui explanations`: all explanations of a model's features, fetched ahead of their use."""

import argparse
import os
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scd_tui.commands.options import add_dictionaries, find_with_dictionaries, model_reference
from scd_tui.commands.parser import Parser
from scd_tui.errors import InputError

if TYPE_CHECKING:
    from scd_tui.neuronpedia.address import Addresses
    from scd_tui.neuronpedia.cache import Cache


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui explanations",
        description="Fetch all explanations of a model's dictionaries from Neuronpedia's public files, "
        "and go on where an earlier fetch stopped. Nobody then learns which features a prompt "
        "activates, and the app shows them without a network. NEURONPEDIA_BULK_URL names another "
        "place for the files.",
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a name of `scd-tui models`")
    add_dictionaries(parser)
    parser.add_argument(
        "--status", action="store_true", help="say what there is, and fetch nothing"
    )
    parser.add_argument("--clear", action="store_true", help="forget all that was ever fetched")
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)
    from scd_tui.aside import untold, words_on
    from scd_tui.config import cache_path
    from scd_tui.neuronpedia.address import Addresses
    from scd_tui.neuronpedia.cache import Cache
    from scd_tui.neuronpedia.start import cache_folder
    from scd_tui.reading import said
    from scd_tui.saying import put, say

    addresses = Addresses.of(os.environ)
    folder = cache_folder(cache_path())
    try:
        cache = Cache(folder, addresses.site)
    except OSError as error:
        raise InputError(f"explanations cannot be kept: {said(error)}") from None
    if words := words_on(untold()):
        say("scd-tui explanations", words)
    try:
        if arguments.clear:
            cache.clear()
            put(f"nothing is left of what was fetched, in {folder}")
            return 0
        if arguments.status:
            return _status(cache)
        if arguments.model is None:
            raise InputError("name a model (or use --status or --clear)")
        return _fetch(model_reference(arguments), addresses, cache)
    finally:
        cache.close()


def _status(cache: "Cache") -> int:
    from scd_tui.numbers import in_bytes
    from scd_tui.saying import put

    status = cache.status()
    put(str(cache.folder))
    put(f"looked up one by one  {status.features:,} features, {in_bytes(status.looked_up_bytes)}")
    put(f"fetched ahead         {len(status.sources)} sources, {in_bytes(status.ahead_bytes)}")
    for source in status.sources:
        done = "complete" if source.complete else f"{len(source.done)} of {source.total} files"
        day = time.strftime("%Y-%m-%d", time.localtime(source.fetched))
        name = f"{source.model}/{source.source}"
        put(f"  {name:40}  {source.explained:>8,} features  {done}, {day}")
    return 0


def _fetch(reference: str, addresses: "Addresses", cache: "Cache") -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    from scd_tui.console import progress
    from scd_tui.neuronpedia.bulk import bulk_transport, fetch_source
    from scd_tui.neuronpedia.faults import Fault
    from scd_tui.saying import put, say

    spec = find_with_dictionaries(reference, "a fetch of explanations")
    if not spec.neuronpedia or not spec.sources:
        raise InputError(f"the features of {spec.name} are not on Neuronpedia")
    sources = list(dict.fromkeys(spec.sources.values()))
    transport = bulk_transport(addresses)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    failed = explained = 0
    last = ""
    with progress(*columns) as bars:
        whole = bars.add_task("sources", total=len(sources))
        part = bars.add_task("files", total=None)
        for source in sources:
            try:
                status = fetch_source(
                    transport, addresses, cache, spec.neuronpedia, source,
                    show=lambda name, done, total: bars.update(
                        part, description=name, completed=done, total=total
                    ),
                    sleep=time.sleep, random=random.random, patient=source != sources[0],
                    waiting=lambda why, seconds: say(
                        "scd-tui explanations", f"{why}: next try in {seconds:.0f} s"
                    ),
                )  # fmt: skip
                explained += status.explained
                if bars.disable:
                    say(source, f"{status.explained:,} explained features")
            except Fault as fault:
                failed += 1
                say("scd-tui explanations", f"{source}: {fault.message}")
                if fault.kind in ("offline", "limited") or fault.message == last:
                    # It is not this source: the others would fail as well, and slowly.
                    say("scd-tui explanations", "the same command goes on from here later")
                    break
                last = fault.message
            bars.advance(whole)
    transport.close()
    done = sum(
        1 for s in sources if (found := cache.source(spec.neuronpedia, s)) and found.complete
    )
    put(
        f"{spec.name} with {spec.dictionaries_name}: {done} of {len(sources)} sources are here, "
        f"{explained:,} explained features, in {cache.folder}"
    )
    return 1 if failed else 0
