"""A reader on the user's own cache, with everything that is slow to import left for its threads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from scd_tui.neuronpedia.address import Addresses, Feature
from scd_tui.neuronpedia.entries import Entry
from scd_tui.neuronpedia.reader import Reader

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
) -> Reader:
    """A reader of the cache in `folder`, and of the service where `fetch` says so."""

    def client() -> "Client":
        from scd_tui.neuronpedia.client import Client
        from scd_tui.neuronpedia.transport import Transport

        return Client(addresses, Transport(addresses.site))

    def cache() -> "Cache | None":
        from scd_tui.neuronpedia.cache import Cache

        try:
            return Cache(folder, addresses.site)
        except OSError:
            return None  # nothing is kept then, and nothing else is lost

    return Reader(client if fetch else None, cache, listener, asking=asking)
