"""Two circuits by value: what both have, what only one has, and how far effects and edges differ.

A node that is missing in one file was not among those that were kept of it. It need not be inactive
there: a comparison is of what two files say.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from scd_tui.graph import Circuit, Node, NodeId, Record, parse_node
from scd_tui.pruning import without_position
from scd_tui.text import visible

By = Literal["node", "feature"]

RELATIVE = 1e-3
OF_LARGEST = 1e-5
"""Effects are the same if they are this near: relative to their size, or to the largest of all. Another
machine sums in another order."""


class Pair(Record, frozen=True):
    """A name in both circuits, None for what one of them does not have.

    `a` and `b` are effects of nodes or weights of edges, summed over positions where features are compared.
    `exact_a` and `exact_b` were measured, and are of single nodes only.
    """

    name: str
    a: float | None
    b: float | None
    exact_a: float | None = None
    exact_b: float | None = None
    label: str = ""

    @property
    def change(self) -> float:
        """What B has more than A; what is missing counts as nothing."""
        return (self.b or 0.0) - (self.a or 0.0)

    @property
    def size(self) -> float:
        return max(abs(self.a or 0.0), abs(self.b or 0.0))

    @property
    def shared(self) -> bool:
        return self.a is not None and self.b is not None


class Differs(Record, frozen=True):
    """A part of the two questions that is not the same, in words."""

    what: str
    a: str
    b: str


class Comparison(Record, frozen=True):
    """`nodes` and `edges` have the largest change first. `overlap` is, for A and B, the share of Σ|effect|
    over its nodes that the shared ones have. `same`: every number is the same, to rounding.
    """

    by: By
    differs: tuple[Differs, ...]
    notes: tuple[str, ...]
    value_a: float
    value_b: float
    nodes: tuple[Pair, ...]
    edges: tuple[Pair, ...]
    overlap: tuple[float, float]
    same: bool

    def where(self, a: bool, b: bool) -> list[Pair]:
        """The nodes in both (True, True), or in one alone, by how much they change."""
        return [pair for pair in self.nodes if (pair.a is not None, pair.b is not None) == (a, b)]


def compare(a: Circuit, b: Circuit, by: By | None = None) -> Comparison:
    """Compare node by node, or feature by feature with all positions summed.

    None is node by node where the two have as many tokens, so that positions stand for each other.
    """
    if by is None:
        by = "node" if len(a.tokens) == len(b.tokens) else "feature"
    nodes = _pairs(_effects(a, by), _effects(b, by), _labels(a, b, by))
    edges = _pairs(_weights(a, by), _weights(b, by), {})
    differs = tuple(_differs(a, b))
    values = (a.metric_value, b.metric_value)
    same = not differs and _near(*values, max(map(abs, values))) and _all_near(nodes, edges)
    return Comparison(
        by=by,
        differs=differs,
        notes=tuple(_notes(a, b, by)),
        value_a=a.metric_value,
        value_b=b.metric_value,
        nodes=nodes,
        edges=edges,
        overlap=(_overlap(nodes, lambda p: p.a), _overlap(nodes, lambda p: p.b)),
        same=same,
    )


def _near(a: float, b: float, largest: float) -> bool:
    return abs(a - b) <= RELATIVE * max(abs(a), abs(b)) + OF_LARGEST * largest


def _all_near(*found: tuple[Pair, ...]) -> bool:
    for pairs in found:
        largest = max((pair.size for pair in pairs), default=0.0)
        for pair in pairs:
            if pair.a is None or pair.b is None or not _near(pair.a, pair.b, largest):
                return False
    return True


def _overlap(pairs: Iterable[Pair], side: Callable[[Pair], float | None]) -> float:
    total = shared = 0.0
    for pair in pairs:
        size = abs(side(pair) or 0.0)
        total += size
        shared += size if pair.shared else 0.0
    return shared / total if total else 1.0


Valued = dict[str, tuple[float, float | None]]


def name_of(circuit: Circuit, node: NodeId, by: By) -> str:
    """What the node is compared as. Embeddings of tokens are those of their token, wherever it stands."""
    ref = parse_node(node)
    if ref.kind == "root":
        return "metric"
    if by == "node":
        return node
    name = without_position(node)
    if ref.kind == "token":
        return f"{name} {visible(circuit.tokens[ref.position].text)!r}"
    return name


def _effects(circuit: Circuit, by: By) -> Valued:
    """Effects and exact effects by name, but for the metric's own. With positions, all are summed."""
    members: dict[str, list[Node]] = {}
    for node in circuit.nodes:
        if parse_node(node.id).kind != "root":
            members.setdefault(name_of(circuit, node.id, by), []).append(node)
    return {
        name: (sum(node.effect for node in nodes), nodes[0].exact if len(nodes) == 1 else None)
        for name, nodes in members.items()
    }


def _weights(circuit: Circuit, by: By) -> Valued:
    found: dict[str, float] = {}
    for edge in circuit.edges:
        name = f"{name_of(circuit, edge.source, by)} → {name_of(circuit, edge.target, by)}"
        found[name] = found.get(name, 0.0) + edge.weight
    return {name: (weight, None) for name, weight in found.items()}


def _pairs(a: Valued, b: Valued, labels: dict[str, str]) -> tuple[Pair, ...]:
    nothing: tuple[None, None] = (None, None)
    pairs = []
    for name in dict.fromkeys((*a, *b)):
        (value_a, exact_a), (value_b, exact_b) = a.get(name, nothing), b.get(name, nothing)
        pairs.append(Pair(name, value_a, value_b, exact_a, exact_b, labels.get(name, "")))
    return tuple(sorted(pairs, key=lambda pair: (-abs(pair.change), -pair.size, pair.name)))


def _labels(a: Circuit, b: Circuit, by: By) -> dict[str, str]:
    labels: dict[str, str] = {}
    for circuit in (b, a):
        for node in circuit.nodes:
            ref = parse_node(node.id)
            source = circuit.model.sources.get(str(ref.site), str(ref.site))
            if text := circuit.explanations.get(f"{source}/{ref.index}", ""):
                labels[name_of(circuit, node.id, by)] = visible(text)
    return labels


def _differs(a: Circuit, b: Circuit) -> Iterable[Differs]:
    for what, read in _QUESTION.items():
        one, other = visible(read(a)), visible(read(b))
        if one != other:
            yield Differs(what, one, other)


_QUESTION: dict[str, Callable[[Circuit], str]] = {
    "model": lambda c: f"{c.model.name} {c.model.revision}",
    "dictionaries": lambda c: f"{c.model.dictionaries} {c.model.dictionaries_revision}",
    "prompt": lambda c: c.prompt,
    "contrast prompt": lambda c: c.contrast_prompt or "",
    "target": lambda c: repr(c.target.text),
    "contrast": lambda c: repr(c.target.contrast_text) if c.target.contrast else "",
    "metric": lambda c: c.target.metric,
    "position": lambda c: str(c.target.position),
    "method": lambda c: c.settings.method,
    "nodes a site": lambda c: str(c.settings.top),
    "edges": lambda c: str(c.settings.edges),
    "first position": lambda c: "skipped" if c.settings.skip_first else "",
    "attention patterns": lambda c: "frozen" if c.settings.freeze_patterns else "",
    "pruned": lambda c: "" if c.pruned is None else f"to {c.pruned.node_share:.0%} of influence",
}


def _notes(a: Circuit, b: Circuit, by: By) -> Iterable[str]:
    if (a.model.name, a.model.dictionaries) != (b.model.name, b.model.dictionaries):
        yield "the features are of different dictionaries: the same number means nothing the same"
    if a.target.metric != b.target.metric:
        yield "the metrics differ, and with them the unit of effects"
    if by == "node" and [t.id for t in a.tokens] != [t.id for t in b.tokens]:
        yield "the tokens differ: a node at a position stands beside that at the same position"
