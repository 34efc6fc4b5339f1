"""Screens over the main one: each is left once, and one that took a while to prepare waits its turn."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from textual.app import App
from textual.await_complete import AwaitComplete
from textual.binding import Binding
from textual.screen import ModalScreen, Screen

from scd_tui.tui.garbage import forget_closed_screens

Answer = TypeVar("Answer")

if TYPE_CHECKING:
    _AScreen = Screen[Any]
else:
    # Textual's styles follow the first base that is a widget, which must be the screen's own kind.
    _AScreen = object


class LeftOnce(_AScreen):
    """Any screen over the main one. Only the first dismissal counts, and only from the top.

    Textual's own `dismiss` answers again when called again, and closes whatever screen is on top.
    """

    _left = False

    def dismiss(self, result: Any = None) -> AwaitComplete:
        app = self.app
        if self._left or app.screen_stack[-1:] != [self]:
            return AwaitComplete()
        self._left = True
        done: AwaitComplete = super().dismiss(result)
        if isinstance(app, Dialogs):
            app.dialog_left(self)
        return done

    def closing_keys(self) -> frozenset[str]:
        """The keys that close this screen or answer it."""
        bound = Binding.make_bindings(self.BINDINGS)
        return frozenset(
            ("enter", "escape", *(one.key for one in bound if one.action.endswith("close")))
        )


class Dialog(LeftOnce, ModalScreen[Answer]):
    """A screen that takes every key while it is open."""


class Dialogs(App[int]):
    """The part of the app that opens and leaves screens over the main one: `ScdApp` has the rest."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.left_at = 0.0
        """When a screen over the main one was left last, in `time.monotonic()` seconds."""
        self.left_by: frozenset[str] = frozenset()
        """The keys that would have closed that screen."""
        self._late: dict[type[Screen[Any]], tuple[Screen[Any], Callable[[Any], None] | None]] = {}

    def open_prepared(
        self, screen: Screen[Answer], answered: Callable[[Answer | None], None] | None = None
    ) -> None:
        """Open a screen that took a while to prepare.

        Where a dialog was opened in the meantime, it waits until that is closed; of two of one kind
        that wait, the newer is opened.
        """
        if self.screen.is_modal:
            self._late[type(screen)] = (screen, answered)
        else:
            self.push_screen(screen, answered)

    def dialog_left(self, screen: LeftOnce) -> None:
        """Note that a screen was left, and open one that waited."""
        self.left_at, self.left_by = time.monotonic(), screen.closing_keys()
        forget_closed_screens()
        if self._late:
            self.call_later(self._open_late)

    def _open_late(self) -> None:
        if self._late and not self.screen.is_modal:
            screen, answered = self._late.pop(next(iter(self._late)))
            self.push_screen(screen, answered)
