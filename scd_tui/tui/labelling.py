"""What is known of the features on the screen: looked up in threads, kept by source and index."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from scd_tui.graph import NodeId
from scd_tui.text import visible
from scd_tui.tui.records import FeatureRecords, RecordState, find_labels, label_key
from scd_tui.tui.session import Session


class Labelling:
    """Labels and records of the nodes of `session`'s circuit.

    `run` starts a coroutine in a group, `on_labels` and `on_record` are called when more is known.
    """

    def __init__(
        self,
        records: FeatureRecords,
        session: Session,
        *,
        run: Callable[[Coroutine[Any, Any, None], str], object],
        on_labels: Callable[[], None],
        on_record: Callable[[], None],
    ) -> None:
        self._records = records
        self._session = session
        self._run = run
        self._on_labels = on_labels
        self._on_record = on_record
        circuit = session.store.circuit
        explained = {} if circuit is None else circuit.explanations
        self._labels = {key: visible(text) for key, text in explained.items()}
        self._states: dict[str, RecordState] = {}

    def use(self, records: FeatureRecords) -> None:
        """Look features of another model up, in its own records."""
        self._records = records
        self._states = {}

    def label(self, node: NodeId) -> str:
        """A feature's explanation as far as it is known, "" otherwise."""
        key = self._session.store.feature_key(node)
        return "" if key is None else self._labels.get(label_key(*key), "")

    def labels(self) -> dict[str, str]:
        """Every explanation that was seen, by `source/index`."""
        return {key: text for key, text in self._labels.items() if text}

    def learn(self, explained: Mapping[str, str]) -> None:
        """Take in explanations that a circuit came with, where there is none yet."""
        for key, text in explained.items():
            self._labels[key] = self._labels.get(key) or visible(text)

    def state(self, node: NodeId) -> RecordState:
        """What is known of a feature's record."""
        key = self._session.store.feature_key(node)
        known = None if key is None else self._states.get(label_key(*key))
        return known or RecordState()

    def look_up_new(self) -> None:
        """Look up the labels of all nodes that have come since this was last called."""
        store = self._session.store
        wanted = {
            key
            for node in store.take_new()
            if (key := store.feature_key(node)) is not None and label_key(*key) not in self._labels
        }
        if wanted:
            # A mark that they are being looked up, so that they are not asked for twice.
            self._labels.update({label_key(*key): "" for key in wanted})
            self._run(self._fetch_labels(wanted), "labels")

    async def _fetch_labels(self, wanted: Iterable[tuple[str, int]]) -> None:
        try:
            found = await asyncio.to_thread(find_labels, self._records, wanted)
        except (OSError, ValueError) as error:
            self._session.say(f"labels cannot be read: {visible(str(error))}", "warn")
            return
        self._labels.update({key: visible(text) for key, text in found.items()})
        self._on_labels()

    def open(self, node: NodeId) -> None:
        """Look up the record of the feature that is looked at."""
        key = self._session.store.feature_key(node)
        if key is not None and label_key(*key) not in self._states:
            self._run(self._fetch_record(key), "record")

    async def _fetch_record(self, key: tuple[str, int]) -> None:
        try:
            record = await asyncio.to_thread(self._records.record, *key)
            state = RecordState(record, looked_up=True)
        except (OSError, ValueError) as error:
            state = RecordState(looked_up=True, problem=f"no record: {visible(str(error))}")
        self._states[label_key(*key)] = state
        self._on_record()
