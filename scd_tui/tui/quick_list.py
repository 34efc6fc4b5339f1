"""A link to a page of Neuronpedia with all pinned features, shown before it is copied."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import BindingType

from scd_tui.neuronpedia.address import MAXIMUM_QUICK_LIST, Addresses, Feature
from scd_tui.text import visible
from scd_tui.tui.bindings import close_keys, key
from scd_tui.tui.ink import Line, wrap
from scd_tui.tui.text_screen import TextScreen


def quick_list(addresses: Addresses, name: str, features: list[Feature]) -> tuple[str, int]:
    """The link, and how many of the features are on it: the first 150, each once."""
    listed = list(dict.fromkeys(features))[:MAXIMUM_QUICK_LIST]
    return addresses.quick_list(name, listed), len(listed)


class LinkScreen(TextScreen):
    """Shows a link; `y` or `enter` copies it with `copy`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *close_keys(),
        key("link.copy", "y,enter", "copy_link", "copy the link", "y"),
    ]

    def __init__(self, link: str, about: str, copy: Callable[[str], None]) -> None:
        super().__init__("Quick list", "y copies · esc closes", pane="link")
        self._link, self._about, self._copy = link, about, copy

    def text(self, width: int) -> Sequence[Line]:
        lines: list[Line] = [*wrap([(visible(self._about), "text")], width), ()]
        link = visible(self._link)
        return [*lines, *(((link[at : at + width], "name"),) for at in range(0, len(link), width))]

    def action_copy_link(self) -> None:
        self._copy(self._link)
        self.dismiss(None)
