"""Keeping what is on the screen as one goes: written a while after it was last touched, and at the end."""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec

from scd_tui.graph import Marks
from scd_tui.history import History, View
from scd_tui.text import visible
from scd_tui.tui.place import kept_look, view_of
from scd_tui.tui.rows import Rows
from scd_tui.tui.session import Session

REST_SECONDS = 2.0
"""How long nothing must have changed before it is written."""


class Keeper:
    """Writes `session`'s circuit, and how `rows` shows it, to the history.

    `later` calls a function after so many seconds; it is asked again only once that has been done.
    """

    def __init__(
        self,
        history: History,
        session: Session,
        rows: Callable[[], Rows],
        labels: Callable[[], Mapping[str, str]],
        later: Callable[[float, Callable[[], None]], object],
        start: Callable[[], object],
    ) -> None:
        self.history = history
        self._session = session
        self._rows = rows
        self._labels = labels
        self._later = later
        self._start = start
        self._touched = 0.0
        self._waiting = False
        self._dirty = False
        self._told = False
        self._written: tuple[View, Marks] | None = None

    def touched(self) -> None:
        """Something changed that is worth keeping."""
        self._touched = time.monotonic()
        self._dirty = True
        if not self._waiting:
            self._waiting = True
            self._later(REST_SECONDS, self._rested)

    def _rested(self) -> None:
        left = REST_SECONDS - (time.monotonic() - self._touched)
        if left > 0.01:
            self._later(left, self._rested)
        else:
            self._waiting = False
            self._start()

    async def write(self) -> None:
        """Write what has not been written yet. Only cheap copies are made before the thread starts."""
        session, rows = self._session, self._rows()
        if session.partial or session.store.circuit is None:
            return
        if rows.store is not session.store:
            return  # the rows of another circuit are still shown
        dirty, self._dirty = self._dirty, False
        store = session.store.at_this_moment()
        top, current, look, labels = list(rows.top), rows.current, rows.look, dict(self._labels())
        given = session.given(session.store.circuit.model)

        def work() -> None:
            view = view_of(top, current, kept_look(look, store))
            # What was done last may not have been told yet when the app is left.
            if not dirty and self._written == (view, store.marks):
                return
            circuit = store.snapshot()
            assert circuit is not None
            explained = {**circuit.explanations, **labels}
            circuit = msgspec.structs.replace(circuit, explanations=explained)
            self.history.save(circuit, view, given)
            self._written = (view, store.marks)

        try:
            await asyncio.to_thread(work)
        except OSError as error:
            if not self._told:
                self._told = True
                session.say(f"this circuit is not kept: {visible(str(error))}", "warn")
