"""What leaves the app: files, the clipboard, a link."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App

from scd_tui.files import why, write_named
from scd_tui.numbers import counted
from scd_tui.text import visible
from scd_tui.tui.clipboard import MAXIMUM_OSC52, copy_through_tmux, route
from scd_tui.tui.ink import cut, plain
from scd_tui.tui.quick_list import LinkScreen, quick_list
from scd_tui.tui.saving import save, write_numbered

if TYPE_CHECKING:
    from scd_tui.tui.fetching import Fetching
    from scd_tui.tui.keeping import Keeper
    from scd_tui.tui.labelling import Labelling
    from scd_tui.tui.main_screen import MainScreen
    from scd_tui.tui.session import Session


class Exporting(App[int]):
    """The part of the app that saves and copies: `ScdApp` has the rest."""

    session: "Session"
    main: "MainScreen"
    labelling: "Labelling"
    keeper: "Keeper"
    fetching: "Fetching"
    _save_to: Path | None

    def action_save(self) -> None:
        moment = self.keeper.moment()
        if moment is None:
            self.session.say("there is no circuit to save yet", "warn")
            return

        def work() -> str:
            folder = self._save_to or Path.cwd()
            path, written = save(folder, moment.circuit(), moment.view())
            return f"saved to {path}" if written else f"already saved, just as it is, to {path}"

        self.run_worker(self._write(work), group="save")

    def deliver_screenshot(
        self, filename: str | None = None, path: str | None = None, time_format: str | None = None
    ) -> str | None:
        """Save the screen where circuits are saved: behind SSH there is no folder of downloads."""
        data = self.export_screenshot().encode()

        def work() -> str:
            folder = Path(path) if path is not None else self._save_to or Path.cwd()
            if filename:
                file = folder / filename
                write_named(file, data)
            else:
                file = write_numbered(folder, "scd-tui", ".svg", data)
            return f"saved to {file}"

        self.run_worker(self._write(work), group="save")
        return None

    async def _write(self, work: Callable[[], str]) -> None:
        """Do in a thread what writes a file, and say what it says of that."""
        try:
            told = await asyncio.to_thread(work)
        except OSError as error:  # of the folder: it was deleted
            self.session.say(f"not saved: {why(error)}", "bad")
        except ValueError as error:
            self.session.say(f"not saved: {visible(str(error))}", "bad")
        else:
            self.session.say(visible(told), "good")

    def action_quick_list(self) -> None:
        circuit = self.session.snapshot()
        pins = () if circuit is None else circuit.marks.pins
        features = self.labelling.on_neuronpedia(pins)
        if circuit is None or not features:
            self.session.say("pin features that are on Neuronpedia first", "warn")
            return
        name = f"{circuit.model.name} {circuit.target.root}"
        link, count = quick_list(self.fetching.addresses, name, features)
        host, pinned = self.fetching.addresses.host, counted(count, "pinned feature")
        about = f"A page of {host} with {pinned}; it takes no key."
        self.push_screen(LinkScreen(link, about, self.copy_to_clipboard))

    def action_copy(self) -> None:
        item = self.main.circuit_tree.current
        if item is not None:
            self.copy_to_clipboard(item.node or item.place)

    def action_copy_feature(self) -> None:
        lines = [visible(plain(line).rstrip()) for line in self.main.feature.lines]
        if lines:
            self._copy_cleaned("\n".join(lines))

    def copy_to_clipboard(self, text: str) -> None:
        """Copy by every route there is, cleaned, and say which."""
        self._copy_cleaned(visible(text))

    def _copy_cleaned(self, cleaned: str) -> None:
        size = len(cleaned.encode())
        if size > MAXIMUM_OSC52:
            most = f"{MAXIMUM_OSC52 // 1000} KB is the most that terminals take"
            self.session.say(f"not copied: {size // 1000} KB, and {most}", "warn")
            return
        super().copy_to_clipboard(cleaned)
        self.run_worker(self._copy(cleaned), group="copy")

    async def _copy(self, text: str) -> None:
        tmux = await copy_through_tmux(text, os.environ)
        what = f"{text.count(chr(10)) + 1} lines" if "\n" in text else cut(text, 40)
        self.session.say(f"copied {what} to {route(tmux)}", "good")
