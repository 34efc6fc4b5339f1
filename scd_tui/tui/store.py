"""What is known of the circuit on the screen: nodes, edges, and what was asked and not answered.

Plain Python. It is filled from a whole `Circuit` (a finished request, or a file) or site by site
while a circuit is being made, and grows as upstream edges and exact effects arrive.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from scd_tui.graph import (
    EMBEDDINGS,
    SITE_KINDS,
    Circuit,
    Edge,
    Marks,
    Node,
    NodeId,
    Removal,
    SiteSummary,
    Token,
    Trust,
    parse_node,
    parse_site,
)
from scd_tui.merging import merged_marks
from scd_tui.text import visible
from scd_tui.worker.protocol import HeadsFound

UpstreamState = Literal["known", "leaf", "unknown", "pending", "failed"]


NO_MARKS = Marks()


def place_order(place: str) -> tuple[int, int]:
    """Sort key that puts places from the first computed (the embeddings) to the last (the root)."""
    if place == EMBEDDINGS:
        return (-1, 0)
    try:
        site = parse_site(place)
    except ValueError:
        return (1 << 30, 0)
    return (site.layer, SITE_KINDS.index(site.kind))


def removable(nodes: Iterable[NodeId]) -> tuple[NodeId, ...]:
    """The features and errors among nodes, without repetition."""
    return tuple(n for n in dict.fromkeys(nodes) if parse_node(n).kind in ("feature", "error"))


def _upstream_of(circuit: Circuit) -> Iterator[tuple[NodeId, list[Edge]]]:
    """Each node whose upstream edges a circuit lists, with these."""
    into: dict[NodeId, list[Edge]] = {}
    for edge in circuit.edges:
        into.setdefault(edge.target, []).append(edge)
    for target in circuit.expanded:
        yield target, into.get(target, [])


class Group(msgspec.Struct, frozen=True):
    """The strongest edges into one node that start at one place, strongest first."""

    place: str
    edges: tuple[Edge, ...]

    @property
    def total(self) -> float:
        """Sum of the edges that are listed, which need not be all that there are."""
        return sum(edge.weight for edge in self.edges)


class CircuitStore:
    """Nodes and edges by name. Nothing in it is ever taken away."""

    def __init__(
        self,
        tokens: Iterable[Token] = (),
        root: NodeId | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self.sources: Mapping[str, str] = sources or {}
        self.tokens: list[str] = [visible(token.text) for token in tokens]
        self.root = root
        self.circuit: Circuit | None = None
        self.trust: Trust | None = None
        self.nodes: dict[NodeId, Node] = {}
        self.sites: dict[str, SiteSummary] = {}
        self.marks = Marks()
        self.removals: dict[frozenset[NodeId], Removal] = {}
        self.cuts: dict[tuple[NodeId, NodeId], Removal] = {}
        self.heads: dict[NodeId, HeadsFound] = {}
        self.activations: dict[str, tuple[float, ...]] = {}
        self._largest = {False: 0.0, True: 0.0}
        self._upstream: dict[NodeId, tuple[Group, ...]] = {}
        self._pending: set[NodeId] = set()
        self._failed: dict[NodeId, str] = {}
        self._by_place: dict[str, list[NodeId]] = {}
        self._new: list[NodeId] = []
        self._original: frozenset[NodeId] = frozenset()

    @classmethod
    def of(cls, circuit: Circuit) -> "CircuitStore":
        store = cls()
        store.finish(circuit)
        return store

    @property
    def known(self) -> int:
        """How many nodes there are, the metric not counted."""
        return len(self.nodes) - (self.root in self.nodes)

    def finish(self, circuit: Circuit) -> None:
        """Take in a whole circuit."""
        self.circuit = circuit
        self._original = frozenset(node.id for node in circuit.nodes)
        if not self.marks.nodes:
            self.marks = circuit.marks
        for removal in circuit.removals:
            self._keep_removal(removal)
        self.trust = circuit.trust or self.trust
        self.tokens = [visible(token.text) for token in circuit.tokens]
        self.root = circuit.target.root
        self.sources = circuit.model.sources
        for summary in circuit.sites:
            self.sites[str(summary.site)] = summary
        self.add_nodes(circuit.nodes)
        if self.root not in self.nodes:
            self.add_nodes([Node(self.root, circuit.metric_value, 0.0)])
        for target, edges in _upstream_of(circuit):
            self.add_upstream(target, (), edges)

    def recall(self, past: Circuit, base: Marks = NO_MARKS) -> None:
        """Take in what was learned of the same circuit elsewhere, and the marks; what is known stays.

        `base` are the marks that both began from: what was taken off since, here or there, stays off.
        """
        new = (node for node in past.nodes if node.id not in self.nodes)
        self.add_nodes([msgspec.structs.replace(node, top=False) for node in new])
        for target, edges in _upstream_of(past):
            if target not in self._upstream:
                self.add_upstream(target, (), edges)
        measured = {node.id: node.exact for node in past.nodes if node.exact is not None}
        missing = {n: e for n, e in measured.items() if self.nodes[n].exact is None}
        self.add_exact(missing)
        self.trust = self.trust or past.trust
        self.marks = merged_marks(base, self.marks, past.marks)
        for removal in (*past.removals, *self._tried()):
            self._keep_removal(removal)

    def _tried(self) -> tuple[Removal, ...]:
        return (*self.removals.values(), *self.cuts.values())

    def add_site(self, summary: SiteSummary, nodes: Iterable[Node]) -> None:
        """Take in one site of a circuit that is being made."""
        self.sites[str(summary.site)] = summary
        self.add_nodes(nodes)

    def add_nodes(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            known = self.nodes.get(node.id)
            if known is None:
                self._by_place.setdefault(parse_node(node.id).place, []).append(node.id)
                self._new.append(node.id)
            else:
                # A top node stays one, and a measurement is not forgotten.
                exact = node.exact if node.exact is not None else known.exact
                node = msgspec.structs.replace(node, exact=exact, top=node.top or known.top)
            self.nodes[node.id] = node
            if node.id != self.root:
                leaf = parse_node(node.id).site is None
                self._largest[leaf] = max(self._largest[leaf], abs(node.effect))

    def add_upstream(self, target: NodeId, nodes: Iterable[Node], edges: Iterable[Edge]) -> None:
        """Take in the strongest edges into `target`, and their sources where they are new."""
        self.add_nodes(nodes)
        groups: dict[str, list[Edge]] = {}
        for edge in edges:
            groups.setdefault(parse_node(edge.source).place, []).append(edge)
        self._upstream[target] = tuple(
            Group(place, tuple(sorted(groups[place], key=lambda edge: -abs(edge.weight))))
            for place in sorted(groups, key=place_order, reverse=True)
        )
        self._pending.discard(target)
        self._failed.pop(target, None)

    def add_exact(self, exact: dict[NodeId, float]) -> None:
        """Fill in measured effects; of nodes that are not here, nothing is kept."""
        for name, value in exact.items():
            if (node := self.nodes.get(name)) is not None:
                self.nodes[name] = msgspec.structs.replace(node, exact=value)

    def add_removal(self, removal: Removal) -> None:
        """Take in what a reader tried; of one node alone, that is its exact effect."""
        self._keep_removal(removal)
        if removal.into is None and len(removal.nodes) == 1:
            self.add_exact({removal.nodes[0]: removal.outcome.exact})

    def _keep_removal(self, removal: Removal) -> None:
        if removal.into is None:
            self.removals[frozenset(removal.nodes)] = removal
        else:
            self.cuts[removal.nodes[0], removal.into] = removal

    def mark_pending(self, node: NodeId) -> None:
        self._pending.add(node)
        self._failed.pop(node, None)

    def mark_failed(self, node: NodeId, why: str) -> None:
        self._pending.discard(node)
        self._failed[node] = why

    def clear_pending(self, why: str) -> tuple[NodeId, ...]:
        """Give up on everything that has been asked, and return what that was."""
        gone = tuple(self._pending)
        for node in gone:
            self.mark_failed(node, why)
        return gone

    def upstream_state(self, node: NodeId) -> UpstreamState:
        """`failed` and `pending` nodes have no groups yet; `unknown` ones were never asked for."""
        if parse_node(node).kind in ("token", "pos"):
            return "leaf"
        if node in self._upstream:
            return "known"
        if node in self._pending:
            return "pending"
        return "failed" if node in self._failed else "unknown"

    @property
    def pending(self) -> bool:
        """Whether the edges into any node are being computed."""
        return bool(self._pending)

    def failure(self, node: NodeId) -> str:
        return self._failed.get(node, "")

    def upstream(self, node: NodeId) -> tuple[Group, ...]:
        """Groups of edges into `node`, from the last place to the first; () where none is known."""
        return self._upstream.get(node, ())

    def places(self) -> list[str]:
        """Every place that has a summary or a node, from the last to the embeddings; no root."""
        names = {p for p in self._by_place if place_order(p) < (1 << 30, 0)} | set(self.sites)
        return sorted(names, key=place_order, reverse=True)

    def at(self, place: str) -> tuple[list[NodeId], list[NodeId]]:
        """The strongest nodes of a place, and the others that are known, each strongest first.

        Of the embeddings all are among the strongest: there are but two to a token.
        """
        names = sorted(
            self._by_place.get(place, ()),
            key=lambda name: (-abs(self.nodes[name].effect), name),
        )
        if place == EMBEDDINGS:
            return names, []
        top = [name for name in names if self.nodes[name].top]
        return top, [name for name in names if not self.nodes[name].top]

    def at_position(self, position: int) -> list[NodeId]:
        """Every node that is known at a token, but for the root."""
        names = (name for name in self.nodes if name != self.root)
        return [name for name in names if parse_node(name).position == position]

    def is_original(self, node: NodeId) -> bool:
        """Whether the circuit was made with the node, and did not learn of it since."""
        return node in self._original

    def heads_of(self, source: NodeId, target: NodeId) -> list[tuple[int, int, float]]:
        """(layer, head, weight) of each head that carried an edge, the strongest first."""
        found = self.heads.get(target)
        if found is None or source not in found.sources:
            return []
        index = found.sources.index(source)
        parts = [(part.layer, part.head, part.weights[index]) for part in found.heads]
        return sorted((p for p in parts if p[2] != 0.0), key=lambda part: -abs(part[2]))

    def token(self, position: int) -> str:
        """The cleaned text of the token at `position`, with its leading space; "" if there is none."""
        return self.tokens[position] if 0 <= position < len(self.tokens) else ""

    def feature_key(self, node: NodeId) -> tuple[str, int] | None:
        """(source, index) under which the node's feature is labelled; None if it has no label."""
        ref = parse_node(node)
        if ref.site is None or ref.index is None:
            return None
        return self.sources.get(str(ref.site), str(ref.site)), ref.index

    def largest_effect(self, node: NodeId) -> float:
        """The largest |effect| among nodes of the same sort: leaves, or those at a site.

        Embeddings can be stronger than all that is computed from them, so they have their own scale.
        """
        return self._largest[parse_node(node).site is None]

    @property
    def largest_at_sites(self) -> float:
        """The largest |effect| of all nodes but the embeddings."""
        return self._largest[False]

    def take_new(self) -> list[NodeId]:
        """Nodes that have come since this was last asked."""
        new, self._new = self._new, []
        return new

    def at_this_moment(self) -> "CircuitStore":
        """A copy that another thread can take a snapshot of while this one goes on growing."""
        moment = copy.copy(self)
        moment.nodes, moment._upstream = dict(self.nodes), dict(self._upstream)
        moment.removals, moment.cuts = dict(self.removals), dict(self.cuts)
        return moment

    def snapshot(self) -> Circuit | None:
        """The circuit with all that was learned since: measured effects, upstream edges, trust."""
        if self.circuit is None:
            return None
        expanded = tuple(dict.fromkeys((*self.circuit.expanded, *self._upstream)))
        edges = {(edge.source, edge.target): edge for edge in self.circuit.edges}
        for groups in self._upstream.values():
            for group in groups:
                edges.update({(edge.source, edge.target): edge for edge in group.edges})
        known = {node.id for node in self.circuit.nodes}
        extra = [name for name in self.nodes if name not in known]
        return msgspec.structs.replace(
            self.circuit,
            nodes=tuple(self.nodes[name] for name in (*(n.id for n in self.circuit.nodes), *extra)),
            edges=tuple(edges.values()),
            expanded=expanded,
            trust=self.trust,
            marks=self.marks,
            removals=self._tried(),
        )
