"""Keeping what is on the screen as one goes: written a while after it was last touched, when another
circuit is shown, and at the end.

The same question is one record. What the record has of a circuit is taken in before that is written for
the first time; and what another app has written into it since is merged at every write, and shown here
too: nothing that a reader did is ever replaced by nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from scd_tui.graph import Circuit, Marks, ModelIdentity
from scd_tui.history import UNSEEN, By, Entry, History, Kept, Look, Seen, View, Written
from scd_tui.text import visible
from scd_tui.tui.item import Item
from scd_tui.tui.place import kept_look, view_of
from scd_tui.tui.rows import Rows
from scd_tui.tui.session import Session
from scd_tui.tui.store import CircuitStore

REST_SECONDS = 2.0
"""How long nothing must have changed before it is written."""


class Moment(NamedTuple):
    """A circuit to be written as it is now. `store` is a copy; `known`: the record is in it already."""

    of: CircuitStore
    store: CircuitStore
    top: Sequence[Item]
    current: Item | None
    look: Look
    others: Mapping[By, tuple[Sequence[Item], Item | None]]
    labels: Mapping[str, str]
    given: str
    seen: Seen
    dirty: bool

    def view(self) -> View:
        look = kept_look(self.look, self.store)
        return view_of(self.top, self.current, look, self.others)

    def circuit(self) -> Circuit:
        """The circuit with the explanations that were seen. Takes a while, as `view` does."""
        circuit = self.store.snapshot()
        assert circuit is not None
        explained = {**circuit.explanations, **self.labels}
        return msgspec.structs.replace(circuit, explanations=explained)


class Keeper:
    """Writes the circuit that `rows` shows, and how, to the history.

    `later` calls a function after so many seconds; it is asked again only once that has been done.
    `merged` is told of a circuit that has got what another app wrote.
    """

    def __init__(
        self,
        history: History,
        session: Session,
        rows: Callable[[], Rows],
        labels: Callable[[], Mapping[str, str]],
        later: Callable[[float, Callable[[], None]], object],
        start: Callable[[], object],
        merged: Callable[[CircuitStore, Circuit], object] = lambda store, circuit: None,
    ) -> None:
        self.history = history
        self._session = session
        self._rows = rows
        self._labels = labels
        self._later = later
        self._start = start
        self._merged = merged
        self._touched = 0.0
        self._waiting = False
        self._dirty = False
        self._told = False
        self._lock = asyncio.Lock()
        self._due: list[Moment] = []
        self._seen: WeakKeyDictionary[CircuitStore, Seen] = WeakKeyDictionary()
        self._written: WeakKeyDictionary[CircuitStore, tuple[View, Marks]] = WeakKeyDictionary()

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

    def knows(self, store: CircuitStore, seen: Seen) -> None:
        """What the history has of this circuit, as it was seen, is in it."""
        self._seen[store] = seen

    def unknown(self, store: CircuitStore) -> bool:
        """Whether the history may have more of a finished circuit."""
        return store.circuit is not None and store not in self._seen

    def marks_seen(self, store: CircuitStore) -> Marks:
        """The marks that the history had of a circuit when it was last read or written."""
        return self._seen.get(store, UNSEEN).marks

    async def recall(self, store: CircuitStore) -> Kept | None:
        """Take in what the history has of a circuit, and return that; None where there is nothing new."""
        circuit = store.circuit
        if circuit is None or not self.unknown(store):
            return None
        async with self._lock:
            kept = await asyncio.to_thread(self.history.find, circuit)
        if kept is not None:
            store.recall(kept.circuit, self.marks_seen(store))
        self.knows(store, UNSEEN if kept is None else kept.seen)
        return kept

    async def reference_of(self, model: ModelIdentity, entries: list[Entry] | None = None) -> str:
        """Where a circuit's model was loaded last; "" where its name alone finds it, or nothing does.

        `entries` are of the history, read if not given.
        """

        def work() -> str:
            # not needed before the first frame
            from scd_tui.catalog.made_with import reference_of

            return reference_of(model, self.history.entries() if entries is None else entries)

        return await asyncio.to_thread(work)

    def leave(self) -> None:
        """Another circuit is about to be shown: have this one written as it is left."""
        if self._take():
            self._start()

    def moment(self) -> Moment | None:
        """What is on the screen; None without a circuit. Only cheap copies are made here, for a thread."""
        rows = self._rows()
        circuit = rows.store.circuit
        if circuit is None:
            return None
        return Moment(
            of=rows.store,
            store=rows.store.at_this_moment(),
            top=list(rows.top),
            current=rows.current,
            look=rows.look,
            others=rows.others,
            labels=dict(self._labels()),
            given=self._session.given(circuit.model),
            seen=self._seen.get(rows.store, UNSEEN),
            dirty=self._dirty,
        )

    def _take(self) -> bool:
        """Note what is to be written."""
        moment = self.moment()
        if moment is None:
            return False
        self._dirty = False
        # Of the same circuit the last moment is enough: it has all that the one before it has.
        waiting = [one for one in self._due if one.of is not moment.of]
        dirty = moment.dirty or len(waiting) < len(self._due)
        self._due = [*waiting, moment._replace(dirty=dirty)]
        return True

    async def write(self) -> None:
        """Write what has not been written yet."""
        self._take()
        async with self._lock:
            while self._due:
                moment = self._due.pop(0)
                try:
                    written = await asyncio.to_thread(self._save, moment)
                except OSError as error:
                    if not self._told:
                        self._told = True
                        why = visible(str(error))
                        self._session.say(f"this circuit is not kept: {why}", "warn")
                else:
                    if written is not None:
                        self._take_in(moment, written)

    def _save(self, moment: Moment) -> Written | None:
        view = moment.view()
        # What was done last may not have been told yet when the app is left.
        if not moment.dirty and self._written.get(moment.of) == (view, moment.store.marks):
            return None
        return self.history.write(moment.circuit(), view, moment.given, moment.seen)

    def _take_in(self, moment: Moment, written: Written) -> None:
        """Note what the file has now, and take in what another app had written there."""
        store = moment.of
        self._written[store] = (written.view, written.circuit.marks)
        if written.merged:
            store.recall(written.circuit, moment.store.marks)
            self._merged(store, written.circuit)
        self._seen[store] = written.seen
        self._due = [
            one._replace(store=store.at_this_moment(), seen=written.seen)
            if one.of is store
            else one
            for one in self._due
        ]
