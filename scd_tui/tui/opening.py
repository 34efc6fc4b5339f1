"""Going back to what was kept: past circuits, and circuits in files."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from scd_tui.errors import InputError
from scd_tui.graph import Circuit
from scd_tui.history import Entry, Kept, Seen, View
from scd_tui.numbers import counted
from scd_tui.reading import CIRCUIT, expanded, read_bytes
from scd_tui.saved import decode_saved
from scd_tui.text import visible
from scd_tui.tui.chooser import Chooser, Option
from scd_tui.tui.dialogs import Dialogs
from scd_tui.tui.ink import Line, Span, cut, cut_start, pad, width_of
from scd_tui.tui.keeping import Keeper
from scd_tui.tui.notices import Level
from scd_tui.tui.paint import quoted
from scd_tui.wording import differing

OFFERED = 3
"""Past circuits that the empty screen names."""

Say = Callable[[str, Level], None]


class Opening:
    """Lets choose a circuit and gives it to `show`, with how it was looked at if that is known."""

    def __init__(
        self,
        app: Dialogs,
        keeper: Keeper,
        *,
        say: Say,
        show: Callable[[Circuit, View | None, str, Seen | None], None],
    ) -> None:
        self._app = app
        self._keeper = keeper
        self._say = say
        self._show = show

    async def choose_past(self) -> None:
        """Ask for one of the past circuits."""
        entries = await asyncio.to_thread(self._keeper.history.entries)
        if not entries:
            self._say("no past circuits are kept yet", "warn")
            return
        chooser = Chooser(
            "Past circuits",
            past_options(entries, time.time()),
            hint="type words of the prompt, the target or the model",
            forget=self._keeper.history.forget,
        )
        self._app.open_prepared(chooser, self._then(self._open_past))

    async def choose_file(self, folder: Path) -> None:
        """Ask for a file, of `folder` or any other."""
        try:
            options = await asyncio.to_thread(circuit_files, folder)
        except OSError as error:
            self._say(f"the files cannot be listed: {visible(str(error))}", "warn")
            return
        hint = "type words of a name, or the path of another file"
        chooser = Chooser("Open a circuit", options, hint=hint, typed=True)
        self._app.open_prepared(chooser, self._then(self._open_file))

    def _then(self, then: Callable[[str], Any]) -> Callable[[str | None], None]:
        def chosen(value: str | None) -> None:
            if value is not None:
                self._app.run_worker(then(value), group="open", exclusive=True)

        return chosen

    async def choose_other(self, folder: Path, but: str, then: Callable[[Circuit], None]) -> None:
        """Ask for a past circuit other than that of key `but`, or a file, and give it to `then`."""
        await self._keeper.write()
        entries = await asyncio.to_thread(self._keeper.history.entries)
        entries = [entry for entry in entries if entry.key != but]
        options = past_options(entries, time.time())
        with contextlib.suppress(OSError):  # a folder that cannot be listed has none to offer
            options += await asyncio.to_thread(circuit_files, folder)
        keys = {entry.key for entry in entries}

        async def read(value: str) -> None:
            if value in keys:
                if (kept := await self._past(value)) is not None:
                    then(kept.circuit)
            elif (found := await self._file(value)) is not None:
                then(found[0])

        hint = "type words of the prompt, the target or the model, or the path of a file"
        chooser = Chooser("Compare with", options, hint=hint, typed=True)
        self._app.open_prepared(chooser, self._then(read))

    async def _open_past(self, key: str) -> None:
        # What is on the screen may be the very circuit that is asked for.
        await self._keeper.write()
        if (kept := await self._past(key)) is not None:
            given = await self._keeper.reference_of(kept.circuit.model, [kept.entry])
            self._show(kept.circuit, kept.view, given, kept.seen)
            if kept.view is None:
                words = "How it was looked at cannot be read: it is shown from its top."
                self._app.notify(words, title="Past circuit", severity="warning", markup=False)

    async def _open_file(self, name: str) -> None:
        if (found := await self._file(name)) is not None:
            circuit, view = found
            # A file to pass on has no path in it, but it may be from here.
            given = await self._keeper.reference_of(circuit.model)
            self._show(circuit, view, given, None)

    async def _past(self, key: str) -> Kept | None:
        """A past circuit; None, with a word to the user, if it cannot be read."""
        try:
            return await asyncio.to_thread(self._keeper.history.load, key)
        except InputError as error:
            self._say(visible(str(error)), "warn")
            return None

    async def _file(self, name: str) -> tuple[Circuit, View | None] | None:
        """The circuit in a file, and how it was being looked at, if it says.

        None, with a word to the user, if it cannot be read.
        """
        path = expanded(name)
        try:
            return await asyncio.to_thread(lambda: decode_saved(read_bytes(path, CIRCUIT)))
        except OSError as error:
            self._say(f"{visible(name)} cannot be read: {error.strerror}", "warn")
        except ValueError as error:
            self._say(f"{visible(path.name)} cannot be opened: {visible(str(error))}", "warn")
        return None


def ago(seconds: float) -> str:
    """How long ago, in one unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "now"


def against(prompt: str, contrast_prompt: str, width: int) -> Span:
    """What a circuit is held against, in at most `width` cells: from where the two prompts part, if it
    has to be cut."""
    before = "against "
    room = width - len(f'{before}""')
    text = visible(contrast_prompt)
    if cell_len(text) > room:
        text = cut(visible(differing(prompt, contrast_prompt)), room)
    return before + quoted(text), "dim"


def _place(entry: Entry) -> Line:
    """Where its target is read, before the prompt, which may be cut."""
    return ((f"{visible(entry.place)}: ", "dim"),) if entry.place else ()


def past_line(entry: Entry, now: float, width: int | None = None) -> Line:
    """One line of the list of past circuits; in `width` cells both prompts give way to each other."""
    first: Line = (
        (pad(ago(now - entry.when), 11), "dim"),
        (pad(visible(entry.target), 26) + " ", "towards"),
        *_place(entry),
    )
    last = f"  {entry.metric} · {visible(entry.model)} · {counted(entry.nodes, 'node')}"
    prompt = visible(entry.prompt)
    if not entry.contrast_prompt:
        return (*first, (prompt, "text"), (last, "dim"))
    # two cells between the prompts, and one for the sign that there is more
    room = sys.maxsize if width is None else width - width_of(first) - 3
    held = against(entry.prompt, entry.contrast_prompt, max(room // 2, room - cell_len(prompt)))
    prompt = cut(prompt, room - cell_len(held[0]))
    return (*first, (prompt, "text"), ("  ", "text"), held, (last, "dim"))


def offer(entries: Sequence[Entry], now: float) -> list[Line]:
    """What the empty screen says of past circuits; nothing where there are none."""
    if not entries:
        return []
    return [
        (("  ctrl+o", "key"), (" goes on with a past circuit:", "dim")),
        *(line for entry in entries[:OFFERED] for line in _offered(entry, now)),
    ]


def _offered(entry: Entry, now: float) -> list[Line]:
    line: Line = (
        (f"      {ago(now - entry.when):10} ", "dim"),
        *_place(entry),
        (cut_start(visible(entry.prompt), 32), "text"),
        (f" → {cut(visible(entry.target), 24)}", "towards"),
    )
    if not entry.contrast_prompt:
        return [line]
    held = against(entry.prompt, entry.contrast_prompt, 59)
    return [line, ((" " * 17, "text"), held)]


def past_options(entries: Iterable[Entry], now: float) -> list[Option]:
    return [
        Option(entry.key, past_line(entry, now), partial(past_line, entry, now))
        for entry in entries
    ]


def circuit_files(folder: Path) -> list[Option]:
    """The JSON files of a folder, the last changed first. Raises OSError."""
    files = [(path.stat().st_mtime, path) for path in folder.glob("*.json") if path.is_file()]
    now = time.time()
    return [
        Option(
            str(path),
            ((pad(ago(now - when), 11), "dim"), (visible(path.name), "text")),
        )
        for when, path in sorted(files, reverse=True)
    ]
