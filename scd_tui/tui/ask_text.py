"""One line of text, asked for over the main screen."""

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from scd_tui.text import visible
from scd_tui.tui.bindings import key
from scd_tui.tui.data_input import DataInput
from scd_tui.tui.dialogs import Dialog


class AskText(Dialog[str | None]):
    """Answers with the text, None where it was given up. `changed` is told every text on the way.

    `unfinished`: the value is not what was there, but what a sitting left that broke off.
    """

    BINDINGS: ClassVar[list[BindingType]] = [key("modal.close", "escape", "close", "close", "esc")]

    def __init__(
        self,
        title: str,
        value: str,
        hint: str,
        *,
        changed: Callable[[str], None] = lambda text: None,
        unfinished: bool = False,
    ) -> None:
        super().__init__()
        self._title, self._value, self._hint = title, value, hint
        self._tell, self._unfinished = changed, unfinished

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(visible(self._title))
            dialog.border_subtitle = Content(
                "unfinished, from before · enter keeps · esc discards"
                if self._unfinished
                else "enter · esc"
            )
            yield DataInput(self._value, placeholder=self._hint, name="text")

    def on_mount(self) -> None:
        self.query_one(DataInput).focus()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._tell(event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def action_close(self) -> None:
        self.dismiss(None)
