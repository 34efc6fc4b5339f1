"""Two circuits by value: what both list, what one alone lists, and how far effects and edges differ.

A circuit lists its strongest nodes and edges. What it does not list can be as strong as what the other
lists: its effect is not known, and neither is the difference. It is known to be nothing only where all
active features of its site are listed.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from scd_tui.graph import EMBEDDINGS, Circuit, Node, NodeId, NodeRef, Record, parse_node
from scd_tui.pruning import without_position
from scd_tui.text import visible
from scd_tui.wording import contrast_words, wanted_words

By = Literal["node", "feature"]
Lister = Literal["both", "a", "b"]
"""Which of the two circuits list a name."""

UNKNOWN = "?"
"""What stands for a change that is not known."""

RELATIVE = 1e-3
OF_LARGEST = 1e-5
"""Effects are the same if they are this near: relative to their size, or to the largest of all. Another
machine sums in another order."""


class Pair(Record, frozen=True):
    """A name that both circuits list, or one alone; with None for an effect that is not known.

    `a` and `b` are effects of nodes or weights of edges, summed over the listed positions where features
    are compared. `change` is what B has more. It is None where one of the two is not known, and where the
    sums are over different positions, so that one of them misses what the other has.
    `exact_a` and `exact_b` were measured, and are of single nodes only.
    """

    name: str
    listed: Lister
    a: float | None
    b: float | None
    change: float | None
    exact_a: float | None = None
    exact_b: float | None = None
    label: str = ""

    @property
    def size(self) -> float:
        return max(abs(self.a or 0.0), abs(self.b or 0.0))


class Differs(Record, frozen=True):
    """A part of the two questions that is not the same, in words."""

    what: str
    a: str
    b: str


class Comparison(Record, frozen=True):
    """`nodes` and `edges` have the largest change first, and those whose change is not known last.

    `overlap` is, for A and B, the share of Σ|effect| over its nodes that those have which both list.
    `same`: every number is the same, to rounding. `against`: the contrast prompt, where both have the same.
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
    against: str | None = None

    def listed(self, by: Lister) -> list[Pair]:
        """The nodes that both list, or one alone, by how much they change."""
        return listed(self.nodes, by)


def listed(pairs: Iterable[Pair], by: Lister) -> list[Pair]:
    return [pair for pair in pairs if pair.listed == by]


def unknown(pairs: Iterable[Pair]) -> int:
    """Of how many it is not known how much they change."""
    return sum(pair.change is None for pair in pairs)


def compare(a: Circuit, b: Circuit, by: By | None = None) -> Comparison:
    """Compare node by node, or feature by feature with all positions summed.

    None is node by node where the two have as many tokens, so that positions stand for each other.
    """
    if by is None:
        by = "node" if len(a.tokens) == len(b.tokens) else "feature"
    aligned = len(a.tokens) == len(b.tokens)
    nodes = _pairs(_effects(a, by), _effects(b, by), aligned, _labels(a, b, by))
    edges = _pairs(_weights(a, by), _weights(b, by), aligned, {})
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
        against=a.contrast_prompt if a.contrast_prompt == b.contrast_prompt else None,
    )


def _near(a: float, b: float, largest: float) -> bool:
    return abs(a - b) <= RELATIVE * max(abs(a), abs(b)) + OF_LARGEST * largest


def _all_near(*found: tuple[Pair, ...]) -> bool:
    for pairs in found:
        largest = max((pair.size for pair in pairs), default=0.0)
        for pair in pairs:
            if pair.a is None or pair.b is None or pair.change is None:
                return False
            if pair.listed != "both" or not _near(pair.a, pair.b, largest):
                return False
    return True


def _overlap(pairs: Iterable[Pair], side: Callable[[Pair], float | None]) -> float:
    total = shared = 0.0
    for pair in pairs:
        size = abs(side(pair) or 0.0)
        total += size
        shared += size if pair.listed == "both" else 0.0
    return shared / total if total else 1.0


_TOKEN = f"{EMBEDDINGS}/token "
"""What names of token embeddings begin with where positions are summed."""


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


@dataclass(frozen=True)
class _Listed:
    """What a circuit lists under a name: the sum, and where its parts are. `whole`: there are no others."""

    value: float
    places: frozenset[tuple[int, ...]]
    whole: bool = False
    exact: float | None = None


@dataclass(frozen=True)
class _Side:
    """All that a circuit lists; `absent` says of a name that is not listed that its effect is nothing."""

    listed: dict[str, _Listed]
    absent: Callable[[str], bool] = lambda name: False

    def value(self, name: str) -> float | None:
        if name in self.listed:
            return self.listed[name].value
        return 0.0 if self.absent(name) else None


def _effects(circuit: Circuit, by: By) -> _Side:
    """Effects and exact effects by name, but for the metric's own. With positions, all are summed."""
    count = _counting(circuit, by)
    members: dict[str, list[Node]] = {}
    for node in circuit.nodes:
        if parse_node(node.id).kind != "root":
            members.setdefault(name_of(circuit, node.id, by), []).append(node)
    listed = {
        name: _Listed(
            value=sum(node.effect for node in nodes),
            places=frozenset((parse_node(node.id).position,) for node in nodes),
            whole=by == "node" or len(nodes) == count(name),
            exact=nodes[0].exact if len(nodes) == 1 else None,
        )
        for name, nodes in members.items()
    }
    return _Side(listed, lambda name: count(name) == 0)


def _counting(circuit: Circuit, by: By) -> Callable[[str], int | None]:
    """At how many positions a name has an effect in a circuit; of listed nodes where sums are compared.

    None is not known: other features may be active at a site than those that are listed, unless these
    are as many as are active there. (Those of a contrast prompt are not counted.)
    """
    features = [ref for node in circuit.nodes if (ref := parse_node(node.id)).kind == "feature"]
    at_site = Counter(ref.site for ref in features)
    complete = {
        summary.site
        for summary in circuit.sites
        if circuit.contrast_prompt is None and at_site[summary.site] == summary.active
    }
    positions = Counter(name_of(circuit, ref.id, by) for ref in features)
    length = len(circuit.tokens)
    tokens = Counter(
        name_of(circuit, NodeRef("token", position).id, by) for position in range(length)
    )

    def count(name: str) -> int | None:
        if name in tokens or name.startswith(_TOKEN):
            return tokens[name]
        ref = parse_node(name if by == "node" else f"{name}@0")
        if by == "node" and ref.position >= length:
            return 0
        if ref.kind != "feature":
            return 1 if by == "node" else length
        return positions[name] if ref.site in complete else None

    return count


def _weights(circuit: Circuit, by: By) -> _Side:
    weights: dict[str, float] = {}
    places: dict[str, set[tuple[int, ...]]] = {}
    for edge in circuit.edges:
        name = f"{name_of(circuit, edge.source, by)} → {name_of(circuit, edge.target, by)}"
        weights[name] = weights.get(name, 0.0) + edge.weight
        ends = (parse_node(edge.source).position, parse_node(edge.target).position)
        places.setdefault(name, set()).add(ends)
    return _Side({name: _Listed(weights[name], frozenset(places[name])) for name in weights})


def _pairs(a: _Side, b: _Side, aligned: bool, labels: dict[str, str]) -> tuple[Pair, ...]:
    """`aligned`: positions of one stand for those of the other, and not only their number."""
    pairs = []
    for name in dict.fromkeys((*a.listed, *b.listed)):
        one, other = a.listed.get(name), b.listed.get(name)
        value_a, value_b = a.value(name), b.value(name)
        change = None
        if value_a is not None and value_b is not None and _comparable(one, other, aligned):
            change = value_b - value_a
        pairs.append(
            Pair(
                name=name,
                listed="both" if one and other else "a" if one else "b",
                a=value_a,
                b=value_b,
                change=change,
                exact_a=one.exact if one else None,
                exact_b=other.exact if other else None,
                label=labels.get(name, ""),
            )
        )
    return tuple(
        sorted(
            pairs,
            key=lambda pair: (
                pair.change is None,
                -abs(pair.change or 0.0),
                -pair.size,
                pair.name,
            ),
        )
    )


def _comparable(a: _Listed | None, b: _Listed | None, aligned: bool) -> bool:
    """Whether the two sums, None for one of nothing, are of the same, or each of all that there is."""
    if a is not None and b is not None:
        same = a.places == b.places if aligned else len(a.places) == len(b.places)
        if same:
            return True
    return all(side is None or side.whole for side in (a, b))


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
    "target": lambda c: wanted_words(c.target),
    "contrast": lambda c: contrast_words(c.target),
    "metric": lambda c: c.target.metric,
    "position": lambda c: str(c.target.position),
    "method": lambda c: c.settings.method,
    "nodes a site": lambda c: str(c.settings.top),
    "edges": lambda c: str(c.settings.edges),
    "first position": lambda c: "skipped" if c.settings.skip_first else "",
    "left out": lambda c: ", ".join(str(s.position) for s in c.sinks if s.left_out),
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
