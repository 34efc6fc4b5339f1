"""A link to a page of Neuronpedia with all pinned features, shown before it is copied."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from scd_tui.neuronpedia.address import MAXIMUM_QUICK_LIST, Addresses, Feature
from scd_tui.text import visible
from scd_tui.tui.bindings import key
from scd_tui.tui.ink import Line, wrap
from scd_tui.tui.text_pane import TextPane


def quick_list(addresses: Addresses, name: str, features: list[Feature]) -> tuple[str, int]:
    """The link, and how many of the features are on it: the first 150, each once."""
    listed = list(dict.fromkeys(features))[:MAXIMUM_QUICK_LIST]
    return addresses.quick_list(name, listed), len(listed)


class LinkScreen(ModalScreen[None]):
    """Shows a link; `y` or `enter` copies it with `copy`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("modal.close", "escape,q", "close", "close", "esc"),
        key("link.copy", "y,enter", "copy_link", "copy the link", "y"),
    ]

    def __init__(self, link: str, about: str, copy: Callable[[str], None]) -> None:
        super().__init__()
        self._link, self._about, self._copy = link, about, copy

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall") as dialog:
            dialog.border_title = Content("Quick list")
            dialog.border_subtitle = Content("y copies · esc closes")
            yield TextPane(name="link")

    def on_mount(self) -> None:
        self.query_one(TextPane).focus()
        self.call_after_refresh(self._fill)

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        pane = self.query_one(TextPane)
        width = pane.text_width
        lines: list[Line] = [*wrap([(visible(self._about), "text")], width), ()]
        link = visible(self._link)
        lines += [((link[at : at + width], "name"),) for at in range(0, len(link), width)]
        pane.show(lines, top=False)

    def action_copy_link(self) -> None:
        self._copy(self._link)
        self.dismiss(None)

    def action_close(self) -> None:
        self.dismiss(None)
