"""A reader on the user's own cache, with everything that is slow to import left for its threads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from scd_tui.aside import untold, words_on
from scd_tui.neuronpedia.address import Addresses, Feature
from scd_tui.neuronpedia.entries import Entry
from scd_tui.neuronpedia.reader import Reader
from scd_tui.reading import said

if TYPE_CHECKING:
    from scd_tui.neuronpedia.cache import Cache
    from scd_tui.neuronpedia.client import Client


def cache_folder(caches: Path) -> Path:
    """Where what Neuronpedia said is kept, in the folder of this program's caches."""
    return caches / "neuronpedia"


def start_reader(
    addresses: Addresses,
    folder: Path,
    *,
    fetch: bool,
    listener: Callable[[Mapping[Feature, Entry]], None],
    asking: Callable[[], None],
    told: Callable[[str], None] = lambda words: None,
) -> Reader:
    """A reader of the cache in `folder`, and of the service where `fetch` says so.

    `told` is given one sentence where the cache was damaged, or cannot be used.
    """

    def client() -> "Client":
        from scd_tui.neuronpedia.client import Client
        from scd_tui.neuronpedia.transport import Transport

        return Client(addresses, Transport(addresses.site))

    def cache() -> "Cache | None":
        from scd_tui.neuronpedia.cache import Cache

        try:
            found = Cache(folder, addresses.site)
        except OSError as error:  # nothing is kept then, and nothing else is lost
            told(f"explanations are not kept: {said(error)}")
            return None
        if words := words_on(untold()):
            told(words)
        return found

    return Reader(client if fetch else None, cache, listener, asking=asking)
