"""What is tried on the circuit: asked of the worker, and kept with the circuit that it was asked of."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import msgspec

from scd_tui.graph import NodeId, Outcome, Removal, parse_node
from scd_tui.numbers import counted, probability, signed
from scd_tui.text import visible
from scd_tui.tui.paint import quoted
from scd_tui.tui.store import CircuitStore, removable
from scd_tui.worker.protocol import (
    CutEdge,
    EdgeWasCut,
    Event,
    Failed,
    Heads,
    HeadsFound,
    Message,
    Progress,
    Remove,
    Removed,
)

if TYPE_CHECKING:
    from scd_tui.tui.session import Session

Then = Callable[[Event], None]


class Pending(msgspec.Struct, frozen=True):
    """A request whose answer `then` takes. `quiet`: one that nobody waits for says nothing if it fails.

    `asked` is what was asked, all of it.
    """

    then: Then
    quiet: bool
    asked: tuple[type[Message], dict[str, object]]


class Experiments:
    """Requests beside those that make a circuit. `changed` is called when a node's detail is new."""

    def __init__(self, session: "Session", changed: Callable[[], None]) -> None:
        self._session = session
        self._changed = changed
        self._pending: dict[int, Pending] = {}
        # by circuit, and no longer than the circuit is kept elsewhere
        self._heads: WeakKeyDictionary[CircuitStore, set[NodeId]] = WeakKeyDictionary()

    @property
    def requests(self) -> tuple[int, ...]:
        """Those that somebody waits for."""
        return tuple(number for number, one in self._pending.items() if not one.quiet)

    def ask(
        self,
        kind: type[Message],
        then: Then,
        stage: str = "",
        quiet: bool = False,
        **fields: object,
    ) -> bool:
        """Send a request; `stage` is what the progress line says of it. Returns whether it was sent.

        One that somebody waits for already is not sent again.
        """
        asked = (kind, fields)
        if not quiet and any(one.asked == asked for one in self._pending.values() if not one.quiet):
            return True
        number = self._session.request(kind, stage, **fields)
        if number is None:
            return False
        self._pending[number] = Pending(then, quiet, asked)
        return True

    def ask_of_circuit(
        self,
        kind: type[Message],
        then: Then,
        stage: str = "",
        quiet: bool = False,
        **fields: object,
    ) -> bool:
        """The same of the circuit that is shown; says why where the worker has it not."""
        circuit = self._session.circuit_request
        if circuit is None:
            if not quiet:
                self._session.say(self._session.why_not("compute it"), "warn")
            return False
        return self.ask(kind, then, stage, quiet, circuit=circuit, **fields)

    def handle(self, event: Event) -> bool:
        """Take an answer in. Returns whether it was one to a request from here."""
        pending = self._pending.get(event.request)
        if pending is None:
            return False
        if isinstance(event, Progress):
            return True
        del self._pending[event.request]
        self._session.done(event.request)
        if isinstance(event, Failed):
            if not pending.quiet and event.kind != "cancelled":
                why = visible(event.message)
                self._session.say(why, "warn" if event.kind == "input" else "bad")
        else:
            pending.then(event)
        return True

    def forget(self) -> None:
        """Nobody waits for anything any more."""
        self._pending.clear()
        self._heads.clear()

    # --- the experiments ----------------------------------------------------------------------

    def remove(self, nodes: Iterable[NodeId], what: str) -> None:
        """Measure what it does to take several nodes out together; `what` names them."""
        chosen = removable(nodes)
        if not chosen:
            self._session.say(f"{what}: there is no feature or error to take out", "warn")
            return
        store = self._session.store

        def removed(event: Event) -> None:
            if isinstance(event, Removed):
                store.add_removal(Removal(event.nodes, event.outcome))
                self.tell(store, f"{what}, {len(event.nodes)} together", event.outcome)

        stage = f"taking out {counted(len(chosen), 'node')}"
        self.ask_of_circuit(Remove, removed, stage, nodes=chosen)

    def cut(self, source: NodeId, target: NodeId) -> None:
        """Measure what it does when `target` misses what `source` sends it directly."""
        if parse_node(source).kind in ("token", "pos"):
            self._session.say("embeddings are not ablated to zero: no text has none", "warn")
            return
        store = self._session.store

        def cut(event: Event) -> None:
            if isinstance(event, EdgeWasCut):
                edge = (event.source,), event.outcome, event.target, event.along
                store.add_removal(Removal(*edge))
                self.tell(store, f"the edge from {event.source}", event.outcome)

        self.ask_of_circuit(CutEdge, cut, "cutting the edge", source=source, target=target)

    def heads(self, target: NodeId) -> None:
        """Ask once, quietly, which heads carried the edges into a node."""
        store = self._session.store
        asked = self._heads.setdefault(store, set())
        if target in store.heads or target in asked:
            return
        sources = tuple(e.source for group in store.upstream(target) for e in group.edges)
        if not sources or parse_node(target).site is None:
            return

        def found(event: Event) -> None:
            if isinstance(event, HeadsFound):
                store.heads[event.node] = event
                self._changed()

        if self.ask_of_circuit(Heads, found, quiet=True, node=target, sources=sources):
            asked.add(target)

    def tell(self, store: CircuitStore, what: str, outcome: Outcome) -> None:
        """Say in the status line what an experiment came to, if its circuit is still shown."""
        if store is self._session.store:
            numbers = f"predicted {signed(outcome.predicted)}, exact {signed(outcome.exact)}"
            for best in outcome.completions[:1]:
                token = quoted(visible(best.token.text))
                numbers += f"; then says {token} {probability(best.probability)}"
            self._session.say(f"{what}: {numbers}", "good")
            self._changed()
