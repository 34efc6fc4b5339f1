"""Whether and from where explanations are fetched, and telling the user what that gives away."""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from textual.app import App

from scd_tui.neuronpedia.address import Addresses, Feature
from scd_tui.neuronpedia.entries import Entry
from scd_tui.neuronpedia.reader import Reader
from scd_tui.neuronpedia.start import start_reader
from scd_tui.tui.damaged import tell_of_files

NOTICE_SECONDS = 20
NOTICE = (
    "Explanations are now fetched from {host}, which learns from that which features your prompts "
    "activate. To keep that to yourself, start with --offline or set `neuronpedia = false` in the "
    "configuration; `scd-tui explanations MODEL` fetches all of a model's at once."
)

Listener = Callable[[Mapping[Feature, Entry]], None]


class Fetching(msgspec.Struct, frozen=True):
    """Explanations come from the cache in `folder`, and from Neuronpedia where `fetch` says so.

    With no folder there are none. `told` is a file that is there once the user knows what is sent.
    """

    addresses: Addresses = Addresses()
    folder: Path | None = None
    fetch: bool = False
    told: Path | None = None

    def start(self, app: App[int], listener: Listener) -> Reader | None:
        """A reader whose findings reach `listener` in the app's own thread."""
        if self.folder is None:
            return None
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()  # in which Textual finds the app

        def in_app(work: Callable[[], object]) -> None:
            with contextlib.suppress(RuntimeError):  # the app has ended
                loop.call_soon_threadsafe(work, context=context)

        def tell() -> None:
            if self.told is not None and self.told.exists():
                return
            words = NOTICE.format(host=self.addresses.host)
            in_app(
                lambda: app.notify(words, title="Neuronpedia", markup=False, timeout=NOTICE_SECONDS)
            )
            if self.told is not None:
                with contextlib.suppress(OSError):
                    self.told.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    self.told.touch()

        return start_reader(
            self.addresses,
            self.folder,
            fetch=self.fetch,
            listener=lambda entries: in_app(lambda: listener(entries)),
            asking=tell,
            told=lambda words: in_app(lambda: tell_of_files(app, words)),
        )
