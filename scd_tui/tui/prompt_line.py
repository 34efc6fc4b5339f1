"""The prompt line: what is typed, and with the arrow keys what was asked before."""

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType

from scd_tui.tui.bindings import prompt_keys
from scd_tui.tui.data_input import DataInput


class PromptLine(DataInput):
    """`recent` are earlier prompts, the last first; the one that is being typed is not lost to them."""

    BINDINGS: ClassVar[list[BindingType]] = prompt_keys()

    def __init__(self, placeholder: str, *, name: str) -> None:
        super().__init__(placeholder=placeholder, name=name)
        self._recent: list[str] = []
        self._at = -1
        self._draft = ""

    def remember(self, prompts: Iterable[str]) -> None:
        """Prompts that were asked, the last first, before those that are known."""
        self._recent = list(dict.fromkeys((*prompts, *self._recent)))
        self._at = -1

    def action_recall(self, step: int) -> None:
        """Show an earlier (`step` 1) or a later prompt; after the latest, what was being typed."""
        if self._at >= 0 and self.value != self._recent[self._at]:
            self._at = -1  # it was edited: that is a new draft
        if self._at < 0:
            self._draft = self.value
        to = self._at + step
        while 0 <= to < len(self._recent) and self._recent[to] == self.value:
            to += step
        if to < 0:
            to, text = -1, self._draft
        elif to < len(self._recent):
            text = self._recent[to]
        else:
            return
        self._at = to
        self.value = text
        self.cursor_position = len(text)
