"""The command palette: every action there is, with its key."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.command import CommandPalette
from textual.dom import DOMNode
from textual.screen import Screen
from textual.theme import ThemeProvider
from textual.widgets import Input

from scd_tui.tui.bindings import all_keys
from scd_tui.tui.dialogs import LeftOnce
from scd_tui.tui.hints import shown

if TYPE_CHECKING:
    from scd_tui.tui.main_screen import MainScreen


class Palette(LeftOnce, CommandPalette):
    """The palette with a cursor that does not blink: idle is silent here as elsewhere."""

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False


class Commands(App[int]):
    """The part of the app that lists its actions: `ScdApp` has the rest."""

    main: "MainScreen"

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(Palette(id="--command-palette"))

    def search_themes(self) -> None:
        """Choose a theme, in a palette that is this app's own."""
        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action there is; those of a pane are for that pane, wherever one is."""
        yield from super().get_system_commands(screen)
        main = self.main
        if screen is not main:
            return
        panes: dict[str, DOMNode] = {
            "circuit": main.circuit_tree,
            "completions": main.completions,
            "prompt": main.prompt_line,
        }
        own = {one.id for one in self.BINDINGS if isinstance(one, Binding)}
        for section, keys in all_keys():
            for one in keys:
                if one.id in ("app.palette", "app.quit"):
                    continue  # Textual brings its own
                node = panes.get(section) or (self if one.id in own else main)
                if section == "in every pane":
                    node = main.current_pane
                words = one.description[:1].upper() + one.description[1:]
                where = f" ({section})" if section in panes else ""
                run = self._command(node, one.action)
                yield SystemCommand(words, f"key {shown(one, self._keymap)}{where}", run)

    def _command(self, node: DOMNode, action: str) -> Callable[[], None]:
        def run() -> None:
            self.call_later(self.run_action, action, node)

        return run
