"""A list to choose from, narrowed down as one types: past circuits, files, circuits to compare with."""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import msgspec
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input

from scd_tui.tui.bindings import chooser_keys
from scd_tui.tui.data_input import DataInput
from scd_tui.tui.dialogs import Dialog
from scd_tui.tui.ink import Line, Span, plain
from scd_tui.tui.view import Bar, Pane


class Option(msgspec.Struct, frozen=True):
    """One line of the list; `value` is what is chosen with it. The filter searches the line.

    `fitted` draws it in so many cells, where cutting off its end would not do.
    """

    value: str
    line: Line
    fitted: Callable[[int], Line] | None = None


class Options(Pane):
    """The options that match, with a cursor.

    Not called as Textual's own list is: its styles go by the name of the class.
    """

    class Chosen(Message):
        """The row under the cursor was clicked on again."""

    def __init__(self, options: Iterable[Option], *, name: str) -> None:
        super().__init__(name=name)
        self.options = list(options)
        self.shown = list(self.options)
        self.cursor = 0

    @property
    def current(self) -> Option | None:
        return self.shown[self.cursor] if self.shown else None

    @property
    def line_count(self) -> int:
        return len(self.shown)

    def draw(self, y: int, width: int) -> tuple[Sequence[Span], bool]:
        option = self.shown[y]
        line = option.line if option.fitted is None else option.fitted(width - 1)
        return ((" ", "text"), *line), y == self.cursor

    def filter(self, text: str) -> None:
        """Show the options with all the words of `text`, whatever their case."""
        words = text.lower().split()
        current = self.current
        self.shown = [
            option
            for option in self.options
            if all(word in plain(option.line).lower() for word in words)
        ]
        self.cursor = self.shown.index(current) if current in self.shown else 0
        self.relayout()
        self.keep_visible(self.cursor)

    def drop(self, option: Option) -> None:
        self.options.remove(option)
        self.shown.remove(option)
        self.cursor = max(0, min(self.cursor, len(self.shown) - 1))
        self.relayout()

    def go(self, to: int) -> None:
        old = self.cursor
        self.cursor = max(0, min(to, len(self.shown) - 1))
        self.redraw(old, self.cursor)
        self.keep_visible(self.cursor)

    def on_mount(self) -> None:
        self.can_focus = False
        self.relayout()

    def on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if 0 <= index < len(self.shown):
            again = index == self.cursor
            self.go(index)
            if again:
                self.post_message(self.Chosen())


class Chooser(Dialog[str | None]):
    """Choose one of `options`. Where `typed`, what was typed is taken if nothing matches it.

    `forget` makes the delete key remove an option for good, on its second press.
    """

    BINDINGS: ClassVar[list[BindingType]] = chooser_keys()

    def __init__(
        self,
        title: str,
        options: Sequence[Option],
        *,
        hint: str,
        typed: bool = False,
        forget: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self._title, self._hint, self._typed, self._forget = title, hint, typed, forget
        self._sure: Option | None = None
        self.list = Options(options, name="options")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall wide") as dialog:
            dialog.border_title = Content(self._title)
            more = " · delete removes" if self._forget is not None else ""
            dialog.border_subtitle = Content(f"enter takes{more} · esc closes")
            yield DataInput(placeholder=self._hint, name="choose")
            yield self.list
            yield Bar(name="choose-count")

    def on_mount(self) -> None:
        self.query_one("#choose", DataInput).focus()
        self._count()

    def _count(self, words: Span | None = None) -> None:
        total, shown = len(self.list.options), len(self.list.shown)
        text = f"{shown} of {total}" if shown < total else f"{total}"
        self.query_one("#choose-count", Bar).show([words or (text, "dim")])

    @on(Input.Changed, "#choose")
    def _changed(self, event: Input.Changed) -> None:
        self.list.filter(event.value)
        self._sure = None
        self._count()

    @on(Input.Submitted, "#choose")
    @on(Options.Chosen)
    def _taken(self) -> None:
        text = self.query_one("#choose", DataInput).value
        if self.list.current is not None:
            self.dismiss(self.list.current.value)
        elif self._typed and text:
            self.dismiss(text)

    def action_move(self, step: int) -> None:
        self._sure = None
        self.list.go(self.list.cursor + step)

    def action_page(self, step: int) -> None:
        self.action_move(step * self.list.page)

    def action_forget(self) -> None:
        option = self.list.current
        if self._forget is None or option is None:
            return
        if self._sure != option:
            self._sure = option
            self._count(("delete again removes it for good", "warn"))
            return
        self._forget(option.value)
        self.list.drop(option)
        self._count()

    def action_close(self) -> None:
        self.dismiss(None)
