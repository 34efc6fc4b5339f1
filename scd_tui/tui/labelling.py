"""What is known of the features on the screen: from this machine, and from Neuronpedia behind it.

Everything is kept by feature, so that circuits of different models never share a label. What is on
the screen is wanted first, then what is near, then the rest of the circuit; the reader does the rest.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol

from scd_tui.graph import Circuit, ModelIdentity, NodeId, parse_node
from scd_tui.neuronpedia.address import Feature
from scd_tui.neuronpedia.backoff import Trouble
from scd_tui.neuronpedia.entries import Entry
from scd_tui.neuronpedia.faults import Fault, FaultKind
from scd_tui.neuronpedia.local import MADE_HERE
from scd_tui.neuronpedia.reader import Status
from scd_tui.neuronpedia.records import FeatureRecord
from scd_tui.text import visible
from scd_tui.tui.explained import Said, all_said, with_activations
from scd_tui.tui.ink import Span
from scd_tui.tui.records import FeatureRecords, NoRecords, RecordsOf, RecordState, find_labels
from scd_tui.tui.session import Session

NEAR = 1_000
"""Features that are asked for beyond those on the screen: four requests' worth."""
LOOK_SECONDS = 0.15
"""How often what is on the screen is looked at while one moves."""
DWELL_SECONDS = 0.4
"""How long the cursor rests on a feature before all that there is of it is asked for."""
GATHER_SECONDS = 0.05
"""How long arriving labels are gathered before the tree is drawn again."""
KEPT_RECORDS = 64
"""Records of this machine that are kept, each some 20 KB; the others are read again when wanted."""

SHORT: dict[FaultKind, str] = {
    "offline": "offline",
    "limited": "rate limited",
    "server": "Neuronpedia failed",
    "cut": "answer cut off",
    "slow": "answer too slow",
    "page": "web page, no data",
    "size": "answer too large",
    "content": "answer not usable",
    "redirect": "redirected elsewhere",
    "refused": "request refused",
}
"""In place of a label that could not be had, by why: short enough for 120 columns."""


class Reads(Protocol):
    """What is needed of a `Reader`."""

    @property
    def asks(self) -> bool: ...
    @property
    def trouble(self) -> Trouble | None: ...
    def want(self, features: Iterable[Feature]) -> None: ...
    def open(self, feature: Feature | None) -> None: ...
    def try_again(self) -> None: ...
    def problem(self, feature: Feature) -> Fault | None: ...
    def status(self) -> Status: ...
    def close(self) -> None: ...


class Labelling:
    """Labels and records of the nodes of `session`'s circuit.

    `shown` gives the nodes on the screen, first to last, and `near` those of the rows around them,
    nearest first. `run` starts a coroutine in a group, `later` calls a function after some seconds;
    `on_labels` and `on_record` are called when more is known.
    """

    def __init__(
        self,
        records: RecordsOf,
        session: Session,
        *,
        shown: Callable[[], Sequence[NodeId]],
        near: Callable[[], Sequence[NodeId]],
        run: Callable[[Coroutine[Any, Any, None], str], object],
        later: Callable[[float, Callable[[], None]], object],
        on_labels: Callable[[], None],
        on_record: Callable[[], None],
        page: Callable[[Feature], str] = lambda feature: "",
    ) -> None:
        self._records_of = records
        self._session = session
        self._shown = shown
        self._near = near
        self._run = run
        self._later = later
        self._on_labels = on_labels
        self._on_record = on_record
        self._page = page
        self._reader: Reads | None = None
        self._records: dict[str, FeatureRecords] = {}
        self._labels: dict[Feature, str] = {}
        self._local: dict[Feature, tuple[FeatureRecord | None, str]] = {}
        self._local_problems: dict[Feature, str] = {}
        self._entries: dict[Feature, Entry] = {}
        self._chosen: dict[Feature, int] = {}
        self._looking = False
        self._gathering = False
        self._opened: Feature | None = None
        self._moves = 0
        if session.store.circuit is not None:
            self.learn(session.store.circuit)

    def read_with(self, reader: Reads) -> None:
        """Look features up with this reader from now on."""
        self._reader = reader
        self.look()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    # --- what is known ------------------------------------------------------------------------

    @property
    def _model(self) -> ModelIdentity | None:
        circuit = self._session.store.circuit
        return self._session.model if circuit is None else circuit.model

    def feature(self, node: NodeId) -> Feature | None:
        """The feature of a node; None of nodes that are none. Not all are on Neuronpedia."""
        model, key = self._model, self._session.store.feature_key(node)
        if model is None or key is None:
            return None
        return Feature(model.neuronpedia or model.reference, *key)

    def _remote(self, node: NodeId) -> Feature | None:
        model, feature = self._model, self.feature(node)
        if model is None or feature is None or not model.neuronpedia:
            return None
        return feature if str(parse_node(node).site) in self._session.store.sources else None

    def on_neuronpedia(self, nodes: Iterable[NodeId]) -> list[Feature]:
        """The features of these nodes that Neuronpedia can have a page of."""
        return [f for node in nodes if (f := self._remote(node)) is not None]

    def label(self, node: NodeId) -> str:
        """A feature's explanation as far as it is known, "" otherwise."""
        feature = self.feature(node)
        return "" if feature is None else self._labels.get(feature, "")

    def hint(self, node: NodeId) -> str:
        """Why a feature has no label: one of a few states that look different."""
        feature = self._remote(node)
        reader = self._reader
        if feature is None or reader is None:
            return ""
        entry = self._entries.get(feature)
        if entry is not None:
            return "not on Neuronpedia" if entry.state == "unknown" else "no explanation"
        if not reader.asks:
            return "fetching turned off"
        trouble = reader.trouble or reader.problem(feature)
        return "…" if trouble is None else SHORT[trouble.kind]

    def labels(self) -> dict[str, str]:
        """Every explanation that was seen of this model's features, by `source/index`."""
        model = self._model
        if model is None:
            return {}
        name = model.neuronpedia or model.reference
        return {
            f"{feature.source}/{feature.index}": text
            for feature, text in self._labels.items()
            if text and feature.model == name
        }

    def learn(self, circuit: Circuit) -> None:
        """Take in the explanations that a circuit came with, where there is none yet."""
        name = circuit.model.neuronpedia or circuit.model.reference
        for key, text in circuit.explanations.items():
            source, _, index = key.rpartition("/")
            if index.isascii() and index.isdigit() and len(index) <= 10:
                feature = Feature(name, source, int(index))
                known = self._labels.get(feature, "")
                # an explanation says more than contexts made here
                if not known or known.startswith(MADE_HERE):
                    self._labels[feature] = visible(text)

    def state(self, node: NodeId) -> RecordState:
        """What is known of a node's feature, and what is shown of that."""
        feature = self.feature(node)
        if feature is None:
            return RecordState()
        said = self._said(feature)
        remote = self._remote(node)
        link = "" if remote is None else self._page(remote)
        looked_up = feature in self._local and (remote is None or feature in self._entries)
        problem, note = self._local_problems.get(feature, ""), ""
        if remote is not None:
            why, note = self._remote_state(remote)
            problem = problem or why
        if not said:
            return RecordState(None, looked_up, problem, note=note, link=link)
        number = self._chosen.get(feature, 0) % len(said)
        chosen = said[number]
        below = with_activations(chosen, said)
        if chosen.explanation is None and not note:
            note = "nobody has explained this feature"
        return RecordState(
            below.record, looked_up, problem, chosen.explanation, number + 1, len(said),
            below.origin, note, link,
        )  # fmt: skip

    def _remote_state(self, feature: Feature) -> tuple[str, str]:
        """What went wrong with a feature on Neuronpedia, and what is going on."""
        entry, reader = self._entries.get(feature), self._reader
        if reader is None:
            return "", ""
        if entry is not None and entry.state == "unknown":
            return "", "Neuronpedia does not know this feature"
        if not reader.asks:
            known = entry is not None
            return "", "" if known else "not looked up: fetching from Neuronpedia is turned off"
        status = reader.status()
        if (trouble := status.trouble) is not None and self._incomplete(entry):
            when = time.strftime("%H:%M:%S", time.localtime(time.time() + status.retry))
            return f"{visible(trouble.message)}: next try at {when}, r now", ""
        if (problem := reader.problem(feature)) is not None:
            return f"{visible(problem.message)}: r asks again", ""
        if self._opened == feature and self._incomplete(entry):
            return "", "fetching the full record…"
        return "", ""

    def _incomplete(self, entry: Entry | None) -> bool:
        return entry is None or entry.depth != "full" or entry.stale(time.time())

    def _said(self, feature: Feature) -> tuple[Said, ...]:
        local, name = self._local.get(feature, (None, ""))
        return all_said(self._entries.get(feature), local, name, time.time())

    def status(self) -> list[Span]:
        """What the status line says of Neuronpedia: nothing while there is nothing to say."""
        if self._reader is None:
            return []
        status = self._reader.status()
        spans: list[Span] = []
        if status.queued and self._reader.asks and status.wanted:
            cached = int(100 * status.known / status.wanted)
            spans.append((f"neuronpedia {status.queued} queued · {cached}% cached", "dim"))
        if status.trouble is not None and (status.queued or status.trouble.kind == "limited"):
            spans += [(" · " if spans else "neuronpedia ", "dim")]
            spans += [(SHORT[status.trouble.kind], "warn")]
        return [*spans, ("  ", "text")] if spans else []

    # --- looking up ---------------------------------------------------------------------------

    def look_up_new(self) -> None:
        """Look up all nodes that have come since this was last called."""
        store = self._session.store
        wanted = [
            feature
            for node in store.take_new()
            if (feature := self.feature(node)) is not None and feature not in self._labels
        ]
        if wanted:
            # A mark that they are being looked up, so that they are not asked for twice.
            self._labels.update(dict.fromkeys(wanted, ""))
            self._run(self._fetch_labels(wanted, self._local_records()), "labels")
        self.look()

    def moved(self) -> None:
        """Rows came on the screen, or left it; the cursor is on its way."""
        self._moves += 1
        if not self._looking:
            self._looking = True
            self._later(LOOK_SECONDS, self.look)

    def look(self) -> None:
        """Want what is on the screen, then what is near it, then the rest of the circuit."""
        self._looking = False
        model = self._model
        if self._reader is None or model is None or not model.neuronpedia:
            return
        wanted: dict[Feature, None] = {}
        for nodes in (self._shown(), self._near(), list(self._session.store.nodes)):
            for node in nodes:
                if len(wanted) >= NEAR:
                    break
                if (feature := self._remote(node)) is not None:
                    wanted[feature] = None
        self._reader.want(wanted)

    def open(self, node: NodeId) -> None:
        """The cursor rests on this node: look up the record of its feature."""
        feature = self.feature(node)
        if feature is None:
            return
        if feature not in self._local:
            self._run(self._fetch_record(feature, self._local_records()), "record")
        self._opened = feature
        if self._remote(node) is not None:
            moves = self._moves
            self._later(DWELL_SECONDS, lambda: self._dwelt(feature, moves))

    def left(self) -> None:
        """The cursor is elsewhere now."""
        self._opened = None
        if self._reader is not None:
            self._reader.open(None)

    def _dwelt(self, feature: Feature, moves: int) -> None:
        # after a move the next rest asks, for the row that the cursor is on then
        if self._opened == feature and self._moves == moves and self._reader is not None:
            self._reader.open(feature)
            self._on_record()

    def next_explanation(self, node: NodeId) -> int:
        """Show the next of a feature's explanations; returns how many there are."""
        feature = self.feature(node)
        said = () if feature is None else self._said(feature)
        if feature is not None and len(said) > 1:
            self._chosen[feature] = (self._chosen.get(feature, 0) + 1) % len(said)
            self._relabel(feature)
            self._on_labels()
            self._on_record()
        return len(said)

    def try_again(self) -> None:
        """Ask Neuronpedia now for what could not be had."""
        if self._reader is not None:
            self._reader.try_again()
            self.look()

    def found(self, entries: Mapping[Feature, Entry]) -> None:
        """Take in what the reader found, or that something has changed with it."""
        self._entries.update(entries)
        for feature in entries:
            self._relabel(feature)
        if not self._gathering:
            self._gathering = True
            self._later(GATHER_SECONDS, self._gathered)

    def _gathered(self) -> None:
        self._gathering = False
        self._on_labels()
        self._on_record()

    def _relabel(self, feature: Feature) -> None:
        said = self._said(feature)
        if not said:
            return
        explanation = said[self._chosen.get(feature, 0) % len(said)].explanation
        if explanation is not None:
            self._labels[feature] = visible(explanation.description)

    def _local_records(self) -> FeatureRecords:
        model = self._model
        if model is None:
            return NoRecords()
        if model.reference not in self._records:
            self._records[model.reference] = self._records_of(model.reference)
        return self._records[model.reference]

    async def _fetch_labels(self, wanted: Sequence[Feature], records: FeatureRecords) -> None:
        keys = {(feature.source, feature.index): feature for feature in wanted}
        try:
            found = await asyncio.to_thread(find_labels, records, keys)
        except (OSError, ValueError) as error:
            self._session.say(f"labels cannot be read: {visible(str(error))}", "warn")
            return
        for (source, index), feature in keys.items():
            if text := found[f"{source}/{index}"]:
                self._labels[feature] = self._labels[feature] or visible(text)
        self._on_labels()

    async def _fetch_record(self, feature: Feature, records: FeatureRecords) -> None:
        try:
            record = await asyncio.to_thread(records.record, feature.source, feature.index)
            self._keep_local(feature, (record, records.name))
        except (OSError, ValueError) as error:
            self._keep_local(feature, (None, ""), f"no record: {visible(str(error))}")
        self._on_record()

    def _keep_local(
        self, feature: Feature, found: tuple[FeatureRecord | None, str], problem: str = ""
    ) -> None:
        """Keep a record, or why there is none, in place of the one that was read longest ago."""
        self._local[feature] = found
        if problem:
            self._local_problems[feature] = problem
        while len(self._local) > KEPT_RECORDS:
            oldest = next(iter(self._local))
            del self._local[oldest]
            self._local_problems.pop(oldest, None)
