"""A dialog of text over the main screen, made for the width that there is, whatever that becomes."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from scd_tui.tui.dialogs import Dialog
from scd_tui.tui.ink import Line
from scd_tui.tui.text_pane import TextPane


class TextScreen(Dialog[None]):
    """Shows what `text` makes. `heading` and `hint` are the upper and the lower edge of its frame."""

    def __init__(self, heading: str, hint: str, *, pane: str, wide: bool = False) -> None:
        super().__init__()
        self._heading, self._hint, self._wide = heading, hint, wide
        self.pane = TextPane(name=pane)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall wide" if self._wide else "dialog tall") as dialog:
            dialog.border_title = Content(self._heading)
            dialog.border_subtitle = Content(self._hint)
            yield self.pane

    def on_mount(self) -> None:
        self.pane.focus()
        self.call_after_refresh(self.fill)

    def on_resize(self) -> None:
        self.call_after_refresh(self.fill)

    def fill(self) -> None:
        """Show the text again, in today's width."""
        self.pane.show(self.text(self.pane.text_width), top=False)

    def text(self, width: int) -> Sequence[Line]:
        """The lines, wrapped to `width` cells."""
        raise NotImplementedError

    def action_close(self) -> None:
        self.dismiss(None)
