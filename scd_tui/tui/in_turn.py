"""Keys take effect one after the other, however many arrive at once.

Textual gives every key to the widget that has the focus when the key arrives, before the key ahead has
done anything. In a burst, as a slow line or a busy app makes them, text after `tab` would land in the
field before, and a second `enter` would answer a dialog again. Here a key waits until everything that
the key ahead set off is done: moves of the focus, dialogs that open or close, lists that are fetched
for a dialog.
"""

import asyncio
import time
from collections import deque
from typing import Any

from textual import on
from textual.command import CommandPalette
from textual.events import Event, Key, Paste
from textual.message import Message
from textual.widget import Widget

from scd_tui.tui.dialogs import Dialogs

SETTLED_SECONDS = 2.0
"""How long a key waits at most for what the key ahead set off."""
OPENING_SECONDS = 3.0
"""How long keys wait at most for a dialog that is being prepared in a thread."""
OPENING = frozenset(
    ("choose", "open", "compare", "models", "curves", CommandPalette._GATHER_COMMANDS_GROUP)
)
"""Groups of Textual's workers that end with a dialog opened, or filled."""
_AT_ONCE = 20
"""Looks without a pause between them, before looking only now and then."""
_PAUSE = 0.003


class NextKey(Message):
    """What the last key set off is done."""


class InTurn(Dialogs):
    """The part of the app that hands keys and pastes on, one at a time: `ScdApp` has the rest."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._arrived: deque[Key | Paste] = deque()
        self._settling: asyncio.Task[None] | None = None
        self._opening_since: float | None = None
        self._last_key = ""

    async def on_event(self, event: Event) -> None:
        if not isinstance(event, (Key, Paste)):
            await super().on_event(event)
            return
        if event.is_forwarded:
            # back from the widget that had the focus: now it is looked up what the key does
            if not self._meant_for_what_closed(event):
                await super().on_event(event)
            return
        self._arrived.append(event)
        if self._settling is None:
            await self._hand_on()

    @on(NextKey)
    async def _hand_on(self) -> None:
        """Give the next key to what has the focus now, and see when it is done."""
        self._settling = None
        while self._arrived:
            event = self._arrived.popleft()
            if self._meant_for_what_closed(event):
                continue
            self.left_by, self.left_at = frozenset(), 0.0
            self._last_key = event.key if isinstance(event, Key) else ""
            self._settling = asyncio.create_task(self._settle())
            await super().on_event(event)
            return

    def _meant_for_what_closed(self, event: Key | Paste) -> bool:
        """Whether a key was pressed to close or answer a dialog that a key ahead had closed.

        What lies below the dialog must not take it: `q q` would close help and quit the app.
        """
        if event.time > self.left_at or not isinstance(event, Key):
            return False
        return event.key in self.left_by or event.key == self._last_key

    async def _settle(self) -> None:
        """Wait until nothing is under way, or for as long as a key may be kept."""
        ends, looks, quiet = time.monotonic() + SETTLED_SECONDS, 0, 0
        try:
            while quiet < 2 and time.monotonic() < ends:
                await asyncio.sleep(0 if looks < _AT_ONCE else _PAUSE)
                looks += 1
                quiet = quiet + 1 if self._still() else 0
                if self._opening():
                    quiet, ends = 0, time.monotonic() + SETTLED_SECONDS
        finally:
            self.post_message(NextKey())

    def _opening(self) -> bool:
        """Whether a dialog is being prepared, and that for no longer than keys are kept."""
        if not any(one.group in OPENING and not one.is_finished for one in self.workers):
            self._opening_since = None
            return False
        now = time.monotonic()
        if self._opening_since is None:
            self._opening_since = now
        return now - self._opening_since < OPENING_SECONDS

    def _still(self) -> bool:
        """Whether no part of the screen has anything left to do, and everything on it is there."""
        if not self.screen_stack:
            return True
        parts = self.screen.walk_children(Widget, with_self=True)
        return all(part.is_mounted for part in parts) and not any(
            part.message_queue_size or part._next_callbacks for part in (self, *parts)
        )
