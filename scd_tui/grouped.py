"""A circuit's nodes and edges taken together by name, such as a feature at all its positions."""

from dataclasses import dataclass

from scd_tui.graph import Circuit, Node, NodeId
from scd_tui.pruning import Group


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of one name, in the circuit's order. What they are together is the sum over them.

    `exact` is that of a single node: ablations of several, each alone, do not add up.
    """

    name: str
    nodes: tuple[Node, ...]

    @property
    def id(self) -> NodeId:
        """The first of them."""
        return self.nodes[0].id

    @property
    def effect(self) -> float:
        return sum(node.effect for node in self.nodes)

    @property
    def exact(self) -> float | None:
        return self.nodes[0].exact if len(self.nodes) == 1 else None

    @property
    def influence(self) -> float | None:
        """None where one of them does not say its own."""
        parts = [node.influence for node in self.nodes if node.influence is not None]
        return sum(parts) if len(parts) == len(self.nodes) else None


@dataclass(frozen=True)
class EdgeGroup:
    """All edges from one group into another; `weight` is their sum."""

    source: NodeGroup
    weight: float


@dataclass(frozen=True)
class Grouped:
    """`into` has the edges into a group of that name, the strongest first."""

    groups: tuple[NodeGroup, ...]
    into: dict[str, tuple[EdgeGroup, ...]]


def grouped(circuit: Circuit, group: Group = str) -> Grouped:
    """The nodes and edges of a circuit by the names that `group` gives them, each alone by default."""
    members: dict[str, list[Node]] = {}
    for node in circuit.nodes:
        members.setdefault(group(node.id), []).append(node)
    groups = {name: NodeGroup(name, tuple(nodes)) for name, nodes in members.items()}
    weights: dict[str, dict[str, float]] = {}
    for edge in circuit.edges:
        into = weights.setdefault(group(edge.target), {})
        source = group(edge.source)
        into[source] = into.get(source, 0.0) + edge.weight
    return Grouped(
        tuple(groups.values()),
        {
            target: tuple(
                EdgeGroup(groups[source], weight)
                for source, weight in sorted(into.items(), key=lambda found: -abs(found[1]))
            )
            for target, into in weights.items()
        },
    )
